package template

import (
	"math/big"
	"strings"
	"unicode/utf8"
)

// describe names a value as Python's undefined messages do.
func describe(v Value) string {
	if v == nil {
		return "None"
	}
	return typeName(v) + " object"
}

func noAttr(v Value, name string) Value {
	return undefined{msg: "'" + describe(v) + "' has no attribute '" + name + "'"}
}

// refused is what the sandbox gives for an attribute that would reach into the interpreter or change a list or dict:
// it prints as nothing and fails when used.
func refused(v Value, name string) Value {
	return undefined{msg: "access to attribute '" + name + "' of '" + typeName(v) + "' object is unsafe", unsafe: true}
}

// attribute looks up a real attribute: a method, or a field of one of our own objects.
func attribute(v Value, name string) (Value, bool) {
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") && len(name) > 4 {
		switch name {
		case "__class__", "__doc__", "__init__", "__new__", "__dict__", "__getattribute__", "__reduce__", "__reduce_ex__",
			"__subclasshook__", "__init_subclass__", "__dir__", "__hash__", "__eq__", "__str__", "__repr__", "__sizeof__",
			"__format__", "__setattr__", "__delattr__", "__len__", "__iter__", "__getitem__", "__contains__", "__add__",
			"__call__", "__globals__", "__code__":
			if _, isNS := v.(*namespace); !isNS || name == "__class__" {
				return refused(v, name), true
			}
		}
		return nil, false
	}
	switch v := v.(type) {
	case *namespace:
		return v.attrs.Get(name)
	case *loopContext:
		return v.attr(name)
	case *macro:
		return v.attr(name)
	case *cycler:
		return v.attr(name)
	case *joiner:
		switch name {
		case "sep":
			return v.sep, true
		case "used":
			return v.used, true
		}
		return nil, false
	case groupTuple:
		switch name {
		case "grouper":
			return v.grouper, true
		case "list":
			return v.list, true
		}
	}
	if m, changes := lookupMethod(v, name); m != nil {
		return &function{name: name, call: func(in *interp, a *args) (Value, error) { return m(in, v, a) }}, true
	} else if changes {
		return refused(v, name), true
	}
	return nil, false
}

// getattr is x.name: the attribute, else the item.
func (in *interp) getattr(v Value, name string) (Value, error) {
	if u, ok := v.(undefined); ok {
		return nil, undefinedError(u)
	}
	if a, ok := attribute(v, name); ok {
		return a, nil
	}
	if d, ok := v.(*Dict); ok {
		if x, ok := d.Get(name); ok {
			return x, nil
		}
	}
	return noAttr(v, name), nil
}

// getitem is x[i]: the item, else (for a string) the attribute.
func (in *interp) getitem(v, i Value) (Value, error) {
	if u, ok := v.(undefined); ok {
		return nil, undefinedError(u)
	}
	if x, ok, err := in.item(v, i); ok || err != nil {
		return x, err
	}
	if name, ok := strOf(i); ok {
		if a, ok := attribute(v, name); ok {
			return a, nil
		}
		return noAttr(v, name), nil
	}
	r, err := in.repr(i)
	if err != nil {
		return nil, err
	}
	return undefined{msg: describe(v) + " has no element " + r}, nil
}

func (in *interp) item(v, i Value) (Value, bool, error) {
	if d, ok := v.(*Dict); ok {
		h, err := hashKey(i)
		if err != nil {
			return nil, false, nil
		}
		x, ok := d.lookup(h)
		return x, ok, nil
	}
	n, ok := asIndex(i)
	if !ok {
		return nil, false, nil
	}
	if r, ok := v.(rangeVal); ok {
		size := r.len()
		if n < 0 {
			n += size
		}
		return r.start + n*r.step, n >= 0 && n < size, nil
	}
	if s, ok := strOf(v); ok {
		if err := in.charge(int64(len(s) / 32)); err != nil {
			return nil, false, err
		}
		size := int64(utf8.RuneCountInString(s))
		if n < 0 {
			n += size
		}
		if n < 0 || n >= size {
			return nil, false, nil
		}
		c := runeSlice(s, int(n), int(n)+1)
		return sameKind(v, c), true, nil
	}
	seq, ok := seqOf(v)
	if !ok {
		return nil, false, nil
	}
	if n < 0 {
		n += int64(len(seq))
	}
	if n < 0 || n >= int64(len(seq)) {
		return nil, false, nil
	}
	return seq[n], true, nil
}

// asIndex accepts what Python's sequences accept as an index.
func asIndex(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// sameKind makes a string of the kind (plain or safe) that another one has.
func sameKind(like Value, s string) Value {
	if _, ok := like.(markup); ok {
		return markup(s)
	}
	return s
}

// runeSlice returns the characters [from, to) of a string.
func runeSlice(s string, from, to int) string {
	if len(s) == utf8.RuneCountInString(s) {
		return s[from:to]
	}
	start, end, k := len(s), len(s), 0
	for i := range s {
		if k == from {
			start = i
		}
		if k == to {
			end = i
			break
		}
		k++
	}
	if to <= from {
		return ""
	}
	return s[start:end]
}

// sliceBounds resolves a slice over n elements as Python does.
func sliceBounds(n int64, start, stop, step Value) (from, to, by int64, err error) {
	get := func(v Value, def int64) (int64, error) {
		switch v := v.(type) {
		case nil:
			return def, nil
		case *big.Int:
			if v.Sign() < 0 {
				return -n - 1, nil
			}
			return n + 1, nil
		}
		i, ok := asIndex(v)
		if !ok {
			return 0, failf("slice indices must be integers or None")
		}
		return i, nil
	}
	if by, err = get(step, 1); err != nil {
		return
	}
	if by == 0 {
		return 0, 0, 0, failf("slice step cannot be zero")
	}
	low, high := int64(0), n
	first, last := int64(0), n
	if by < 0 {
		low, high = -1, n-1
		first, last = n-1, -1
	}
	clamp := func(v Value, def int64) (int64, error) {
		if v == nil {
			return def, nil
		}
		i, err := get(v, 0)
		if i < 0 {
			i += n
		}
		return min(max(i, low), high), err
	}
	if from, err = clamp(start, first); err != nil {
		return
	}
	to, err = clamp(stop, last)
	return
}

func (in *interp) slice(v, start, stop, step Value) (Value, error) {
	if u, ok := v.(undefined); ok {
		return nil, undefinedError(u)
	}
	n, ok := length(v)
	s, isStr := strOf(v)
	seq, isSeq := seqOf(v)
	r, isRange := v.(rangeVal)
	if !ok || !(isStr || isSeq || isRange) {
		return nil, failf("'%s' object cannot be sliced", typeName(v))
	}
	from, to, by, err := sliceBounds(int64(n), start, stop, step)
	if err != nil {
		return nil, err
	}
	if isRange {
		return rangeVal{r.start + from*r.step, r.start + to*r.step, r.step * by}, nil
	}
	if isStr && by == 1 {
		if from >= to {
			return sameKind(v, ""), nil
		}
		return sameKind(v, runeSlice(s, int(from), int(to))), in.chargeBytes(len(s))
	}
	count := rangeVal{from, to, by}.len()
	if err := in.chargeBytes(16 * int(count)); err != nil {
		return nil, err
	}
	if isStr {
		runes := []rune(s)
		out := make([]rune, 0, count)
		for i := int64(0); i < count; i++ {
			out = append(out, runes[from+i*by])
		}
		return sameKind(v, string(out)), nil
	}
	out := make([]Value, 0, count)
	if by == 1 {
		if count > 0 {
			out = append(out, seq[from:to]...)
		}
	} else {
		for i := int64(0); i < count; i++ {
			out = append(out, seq[from+i*by])
		}
	}
	if _, isList := v.([]Value); isList {
		return out, nil
	}
	return Tuple(out), nil
}
