package template

import (
	"sort"
	"strconv"
	"strings"
)

// lookupSeqFilter finds the filters that work on lists and mappings.
func lookupSeqFilter(name string) filter {
	switch name {
	case "length", "count":
		return filterLength
	case "list":
		return filterList
	case "first":
		return filterFirst
	case "last":
		return filterLast
	case "join":
		return filterJoin
	case "items":
		return filterItems
	case "dictsort":
		return filterDictsort
	case "sort":
		return filterSort
	case "unique":
		return filterUnique
	case "min", "max":
		return filterMinMax
	case "sum":
		return filterSum
	case "reverse":
		return filterReverse
	case "map":
		return filterMap
	case "select", "reject", "selectattr", "rejectattr":
		return filterSelect
	case "groupby":
		return filterGroupby
	case "batch":
		return filterBatch
	case "slice":
		return filterSlice
	}
	return nil
}

func filterLength(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	n, ok := length(v)
	if !ok {
		return nil, failf("object of type '%s' has no length", typeName(v))
	}
	if s, ok := strOf(v); ok {
		return int64(n), in.charge(int64(len(s) / 64))
	}
	return int64(n), nil
}

func filterList(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	if _, ok := v.([]Value); ok {
		items = append([]Value{}, items...)
	}
	return items, in.charge(int64(len(items) / 2))
}

func filterFirst(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	it, err := in.iterate(v)
	if err != nil {
		return nil, err
	}
	x, ok, err := it()
	if !ok && err == nil {
		return undefined{msg: "no first item, the sequence was empty"}, nil
	}
	return x, err
}

func filterLast(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	switch v.(type) {
	case *generator, *namespace, undefined:
		return nil, failf("'%s' object is not reversible", typeName(v))
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return undefined{msg: "no last item, the sequence was empty"}, nil
	}
	return items[len(items)-1], nil
}

// attrGetter makes the function that follows a path such as "a.b.0"; nil and missing paths give the item itself.
func (in *interp) attrGetter(path, def Value) func(Value) (Value, error) {
	if !given(path) || path == nil {
		return func(v Value) (Value, error) { return v, nil }
	}
	parts := []Value{path}
	if s, ok := strOf(path); ok {
		parts = nil
		for _, p := range strings.Split(s, ".") {
			if n, err := strconv.Atoi(p); err == nil && isDecimal(p[0]) {
				parts = append(parts, int64(n))
			} else {
				parts = append(parts, p)
			}
		}
	}
	return func(v Value) (Value, error) {
		for _, p := range parts {
			var err error
			if v, err = in.getitem(v, p); err != nil {
				return nil, err
			}
			if _, undef := v.(undefined); undef && given(def) && def != nil {
				v = def
			}
		}
		return v, nil
	}
}

func foldCase(v Value) Value {
	if s, ok := strOf(v); ok {
		return lower(s)
	}
	return v
}

// keyed makes a sort key of each item, in lower case unless case counts.
func (in *interp) keys(items []Value, path, def, caseSensitive Value) ([]Value, error) {
	get := in.attrGetter(path, def)
	out := make([]Value, len(items))
	for i, x := range items {
		k, err := get(x)
		if err != nil {
			return nil, err
		}
		if !(given(caseSensitive) && truth(caseSensitive)) {
			k = foldCase(k)
		}
		out[i] = k
	}
	return out, in.charge(int64(len(items)))
}

// sortBy sorts items by their keys, stably.
func (in *interp) sortBy(items, keys []Value, reverse bool) ([]Value, []Value, error) {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	var failed error
	sort.SliceStable(order, func(i, j int) bool {
		if failed != nil {
			return false
		}
		i, j = order[i], order[j]
		if reverse {
			i, j = j, i
		}
		less, err := in.order("<", keys[i], keys[j])
		if err != nil {
			failed = err
		}
		return less
	})
	if failed != nil {
		return nil, nil, failed
	}
	sorted, sortedKeys := make([]Value, len(items)), make([]Value, len(items))
	for i, o := range order {
		sorted[i], sortedKeys[i] = items[o], keys[o]
	}
	return sorted, sortedKeys, nil
}

func filterJoin(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("d?", "attribute?")
	if err != nil {
		return nil, err
	}
	sep := ""
	if given(p[0]) {
		if sep, err = in.str(p[0]); err != nil {
			return nil, err
		}
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	get := in.attrGetter(p[1], nil)
	parts := make([]string, len(items))
	n := 0
	for i, x := range items {
		if x, err = get(x); err != nil {
			return nil, err
		}
		if parts[i], err = in.str(x); err != nil {
			return nil, err
		}
		n += len(parts[i])
	}
	return in.joinStrings(parts, sep, n)
}

func filterItems(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case undefined:
		return &generator{sliceIter(nil)}, nil
	case *Dict:
		return &generator{indexIter(v.Len(), dictView{v, "dict_items"}.at)}, nil
	}
	// A generator in Python fails only when it is read.
	return &generator{func() (Value, bool, error) {
		return nil, false, failf("items: can only get item pairs from a mapping, not %s", typeName(v))
	}}, nil
}

// filterDictsort is dictsort(case_sensitive=False, by="key", reverse=False).
func filterDictsort(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("case_sensitive?", "by?", "reverse?")
	if err != nil {
		return nil, err
	}
	if u, ok := v.(undefined); ok {
		return nil, undefinedError(u)
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, failf("dictsort: expected a mapping, got %s", typeName(v))
	}
	pos := int64(0)
	if given(p[1]) {
		switch by, _ := strOf(p[1]); by {
		case "key":
		case "value":
			pos = 1
		default:
			return nil, failf("dictsort: can only sort by either 'key' or 'value'")
		}
	}
	items, err := in.list(dictView{d, "dict_items"})
	if err != nil {
		return nil, err
	}
	keys, err := in.keys(items, pos, nil, p[0])
	if err != nil {
		return nil, err
	}
	sorted, _, err := in.sortBy(items, keys, given(p[2]) && truth(p[2]))
	return sorted, err
}

// filterSort is sort(reverse=False, case_sensitive=False, attribute=None); attribute may name several, by commas.
func filterSort(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("reverse?", "case_sensitive?", "attribute?")
	if err != nil {
		return nil, err
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	paths := []Value{p[2]}
	if s, ok := strOf(p[2]); ok {
		paths = nil
		for _, x := range strings.Split(s, ",") {
			paths = append(paths, x)
		}
	}
	keys := make([]Value, len(items))
	for i := range keys {
		keys[i] = []Value{}
	}
	for _, path := range paths {
		ks, err := in.keys(items, path, nil, p[1])
		if err != nil {
			return nil, err
		}
		for i := range ks {
			keys[i] = append(keys[i].([]Value), ks[i])
		}
	}
	sorted, _, err := in.sortBy(items, keys, given(p[0]) && truth(p[0]))
	return sorted, err
}

func filterUnique(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("case_sensitive?", "attribute?")
	if err != nil {
		return nil, err
	}
	it, err := in.iterate(v)
	if err != nil {
		return nil, err
	}
	seen := map[any]bool{}
	return &generator{func() (Value, bool, error) {
		for {
			x, ok, err := it()
			if err != nil || !ok {
				return nil, false, err
			}
			k, err := in.keys([]Value{x}, p[1], nil, p[0])
			if err != nil {
				return nil, false, err
			}
			h, err := hashKey(k[0])
			if err != nil {
				return nil, false, err
			}
			if !seen[h] {
				seen[h] = true
				return x, true, nil
			}
		}
	}}, nil
}

func filterMinMax(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("case_sensitive?", "attribute?")
	if err != nil {
		return nil, err
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return undefined{msg: "no aggregated item, the sequence was empty"}, nil
	}
	keys, err := in.keys(items, p[1], nil, p[0])
	if err != nil {
		return nil, err
	}
	op := "<"
	if a.name == "max" {
		op = ">"
	}
	best := 0
	for i := 1; i < len(items); i++ {
		better, err := in.order(op, keys[i], keys[best])
		if err != nil {
			return nil, err
		}
		if better {
			best = i
		}
	}
	return items[best], nil
}

func filterSum(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("attribute?", "start?")
	if err != nil {
		return nil, err
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	var total Value = int64(0)
	if given(p[1]) {
		total = p[1]
	}
	if _, ok := strOf(total); ok {
		return nil, failf("sum: cannot sum strings")
	}
	get := in.attrGetter(p[0], nil)
	for _, x := range items {
		if x, err = get(x); err != nil {
			return nil, err
		}
		if total, err = in.binaryOp("+", total, x); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func filterReverse(in *interp, v Value, a *args) (Value, error) {
	if _, err := a.bind(); err != nil {
		return nil, err
	}
	if s, ok := strOf(v); ok {
		r := []rune(s)
		reverse(r)
		return sameKind(v, string(r)), in.chargeBytes(len(s))
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	out := append([]Value{}, items...)
	reverse(out)
	switch v.(type) {
	case *generator, undefined:
		return out, nil
	}
	return &generator{sliceIter(out)}, nil
}

// split takes the name of a filter or test off the front of the arguments.
func (a *args) split() (name string, rest *args, err error) {
	if len(a.pos) == 0 {
		return "", nil, failf("%s: the name of a filter or test is missing", a.name)
	}
	if u, ok := a.pos[0].(undefined); ok {
		return "", nil, failf("%s: %s; is a name not quoted?", a.name, u.msg)
	}
	name, ok := strOf(a.pos[0])
	if !ok {
		return "", nil, failf("%s: the name of a filter or test must be a string, not %s", a.name, typeName(a.pos[0]))
	}
	return name, &args{pos: a.pos[1:], names: a.names, named: a.named}, nil
}

// filterMap is map(attribute=path, default=None) or map(filter, arguments…).
func filterMap(in *interp, v Value, a *args) (Value, error) {
	var f func(Value) (Value, error)
	if len(a.pos) == 0 && len(a.names) > 0 {
		p, err := a.bind("attribute", "default?")
		if err != nil {
			return nil, err
		}
		f = in.attrGetter(p[0], p[1])
	} else {
		name, rest, err := a.split()
		if err != nil {
			return nil, err
		}
		f = func(x Value) (Value, error) {
			again := *rest
			return in.callFilter(name, x, &again)
		}
	}
	return in.lazy(v, func(x Value) (Value, bool, error) {
		y, err := f(x)
		return y, true, err
	})
}

// lazy makes a generator of the items for which f returns true.
func (in *interp) lazy(v Value, f func(Value) (Value, bool, error)) (Value, error) {
	if !truth(v) {
		return &generator{sliceIter(nil)}, nil
	}
	it, err := in.iterate(v)
	if err != nil {
		return nil, err
	}
	return &generator{func() (Value, bool, error) {
		for {
			x, ok, err := it()
			if err == nil {
				err = in.charge(1)
			}
			if err != nil || !ok {
				return nil, false, err
			}
			y, keep, err := f(x)
			if err != nil || keep {
				return y, keep, err
			}
		}
	}}, nil
}

// filterSelect is select, reject, selectattr and rejectattr: with a test and its arguments, or by truth.
func filterSelect(in *interp, v Value, a *args) (Value, error) {
	get := func(x Value) (Value, error) { return x, nil }
	if strings.HasSuffix(a.name, "attr") {
		if len(a.pos) == 0 {
			return nil, failf("%s: the name of an attribute is missing", a.name)
		}
		get = in.attrGetter(a.pos[0], nil)
		a = &args{name: a.name, pos: a.pos[1:], names: a.names, named: a.named}
	}
	test := func(x Value) (bool, error) { return truth(x), nil }
	if len(a.pos) > 0 {
		name, rest, err := a.split()
		if err != nil {
			return nil, err
		}
		test = func(x Value) (bool, error) {
			again := *rest
			return in.callTest(name, x, &again)
		}
	}
	want := strings.HasPrefix(a.name, "select")
	return in.lazy(v, func(x Value) (Value, bool, error) {
		y, err := get(x)
		if err != nil {
			return nil, false, err
		}
		ok, err := test(y)
		return x, ok == want, err
	})
}

func filterGroupby(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("attribute", "default?", "case_sensitive?")
	if err != nil {
		return nil, err
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	keys, err := in.keys(items, p[0], p[1], p[2])
	if err != nil {
		return nil, err
	}
	if items, keys, err = in.sortBy(items, keys, false); err != nil {
		return nil, err
	}
	get := in.attrGetter(p[0], p[1])
	out := []Value{}
	for i := 0; i < len(items); {
		j := i + 1
		for j < len(items) {
			same, err := in.equal(keys[i], keys[j])
			if err != nil {
				return nil, err
			}
			if !same {
				break
			}
			j++
		}
		key, err := get(items[i])
		if err != nil {
			return nil, err
		}
		out = append(out, groupTuple{key, items[i:j:j]})
		i = j
	}
	return out, nil
}

func filterBatch(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("linecount", "fill_with?")
	if err != nil {
		return nil, err
	}
	n, err := intArg(a, "linecount", p[0], 1)
	if err != nil {
		return nil, err
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	if n < 1 || n > maxRange {
		return nil, failf("batch: the size must be between 1 and %d", maxRange)
	}
	out := []Value{}
	for len(items) > 0 {
		k := min(int(n), len(items))
		row := append([]Value{}, items[:k]...)
		items = items[k:]
		if given(p[1]) && p[1] != nil {
			for len(row) < int(n) {
				row = append(row, p[1])
			}
		}
		out = append(out, row)
	}
	return &generator{sliceIter(out)}, in.charge(n)
}

func filterSlice(in *interp, v Value, a *args) (Value, error) {
	p, err := a.bind("slices", "fill_with?")
	if err != nil {
		return nil, err
	}
	n, err := intArg(a, "slices", p[0], 1)
	if err != nil {
		return nil, err
	}
	items, err := in.list(v)
	if err != nil {
		return nil, err
	}
	if n < 1 || n > maxRange {
		return nil, failf("slice: the number of slices must be between 1 and %d", maxRange)
	}
	each, extra := len(items)/int(n), len(items)%int(n)
	out := []Value{}
	at := 0
	for i := range int(n) {
		k := each
		if i < extra {
			k++
		}
		row := append([]Value{}, items[at:at+k]...)
		at += k
		if given(p[1]) && p[1] != nil && i >= extra {
			row = append(row, p[1])
		}
		out = append(out, row)
	}
	return &generator{sliceIter(out)}, in.charge(n)
}
