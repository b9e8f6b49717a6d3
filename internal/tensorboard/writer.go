// Package tensorboard writes event files that TensorBoard reads: scalars, texts and histograms by step.
//
// An event file is a sequence of TFRecords, each an Event of TensorFlow's event.proto. The protobuf it takes is small enough
// to be written by hand.
package tensorboard

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Names of event files: TensorBoard goes by the first part, and the last one marks those that are ours.
const filePrefix, fileSuffix = "events.out.tfevents.", ".mltrain"

// Writer appends events to a file. Events reach the file at once, so that TensorBoard shows a running run.
type Writer struct {
	f   *os.File
	now func() time.Time
	buf []byte
}

// Replace writes a whole file in such a way that a crash leaves the old or the new one.
type Replace func(path string, write func(w io.Writer) error) error

// Open writes to the directory, which it makes. A run that goes on after step appends to its newest event file, without the
// events of later steps, which will come again; step 0 starts a new file and removes the old ones.
func Open(dir string, step int64, replace Replace) (*Writer, error) {
	return open(dir, step, replace, time.Now)
}

func open(dir string, step int64, replace Replace, now func() time.Time) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	w := &Writer{now: now}
	old, err := filepath.Glob(filepath.Join(dir, filePrefix+"*"+fileSuffix))
	if err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	slices.Sort(old) // by the time in the name
	var path string
	var kept []byte
	if step > 0 && len(old) > 0 {
		path, old = old[len(old)-1], nil
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("tensorboard: %w", err)
		}
		kept = upTo(raw, step)
	}
	if step == 0 {
		for _, name := range old {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("tensorboard: %w", err)
			}
		}
	}
	if path == "" {
		path = filepath.Join(dir, fmt.Sprintf("%s%d%s", filePrefix, now().Unix(), fileSuffix))
	}
	if len(kept) == 0 {
		var e message
		e.double(1, w.seconds())
		e.text(3, "brain.Event:2")
		kept = appendRecord(nil, e)
	}
	if err := replace(path, func(out io.Writer) error {
		_, err := out.Write(kept)
		return err
	}); err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	if w.f, err = os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o666); err != nil {
		return nil, fmt.Errorf("tensorboard: %w", err)
	}
	return w, nil
}

func (w *Writer) seconds() float64 { return float64(w.now().UnixMicro()) / 1e6 }

// write appends an event with the values of a Summary.
func (w *Writer) write(step int64, values ...message) error {
	var summary message
	for _, v := range values {
		summary.bytes(1, v)
	}
	var e message
	e.double(1, w.seconds())
	e.varint(2, step)
	e.bytes(5, summary)
	w.buf = appendRecord(w.buf[:0], e)
	if _, err := w.f.Write(w.buf); err != nil {
		return fmt.Errorf("tensorboard: %w", err)
	}
	return nil
}

// Scalars writes numbers by tag.
func (w *Writer) Scalars(step int64, values map[string]float64) error {
	var list []message
	for _, tag := range slices.Sorted(maps.Keys(values)) {
		var v message
		v.text(1, tag)
		v.float(2, float32(values[tag]))
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil
	}
	return w.write(step, list...)
}

// Text writes a text, which TensorBoard shows as Markdown.
func (w *Writer) Text(step int64, tag, text string) error {
	const dtString = 7
	var plugin, metadata, shape, dim, tensor, v message
	plugin.text(1, "text")
	metadata.bytes(1, plugin)
	dim.varint(1, 1)
	shape.bytes(2, dim)
	tensor.varint(1, dtString)
	tensor.bytes(2, shape)
	tensor.text(8, text)
	v.text(1, tag)
	v.bytes(8, tensor)
	v.bytes(9, metadata)
	return w.write(step, v)
}

// Histogram writes a distribution.
func (w *Writer) Histogram(step int64, tag string, h *Histogram) error {
	var v message
	v.text(1, tag)
	v.bytes(5, h.encode())
	return w.write(step, v)
}

// Close syncs and closes the file.
func (w *Writer) Close() error { return errors.Join(w.f.Sync(), w.f.Close()) }
