package data

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// readJSON emits the elements of a JSON array, or of several JSON values one after the other (JSON lines under another
// name). It only finds where each begins and ends; decoding is left to the workers.
func readJSON(r *bufio.Reader, emit func(rawRow) error) error {
	s := jsonSplitter{r: r, line: 1}
	first, err := s.skipSpace()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	array := first == '['
	if !array {
		s.unread(first)
	}
	for row := 1; ; row++ {
		c, err := s.skipSpace()
		if err == io.EOF && !array {
			return nil
		}
		if array && c == ']' && row == 1 && err == nil {
			return s.expectEnd()
		}
		if err != nil {
			return s.fault(row, s.line, err)
		}
		line := s.line
		raw, err := s.value(c)
		if err != nil {
			return s.fault(row, line, err)
		}
		if err := emit(rawRow{line: line, row: row, json: raw}); err != nil {
			return err
		}
		if !array {
			continue
		}
		switch c, err := s.skipSpace(); {
		case err != nil:
			return s.fault(row+1, s.line, err)
		case c == ']':
			return s.expectEnd()
		case c != ',':
			return fmt.Errorf("line %d: found %q after row %d, want , or ]", s.line, c, row)
		}
	}
}

type jsonSplitter struct {
	r    *bufio.Reader
	line int
}

func (s *jsonSplitter) fault(row, line int, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the file ends inside row %d (line %d): is it cut off?", row, line)
	}
	return fmt.Errorf("row %d (line %d): %w", row, line, err)
}

func (s *jsonSplitter) next() (byte, error) {
	c, err := s.r.ReadByte()
	if c == '\n' {
		s.line++
	}
	return c, err
}

func (s *jsonSplitter) unread(c byte) {
	if s.r.UnreadByte() == nil && c == '\n' {
		s.line--
	}
}

func (s *jsonSplitter) skipSpace() (byte, error) {
	for {
		c, err := s.next()
		if err != nil || c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c, err
		}
	}
}

func (s *jsonSplitter) expectEnd() error {
	c, err := s.skipSpace()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("line %d: found %q after the end of the array", s.line, c)
}

// value reads one value that begins with c: an object or array up to its closing bracket, anything else up to a delimiter.
func (s *jsonSplitter) value(c byte) ([]byte, error) {
	raw := []byte{c}
	depth, inString := 0, c == '"'
	switch c {
	case '{', '[':
		depth = 1
	case ',', ']', '}', ':':
		return nil, fmt.Errorf("found %q where a row should begin", c)
	}
	for depth > 0 || inString {
		c, err := s.next()
		if err != nil {
			return nil, err
		}
		if raw = append(raw, c); len(raw) > maxRowBytes {
			return nil, fmt.Errorf("longer than %d MiB", maxRowBytes>>20)
		}
		switch {
		case inString && c == '\\':
			if c, err = s.next(); err != nil {
				return nil, err
			}
			raw = append(raw, c)
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	if first := raw[0]; first == '{' || first == '[' || first == '"' {
		return raw, nil
	}
	for {
		c, err := s.next()
		if err == io.EOF {
			return raw, nil
		}
		if err != nil {
			return nil, err
		}
		if c <= ' ' || c == ',' || c == ']' || c == '}' {
			s.unread(c)
			return raw, nil
		}
		if raw = append(raw, c); len(raw) > maxRowBytes {
			return nil, fmt.Errorf("longer than %d MiB", maxRowBytes>>20)
		}
	}
}
