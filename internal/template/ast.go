package template

// Statements.
type (
	stmt interface{}

	dataStmt   struct{ text string }
	outputStmt struct {
		x    expr
		line int
	}
	ifStmt struct {
		tests  []expr // one per branch
		bodies [][]stmt
		other  []stmt
		line   int
	}
	forStmt struct {
		target    target
		iter      expr
		filter    expr // or nil
		recursive bool
		body      []stmt
		other     []stmt
		line      int
	}
	setStmt struct {
		target target
		x      expr
		line   int
	}
	setBlockStmt struct {
		target  target
		filters []filterCall
		body    []stmt
		line    int
	}
	filterStmt struct {
		filters []filterCall
		body    []stmt
		line    int
	}
	withStmt struct {
		targets []target
		values  []expr
		body    []stmt
		line    int
	}
	macroStmt struct {
		def  *macroDef
		line int
	}
	callStmt struct {
		def  *macroDef // the caller
		call *callExpr
		line int
	}
	generationStmt struct{ body []stmt }
	breakStmt      struct{}
	continueStmt   struct{}
)

// macroDef is the body of a macro or of a call block.
type macroDef struct {
	name     string
	params   []string
	defaults []expr // of the last len(defaults) parameters
	body     []stmt
	line     int
	// which of the special names the body mentions
	usesCaller, usesKwargs, usesVarargs bool
}

func (d *macroDef) declares(name string) bool {
	for _, p := range d.params {
		if p == name {
			return true
		}
	}
	return false
}

// target is what can be assigned to: a name, an attribute of a namespace, or several targets.
type target struct {
	name string
	attr string   // of the namespace called name; "" when there is none
	list []target // when not nil, unpack into these
}

// Expressions.
type (
	expr interface{ at() int }

	pos       struct{ line int }
	constExpr struct {
		pos
		v Value
	}
	nameExpr struct {
		pos
		name string
	}
	listExpr struct {
		pos
		items []expr
		tuple bool
	}
	dictExpr struct {
		pos
		keys, vals []expr
	}
	unaryExpr struct {
		pos
		op string // "-", "+", "not"
		x  expr
	}
	binaryExpr struct {
		pos
		op   string // arithmetic, "and", "or"
		x, y expr
	}
	concatExpr struct {
		pos
		items []expr
	}
	compareExpr struct {
		pos
		x   expr
		ops []string
		ys  []expr
	}
	condExpr struct {
		pos
		test, then, other expr // other may be nil
	}
	attrExpr struct {
		pos
		x    expr
		name string
	}
	indexExpr struct {
		pos
		x, i expr
	}
	sliceExpr struct {
		pos
		start, stop, step expr // each may be nil; x[i:j:k] is an indexExpr whose i is this
	}
	callArgs struct {
		pos      []expr
		names    []string
		named    []expr
		dynPos   expr // *x
		dynNamed expr // **x
	}
	callExpr struct {
		pos
		f    expr
		args callArgs
	}
	filterExpr struct {
		pos
		x expr
		filterCall
	}
	testExpr struct {
		pos
		x    expr
		name string
		args callArgs
	}
)

type filterCall struct {
	name string
	args callArgs
}

func (p pos) at() int { return p.line }
