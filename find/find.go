// Package find parses and evaluates the tests of find(1): which files of a tree
// are meant. It follows GNU findutils' manual (Tests, Operators, Directives) and
// knows no tree of its own: what has to be read of a file is asked for when a
// test needs it.
//
// Differences: nothing is executed, written or followed, so that -exec, -delete,
// -fprint, -L and their like are errors; --elf, --exec-bit and --suid are tests
// of our own. Names are bytes.
//
// Expressions are the analyst's, the names and contents that they are held against
// hostile: neither makes a test panic.
package find

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"lagan/evidence"
)

// File is what tests look at.
type File struct {
	Path  string // as it is printed: the start that was given, and the rest
	Start string // that it was found below, as given
	Depth int    // below the start
	Info  evidence.Info
	// Read what Stat doesn't say. Their errors are the caller's to report; what
	// can't be read is empty.
	Target func() string
	Head   func() []byte // the first bytes of a regular file
	Empty  func() bool   // whether a directory has no entries
}

// Name is the last element of the path.
func (f *File) Name() string {
	p := strings.TrimRight(f.Path, "/")
	if p == "" {
		return f.Path
	}
	return p[strings.LastIndexByte(p, '/')+1:]
}

// Env is what an expression has to know of the tree.
type Env struct {
	Now time.Time // what ages count from
	// Stat returns what is known of a file that the expression names.
	Stat          func(path string) (evidence.Info, error)
	Users, Groups map[string]uint32 // ids by name
}

// Action is how a file that matches is told.
type Action int

// The actions. ActionPrint is the default.
const (
	ActionPrint Action = iota
	ActionPrint0
	ActionLs
	ActionPrintf
)

// Expr is a parsed expression.
type Expr struct {
	MinDepth, MaxDepth int // of what is looked at; MaxDepth -1: any

	root    test
	bind    []func(*Env) error
	actions bool // an action stands in the expression
	used    [4]bool
	regex   string // -regextype
}

// test is one node of an expression.
type test func(*File, *run) bool

// run is one evaluation.
type run struct {
	emit  func(a Action, text string)
	prune bool
	quit  bool
	env   *Env
}

// Parse parses an expression, which may be empty: all files.
func Parse(args []string) (*Expr, error) {
	e := &Expr{MaxDepth: -1}
	p := &parser{e: e, args: args}
	if len(args) == 0 {
		e.root = func(*File, *run) bool { return true }
		return e, nil
	}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.at < len(args) {
		return nil, fmt.Errorf("%q: nothing was expected there", args[p.at])
	}
	e.root = root
	return e, nil
}

// Bind looks up what the expression names in the tree. It is called once, before Match.
func (e *Expr) Bind(env *Env) error {
	for _, b := range e.bind {
		if err := b(env); err != nil {
			return err
		}
	}
	return nil
}

// Uses says whether an action stands in the expression.
func (e *Expr) Uses(a Action) bool { return e.used[a] }

// Match evaluates the expression for one file and calls emit for what is to be
// told of it, text being the output of ActionPrintf. prune says that what is below
// a directory isn't wanted, quit that nothing more is.
func (e *Expr) Match(f *File, env *Env, emit func(a Action, text string)) (prune, quit bool) {
	r := &run{emit: emit, env: env}
	if e.MaxDepth >= 0 && f.Depth >= e.MaxDepth {
		r.prune = true
	}
	if f.Depth < e.MinDepth {
		return r.prune, false
	}
	if e.root(f, r) && !e.actions {
		emit(ActionPrint, "")
	}
	return r.prune, r.quit
}

// parser is find's grammar: operators by falling precedence ( ) ! -a -o.
type parser struct {
	e     *Expr
	args  []string
	at    int
	depth int
}

// maxNesting bounds parentheses and negations.
const maxNesting = 1000

func (p *parser) peek() string {
	if p.at < len(p.args) {
		return p.args[p.at]
	}
	return ""
}

func (p *parser) or() (test, error) {
	left, err := p.and()
	if err != nil {
		return nil, err
	}
	for {
		switch p.peek() {
		case "-o", "-or":
			p.at++
			right, err := p.and()
			if err != nil {
				return nil, err
			}
			a := left
			left = func(f *File, r *run) bool { return a(f, r) || right(f, r) }
		case ",":
			p.at++
			right, err := p.and()
			if err != nil {
				return nil, err
			}
			a := left
			left = func(f *File, r *run) bool { a(f, r); return right(f, r) }
		default:
			return left, nil
		}
	}
}

func (p *parser) and() (test, error) {
	left, err := p.not()
	if err != nil {
		return nil, err
	}
	for {
		switch p.peek() {
		case "", "-o", "-or", ")", ",":
			if p.at < len(p.args) && p.peek() == "" {
				return nil, fmt.Errorf("an empty argument: a test was expected")
			}
			return left, nil
		case "-a", "-and":
			p.at++
		}
		right, err := p.not()
		if err != nil {
			return nil, err
		}
		a := left
		left = func(f *File, r *run) bool { return a(f, r) && right(f, r) }
	}
}

func (p *parser) not() (test, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, fmt.Errorf("more than %d operators inside each other", maxNesting)
	}
	defer func() { p.depth-- }()
	switch token := p.peek(); token {
	case "!", "-not":
		p.at++
		t, err := p.not()
		if err != nil {
			return nil, err
		}
		return func(f *File, r *run) bool { return !t(f, r) }, nil
	case "(":
		p.at++
		t, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.peek() != ")" {
			return nil, fmt.Errorf("a ( has no )")
		}
		p.at++
		return t, nil
	case "", ")", "-o", "-or", "-a", "-and", ",":
		return nil, fmt.Errorf("a test was expected before %q", token)
	default:
		p.at++
		return p.primary(token)
	}
}

// value takes the argument of a test.
func (p *parser) value(of string) (string, error) {
	if p.at >= len(p.args) {
		return "", fmt.Errorf("%s needs an argument", of)
	}
	p.at++
	return p.args[p.at-1], nil
}

// IsExpression says whether an argument begins an expression, and is no path.
func IsExpression(arg string) bool {
	return arg == "(" || arg == ")" || arg == "!" || arg == "," || len(arg) > 1 && arg[0] == '-'
}

// number is find's +n, -n or n.
type number struct {
	sign byte // '+', '-' or 0
	n    int64
}

func parseNumber(s string) (number, error) {
	var out number
	digits := s
	if s != "" && (s[0] == '+' || s[0] == '-') {
		out.sign, digits = s[0], s[1:]
	}
	n, err := strconv.ParseUint(digits, 10, 62)
	if err != nil {
		return number{}, fmt.Errorf("%q is no number such as 7, +7 for more, -7 for less", s)
	}
	out.n = int64(n)
	return out, nil
}

func (n number) holds(v int64) bool {
	switch n.sign {
	case '+':
		return v > n.n
	case '-':
		return v < n.n
	}
	return v == n.n
}
