package predictions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// cell is a value of a row: text or a number, a list, or numbers by name.
type cell struct {
	text     string // of a scalar; numbers as they were written
	isNumber bool
	isBool   bool
	isNull   bool
	isList   bool
	list     []cell
	byName   map[string]float64 // of an object
}

// parseCell reads a value. texts says that it comes from a format in which all
// is text, where a number, or a list in brackets, is meant as such.
func parseCell(raw json.RawMessage, texts bool) (cell, error) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return cell{isNull: true}, nil
	case raw[0] == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return cell{}, err
		}
		if texts {
			return parseText(s), nil
		}
		return cell{text: s}, nil
	case raw[0] == '[':
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return cell{}, err
		}
		c := cell{isList: true}
		for _, item := range items {
			v, err := parseCell(item, false)
			if err != nil {
				return cell{}, err
			}
			c.list = append(c.list, v)
		}
		return c, nil
	case raw[0] == '{':
		c := cell{byName: map[string]float64{}}
		if err := json.Unmarshal(raw, &c.byName); err != nil {
			return cell{byName: map[string]float64{}, text: string(raw)}, nil
		}
		return c, nil
	case raw[0] == 't' || raw[0] == 'f':
		return cell{text: string(raw), isBool: true}, nil
	}
	return cell{text: string(raw), isNumber: true}, nil
}

// parseText reads a cell of a format without types.
func parseText(s string) cell {
	t := strings.TrimSpace(s)
	if strings.HasPrefix(t, "[") || strings.HasPrefix(t, "{") {
		if json.Valid([]byte(t)) {
			if c, err := parseCell(json.RawMessage(t), false); err == nil {
				return c
			}
		}
	}
	if _, err := strconv.ParseFloat(t, 64); err == nil {
		return cell{text: t, isNumber: true}
	}
	switch t {
	case "true", "false", "True", "False":
		return cell{text: t, isBool: true}
	}
	return cell{text: s}
}

// what names the kind of value for messages.
func (c cell) what() string {
	switch {
	case c.isNull:
		return "nothing (null)"
	case c.isList:
		return fmt.Sprintf("a list of %d", len(c.list))
	case c.byName != nil:
		return "an object"
	case c.isNumber:
		return "the number " + c.text
	case c.isBool:
		return c.text
	}
	return "the text " + strconv.Quote(clip(c.text))
}

func clip(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func (c cell) scalar() bool { return !c.isNull && !c.isList && c.byName == nil }

// number is the value of a number.
func (c cell) number() (float64, error) {
	if !c.isNumber {
		return 0, fmt.Errorf("expected a number, found %s", c.what())
	}
	v, err := strconv.ParseFloat(c.text, 64)
	if errors.Is(err, strconv.ErrRange) && math.Abs(v) < 1 {
		err = nil
	}
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, fmt.Errorf("expected a finite number, found %s", c.text)
	}
	return v, nil
}

// listOf reads every item of a list.
func listOf[T any](c cell, of string, read func(cell) (T, error)) ([]T, error) {
	if !c.isList {
		return nil, fmt.Errorf("expected a list of %s, found %s", of, c.what())
	}
	out := make([]T, len(c.list))
	for i, item := range c.list {
		var err error
		if out[i], err = read(item); err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	return out, nil
}

func (c cell) numbers() ([]float64, error) { return listOf(c, "numbers", cell.number) }

func (c cell) texts() ([]string, error) { return listOf(c, "texts", cell.words) }

func (c cell) classes() ([]string, error) { return listOf(c, "names", cell.class) }

// class is the name of a class; numbers are written in one way, so that 1 and 1.0 are the same.
func (c cell) class() (string, error) {
	if !c.scalar() {
		return "", fmt.Errorf("expected a class (text, a number, true or false), found %s", c.what())
	}
	if c.isNumber {
		v, err := c.number()
		if err != nil {
			return "", err
		}
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	}
	return c.text, nil
}

// words is a text; numbers and such count as they are written.
func (c cell) words() (string, error) {
	if !c.scalar() {
		return "", fmt.Errorf("expected text, found %s", c.what())
	}
	return c.text, nil
}
