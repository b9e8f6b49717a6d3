package judge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// Judgement is the judge's answer to one question about a row.
type Judgement struct {
	Key     string  `json:"key"` // hash of the model's name and the prompt
	Row     string  `json:"row"`
	Swapped bool    `json:"swapped,omitempty"` // the second response stood first
	Score   float64 `json:"score,omitempty"`
	Winner  string  `json:"winner,omitempty"` // a, b or tie, of the row's own order
	Error   string  `json:"error,omitempty"`  // why there is neither
	Reply   string  `json:"reply"`
	Usage   Usage   `json:"usage"`
}

// store keeps judgements in a file, one a line, as they come.
type store struct {
	mu    sync.Mutex
	f     *os.File
	known map[string]Judgement
}

// openStore opens or begins a file. A last line that was cut off is dropped.
func openStore(path string) (*store, error) {
	s := &store{known: map[string]Judgement{}}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	end := bytes.LastIndexByte(raw, '\n') + 1
	for i, line := range bytes.Split(raw[:end], []byte{'\n'}) {
		if len(line) == 0 {
			continue
		}
		var j Judgement
		if err := json.Unmarshal(line, &j); err != nil || j.Key == "" {
			return nil, fmt.Errorf("%s:%d: is no judgement of this program; give another --output, or remove the line", path, i+1)
		}
		s.known[j.Key] = j
	}
	if s.f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	if err := s.f.Truncate(int64(end)); err != nil {
		return nil, errors.Join(err, s.f.Close())
	}
	if _, err := s.f.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(err, s.f.Close())
	}
	return s, nil
}

// get finds a judgement that was made; one that failed is asked for again.
func (s *store) get(key string) (Judgement, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.known[key]
	return j, ok && j.Error == ""
}

// add writes a judgement down; when it returns it is on the disk.
func (s *store) add(j Judgement) error {
	raw, err := json.Marshal(j)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[j.Key] = j
	if _, err := s.f.Write(append(raw, '\n')); err != nil {
		return err
	}
	return s.f.Sync()
}

func (s *store) close() error { return s.f.Close() }

// keyOf identifies a question to a model.
func keyOf(model, prompt string, maxTokens int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s", model, maxTokens, prompt))
	return hex.EncodeToString(sum[:])
}
