package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// config reads the fields of a config.json and collects what is wrong with them. When a field is at fault its reader
// returns a harmless value, so that all faults come out at once.
type config struct {
	fields map[string]any
	path   string // of a nested object, with a dot at the end
	faults *[]string
}

func parseConfig(raw []byte) (*config, error) {
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	return &config{fields: fields, faults: new([]string)}, nil
}

func (c *config) fault(key, format string, args ...any) {
	*c.faults = append(*c.faults, c.path+key+": "+fmt.Sprintf(format, args...))
}

func (c *config) err() error {
	if len(*c.faults) == 0 {
		return nil
	}
	return errors.New("config.json:\n  " + strings.Join(*c.faults, "\n  "))
}

// has tells whether a field is there and not null.
func (c *config) has(key string) bool { return c.fields[key] != nil }

func (c *config) sub(key string) *config {
	m, ok := c.fields[key].(map[string]any)
	if !ok {
		c.fault(key, "%s; needed is an object", found(c.fields[key]))
	}
	return &config{m, c.path + key + ".", c.faults}
}

func found(v any) string {
	if v == nil {
		return "missing"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "unreadable"
	}
	return "found " + string(raw)
}

// int reads a positive integer that must be there.
func (c *config) int(key string) int {
	f, ok := c.fields[key].(float64)
	if !ok || f != math.Trunc(f) || f < 1 || f > 1<<31 {
		c.fault(key, "%s; needed is a positive integer", found(c.fields[key]))
		return 1
	}
	return int(f)
}

// id reads a token id that may be absent or null: −1 then.
func (c *config) id(key string) int {
	f, ok := c.fields[key].(float64)
	if c.has(key) && (!ok || f != math.Trunc(f) || f < -1 || f > 1<<31) {
		c.fault(key, "%s; needed is a token id", found(c.fields[key]))
	}
	if !ok {
		return -1
	}
	return int(f)
}

// intOr reads a positive integer that may be absent or null.
func (c *config) intOr(key string, def int) int {
	if !c.has(key) {
		return def
	}
	return c.int(key)
}

// float reads a number that must be there.
func (c *config) float(key string) float64 {
	f, ok := c.fields[key].(float64)
	if !ok {
		c.fault(key, "%s; needed is a number", found(c.fields[key]))
		return 1
	}
	return f
}

func (c *config) floatOr(key string, def float64) float64 {
	if !c.has(key) {
		return def
	}
	return c.float(key)
}

func (c *config) bool(key string, def bool) bool {
	if !c.has(key) {
		return def
	}
	b, ok := c.fields[key].(bool)
	if !ok {
		c.fault(key, "%s; needed is true or false", found(c.fields[key]))
	}
	return b
}

func (c *config) str(key, def string) string {
	if !c.has(key) {
		return def
	}
	s, ok := c.fields[key].(string)
	if !ok {
		c.fault(key, "%s; needed is a string", found(c.fields[key]))
	}
	return s
}

func (c *config) strings(key string) []string {
	if !c.has(key) {
		return nil
	}
	list, ok := c.fields[key].([]any)
	if !ok {
		c.fault(key, "%s; needed is a list of strings", found(c.fields[key]))
	}
	out := make([]string, len(list))
	for i, v := range list {
		if out[i], ok = v.(string); !ok {
			c.fault(key, "%s; needed is a list of strings", found(c.fields[key]))
			return nil
		}
	}
	return out
}

// refuse faults fields that would change the result and that are not built.
func (c *config) refuse(key string, allowed ...any) {
	v := c.fields[key]
	if v == nil {
		return
	}
	for _, a := range allowed {
		if v == a {
			return
		}
	}
	c.fault(key, "%s is not supported", found(v))
}
