package template

import (
	"math"
	"math/big"
	"strings"
)

type method func(in *interp, recv Value, a *args) (Value, error)

// lookupMethod finds a method of a value. changes is true for methods that Python has but that would change a list or
// dict, which the sandbox refuses.
func lookupMethod(v Value, name string) (m method, changes bool) {
	switch v.(type) {
	case string, markup:
		return lookupStrMethod(name), false
	case *Dict:
		switch name {
		case "clear", "pop", "popitem", "setdefault", "update":
			return nil, true
		}
		return lookupDictMethod(name), false
	case []Value:
		switch name {
		case "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove":
			return nil, true
		case "copy":
			return func(in *interp, recv Value, a *args) (Value, error) {
				return append([]Value{}, recv.([]Value)...), nil
			}, false
		}
		return lookupSeqMethod(name), false
	case Tuple, groupTuple, rangeVal:
		return lookupSeqMethod(name), false
	case int64, *big.Int, bool:
		if name == "bit_length" {
			return func(in *interp, recv Value, a *args) (Value, error) {
				n, _ := number(recv)
				return int64(toBig(n).BitLen()), nil
			}, false
		}
	case float64:
		if name == "is_integer" {
			return func(in *interp, recv Value, a *args) (Value, error) {
				f := recv.(float64)
				return f == math.Trunc(f) && !math.IsInf(f, 0), nil
			}, false
		}
	}
	return nil, false
}

func lookupDictMethod(name string) method {
	switch name {
	case "keys", "values", "items":
		return func(in *interp, recv Value, a *args) (Value, error) {
			_, err := a.bind()
			return dictView{recv.(*Dict), "dict_" + name}, err
		}
	case "get":
		return dictGet
	case "copy":
		return func(in *interp, recv Value, a *args) (Value, error) {
			d := recv.(*Dict)
			return d.clone(), in.charge(int64(d.Len()))
		}
	}
	return nil
}

func dictGet(in *interp, recv Value, a *args) (Value, error) {
	if len(a.names) > 0 {
		return nil, failf("get() takes no keyword arguments")
	}
	p, err := a.bind("key", "default?")
	if err != nil {
		return nil, err
	}
	h, err := hashKey(p[0])
	if err != nil {
		return nil, err
	}
	if v, ok := recv.(*Dict).lookup(h); ok {
		return v, nil
	}
	if given(p[1]) {
		return p[1], nil
	}
	return nil, nil
}

func lookupSeqMethod(name string) method {
	switch name {
	case "index", "count":
		return func(in *interp, recv Value, a *args) (Value, error) {
			p, err := a.bind("value", "start?", "stop?")
			if err != nil {
				return nil, err
			}
			items, err := in.list(recv)
			if err != nil {
				return nil, err
			}
			from, to, err := bounds(int64(len(items)), p[1], p[2])
			if err != nil {
				return nil, err
			}
			n := int64(0)
			for i := from; i < to; i++ {
				eq, err := in.equal(items[i], p[0])
				if err != nil {
					return nil, err
				}
				if eq && name == "index" {
					return i, nil
				}
				if eq {
					n++
				}
			}
			if name == "index" {
				return nil, failf("the value is not in the %s", typeName(recv))
			}
			return n, nil
		}
	}
	return nil
}

// bounds resolves the optional start and stop of methods such as find and index.
func bounds(n int64, start, stop Value) (from, to int64, err error) {
	if !given(start) {
		start = nil
	}
	if !given(stop) {
		stop = nil
	}
	from, to, _, err = sliceBounds(n, start, stop, nil)
	return from, to, err
}

// intArg reads an optional integer argument.
func intArg(a *args, what string, v Value, def int64) (int64, error) {
	if !given(v) {
		return def, nil
	}
	if u, ok := v.(undefined); ok {
		return 0, undefinedError(u)
	}
	n, ok := asIndex(v)
	if !ok {
		return 0, failf("%s(): %s must be an integer, not %s", a.name, what, typeName(v))
	}
	return n, nil
}

// strArg reads a string argument.
func strArg(a *args, what string, v Value) (string, error) {
	if u, ok := v.(undefined); ok {
		return "", undefinedError(u)
	}
	s, ok := strOf(v)
	if !ok {
		return "", failf("%s(): %s must be str, not %s", a.name, what, typeName(v))
	}
	return s, nil
}

// optStr reads a string argument that may be absent or None; ok is false then.
func optStr(a *args, what string, v Value) (s string, ok bool, err error) {
	if !given(v) || v == nil {
		return "", false, nil
	}
	s, err = strArg(a, what, v)
	return s, err == nil, err
}

// strs makes a list of strings of the kind that another one has.
func strs(like Value, parts []string) []Value {
	out := make([]Value, len(parts))
	for i, s := range parts {
		out[i] = sameKind(like, s)
	}
	return out
}

// replaceN is str.replace, with the growth counted before it happens.
func (in *interp) replaceN(s, old, new string, n int) (string, error) {
	count := strings.Count(s, old)
	if n >= 0 {
		count = min(count, n)
	}
	if grow := len(new) - len(old); grow > 0 && count > in.maxOutput/grow {
		return "", limitError("the template makes more than %d bytes of text", in.maxOutput)
	}
	if err := in.chargeBytes(len(s) + count*max(len(new)-len(old), 0)); err != nil {
		return "", err
	}
	return strings.Replace(s, old, new, n), nil
}
