package train

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mltrain/mltrain/internal/checkpoint"
)

// MetricsFile is the run's log of metrics, one JSON object a line.
const MetricsFile = "metrics.jsonl"

// metricsLog appends to metrics.jsonl or a log like it.
type metricsLog struct {
	name string
	f    *os.File
}

// openLines opens a log with a step in each line, such as metrics.jsonl, of a run that goes on after step, dropping the lines of later steps, which will come again.
func openLines(dir, name string, step int) (*metricsLog, error) {
	path := filepath.Join(dir, name)
	kept, err := linesUpTo(path, step)
	if err != nil {
		return nil, err
	}
	err = checkpoint.WriteAtomic(path, func(w io.Writer) error {
		_, err := w.Write(kept)
		return err
	})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	return &metricsLog{name, f}, nil
}

// linesUpTo returns the whole lines of the file whose step is at most step.
func linesUpTo(path string, step int) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || step == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var kept bytes.Buffer
	sc := bufio.NewScanner(bytes.NewReader(raw))
	sc.Buffer(nil, 1<<24)
	for sc.Scan() {
		var e struct {
			Step *int `json:"step"`
		}
		// A line that a killed process left half-written does not parse.
		if json.Unmarshal(sc.Bytes(), &e) == nil && e.Step != nil && *e.Step <= step {
			kept.Write(sc.Bytes())
			kept.WriteByte('\n')
		}
	}
	return kept.Bytes(), sc.Err()
}

func (m *metricsLog) write(e checkpoint.LogEntry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := m.f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

func (m *metricsLog) close() error {
	return errors.Join(m.f.Sync(), m.f.Close())
}
