package eval

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// JournalFile is the name of the file in the output directory that keeps what the model has answered.
const JournalFile = "responses.jsonl"

// ErrOtherModel is wrapped when a journal belongs to another model.
var ErrOtherModel = errors.New("the responses are of another model")

// Journal keeps the answers to requests on disk as they come, so that an evaluation that was interrupted goes on where it
// stopped. Each line is an answer under the hash of its request, whichever task asks it.
type Journal struct {
	f     *os.File
	w     *bufio.Writer
	known map[string]response
}

// response is a line of a journal.
type response struct {
	Key     string  `json:"key"`
	LogProb float64 `json:"logprob"`
	Greedy  bool    `json:"greedy,omitempty"`
	Text    *string `json:"text,omitempty"`
}

type journalHeader struct {
	Version int    `json:"mltrain_responses"`
	Model   string `json:"model"`
}

// OpenJournal opens or begins a journal. model is a fingerprint of the model and of all that its answers depend on. A line
// that was being written when the program was stopped is dropped.
func OpenJournal(path, model string) (*Journal, error) {
	j := &Journal{known: map[string]response{}}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	end := bytes.LastIndexByte(raw, '\n') + 1
	for i, line := range bytes.Split(bytes.TrimSuffix(raw[:end], []byte{'\n'}), []byte{'\n'}) {
		if end == 0 {
			break
		}
		if i == 0 {
			var h journalHeader
			if err := json.Unmarshal(line, &h); err != nil || h.Version != 1 {
				return nil, fmt.Errorf("%s:1: is no file of responses of this program", path)
			}
			if h.Model != model {
				return nil, fmt.Errorf("%s: %w; give another --output, or --overwrite", path, ErrOtherModel)
			}
			continue
		}
		var r response
		if err := json.Unmarshal(line, &r); err != nil || r.Key == "" {
			return nil, fmt.Errorf("%s:%d: is damaged; remove the line, or give --overwrite", path, i+1)
		}
		j.known[r.Key] = r
	}
	if j.f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
		return nil, err
	}
	if err := j.f.Truncate(int64(end)); err != nil {
		return nil, errors.Join(err, j.f.Close())
	}
	if _, err := j.f.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(err, j.f.Close())
	}
	j.w = bufio.NewWriter(j.f)
	if end == 0 {
		if err := j.write(journalHeader{1, model}); err != nil {
			return nil, errors.Join(err, j.f.Close())
		}
	}
	return j, nil
}

// Len is the number of answers that are known.
func (j *Journal) Len() int { return len(j.known) }

func (j *Journal) write(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = j.w.Write(append(raw, '\n'))
	return err
}

// get finds the answer to a request; a nil journal knows none.
func (j *Journal) get(key string) (response, bool) {
	if j == nil {
		return response{}, false
	}
	r, ok := j.known[key]
	return r, ok
}

// add writes answers down; when it returns they are on the disk.
func (j *Journal) add(rs []response) error {
	if j == nil {
		return nil
	}
	for _, r := range rs {
		if _, ok := j.known[r.Key]; ok {
			continue
		}
		j.known[r.Key] = r
		if err := j.write(r); err != nil {
			return fmt.Errorf("%s: %w", j.f.Name(), err)
		}
	}
	if err := errors.Join(j.w.Flush(), j.f.Sync()); err != nil {
		return fmt.Errorf("%s: %w", j.f.Name(), err)
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error { return errors.Join(j.w.Flush(), j.f.Close()) }

// requestKey hashes what a request consists of.
func requestKey(parts ...any) (string, error) {
	raw, err := json.Marshal(parts)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16]), nil
}
