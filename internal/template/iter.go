package template

import "unicode/utf8"

func sliceIter(items []Value) func() (Value, bool, error) {
	i := 0
	return func() (Value, bool, error) {
		if i >= len(items) {
			return nil, false, nil
		}
		i++
		return items[i-1], true, nil
	}
}

func indexIter(n int, at func(int) Value) func() (Value, bool, error) {
	i := 0
	return func() (Value, bool, error) {
		if i >= n {
			return nil, false, nil
		}
		i++
		return at(i - 1), true, nil
	}
}

// iterate is Python's iter().
func (in *interp) iterate(v Value) (func() (Value, bool, error), error) {
	if seq, ok := seqOf(v); ok {
		return sliceIter(seq), nil
	}
	switch v := v.(type) {
	case string:
		return runeIter(v, v), nil
	case markup:
		return runeIter(v, string(v)), nil
	case *Dict:
		return sliceIter(v.keys), nil
	case dictView:
		return indexIter(v.d.Len(), v.at), nil
	case rangeVal:
		return indexIter(int(v.len()), func(i int) Value { return v.start + int64(i)*v.step }), nil
	case *generator:
		return v.next, nil
	case undefined:
		return sliceIter(nil), in.defined(v)
	}
	return nil, failf("'%s' object is not iterable", typeName(v))
}

func runeIter(like Value, s string) func() (Value, bool, error) {
	return func() (Value, bool, error) {
		if s == "" {
			return nil, false, nil
		}
		_, n := utf8.DecodeRuneInString(s)
		c := s[:n]
		s = s[n:]
		return sameKind(like, c), true, nil
	}
}

// list reads an iterable to its end.
func (in *interp) list(v Value) ([]Value, error) {
	if seq, ok := v.([]Value); ok {
		return seq, nil
	}
	it, err := in.iterate(v)
	if err != nil {
		return nil, err
	}
	out := []Value{}
	for {
		x, ok, err := it()
		if err == nil && ok {
			err = in.charge(1)
		}
		if err != nil {
			return nil, err
		}
		if !ok {
			return out, nil
		}
		out = append(out, x)
	}
}
