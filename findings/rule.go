package findings

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Group says what evidence of one rule makes one finding.
type Group string

// The groups.
const (
	GroupContainer Group = "container" // each container's, and the node's
	GroupNode      Group = "node"      // all of the node and its containers
)

// Rule says what is to be looked at. Its fields are sigma's, and three of ours:
// group, unless and hints.
type Rule struct {
	Title          string   `yaml:"title"`
	ID             string   `yaml:"id"`
	Description    string   `yaml:"description"`
	References     []string `yaml:"references"`
	Tags           []string `yaml:"tags"`
	FalsePositives list     `yaml:"falsepositives"`
	LevelName      string   `yaml:"level"`
	Status         string   `yaml:"status"`
	Group          Group    `yaml:"group"`
	// Unless names rules whose findings say the same and more: where all that this
	// rule found lies in places that they found, they are enough.
	Unless []string `yaml:"unless"`
	// Hints are lower-case texts of which a log line that the rule matches has at
	// least one: most lines are passed over without a pattern being tried.
	Hints     []string `yaml:"hints"`
	LogSource struct {
		Product  string `yaml:"product"`
		Category string `yaml:"category"`
		Service  string `yaml:"service"`
	} `yaml:"logsource"`
	Detection map[string]yaml.Node `yaml:"detection"`

	Level Severity `yaml:"-"`
	// Own says that the rule is one of lagan's, not the analyst's.
	Own     bool     `yaml:"-"`
	kinds   []string // of subjects
	match   matcher
	require map[string]string // fields that sigma's logsource implies
}

// list is a list of texts, or one.
type list []string

// UnmarshalYAML reads either.
func (l *list) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*l = list{n.Value}
		return nil
	}
	var all []string
	err := n.Decode(&all)
	*l = all
	return err
}

var technique = regexp.MustCompile(`^attack\.(t[0-9]{4}(?:\.[0-9]{3})?)$`)

// Techniques returns the rule's ATT&CK techniques: T1053.003.
func (r *Rule) Techniques() []string {
	var out []string
	for _, t := range r.Tags {
		if m := technique.FindStringSubmatch(strings.ToLower(t)); m != nil {
			out = append(out, strings.ToUpper(m[1]))
		}
	}
	return out
}

// Harmless says why what the rule finds may be harmless.
func (r *Rule) Harmless() string { return strings.Join(r.FalsePositives, "; ") }

// Set is a set of rules.
type Set struct {
	Rules  []*Rule
	byID   map[string]*Rule
	byKind map[string][]*Rule
}

//go:embed rules/*.yaml
var embedded embed.FS

// Default returns lagan's own rules. Their files are decoded beside each other:
// that takes most of a short command's time.
func Default() (*Set, error) {
	names, err := fs.Glob(embedded, "rules/*.yaml")
	if err != nil {
		return nil, err
	}
	files := make([]documents, len(names))
	var wait sync.WaitGroup
	for i, name := range names {
		b, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		wait.Go(func() { files[i] = decode(b, true) })
	}
	wait.Wait()
	s := &Set{}
	for i, name := range names {
		if err := s.load(name, files[i]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// maxRules bounds the rules of one set, and with them the work for each subject.
const maxRules = 20_000

// Load adds the analyst's rules: a file of one or more YAML documents. A rule
// that can't be read, or could never match, is an error that names it; the
// other rules are added all the same.
func (s *Set) Load(name string, b []byte) error { return s.load(name, decode(b, false)) }

// documents are the rules of a file, in order. An error is that of a document; the last
// may be one after which the rest can't be told apart.
type documents struct {
	rules []*Rule
	errs  []error
	end   error
}

func decode(b []byte, own bool) documents {
	var out documents
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		r := &Rule{Own: own}
		err := d.Decode(r)
		if errors.Is(err, io.EOF) {
			return out
		}
		var types *yaml.TypeError
		if err != nil && !errors.As(err, &types) {
			out.end = err
			return out
		}
		out.rules, out.errs = append(out.rules, r), append(out.errs, err)
	}
}

func (s *Set) load(name string, d documents) error {
	var errs []error
	for i, r := range d.rules {
		err := d.errs[i]
		if err == nil {
			err = s.add(r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("rules %s: document %d (%s): %w", name, i+1, firstOf(r.ID, r.Title), err))
		}
	}
	if d.end != nil {
		errs = append(errs, fmt.Errorf("rules %s: %w", name, d.end))
	}
	return errors.Join(errs...)
}

func firstOf(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}

func (s *Set) add(r *Rule) error {
	if err := r.check(); err != nil {
		return err
	}
	if s.byID[r.ID] != nil {
		return fmt.Errorf("there is another rule with the id %s", r.ID)
	}
	if len(s.Rules) >= maxRules {
		return fmt.Errorf("more than %d rules", maxRules)
	}
	if s.byID == nil {
		s.byID, s.byKind = make(map[string]*Rule), make(map[string][]*Rule)
	}
	s.Rules = append(s.Rules, r)
	s.byID[r.ID] = r
	for _, k := range r.kinds {
		s.byKind[k] = append(s.byKind[k], r)
	}
	return nil
}

// check compiles a rule.
func (r *Rule) check() error {
	if r.ID == "" || r.Title == "" {
		return errors.New("a rule needs a title and an id")
	}
	level, ok := ParseSeverity(firstOf(r.LevelName, "medium"))
	if !ok {
		return fmt.Errorf("level %q is none of %s", r.LevelName, strings.Join(severityNames[:], ", "))
	}
	r.Level = level
	if r.Group == "" {
		r.Group = GroupContainer
	}
	if r.Group != GroupContainer && r.Group != GroupNode {
		return fmt.Errorf("group %q is neither container nor node", r.Group)
	}
	if err := r.source(); err != nil {
		return err
	}
	if slices.Equal(r.kinds, []string{KindComputed}) {
		return nil
	}
	return r.compile()
}

// compile compiles the detection.
func (r *Rule) compile() error {
	selections := make(map[string]matcher)
	var conditions []string
	for _, name := range sortedKeys(r.Detection) {
		n := r.Detection[name]
		switch name {
		case "condition":
			if n.Kind == yaml.SequenceNode {
				for _, c := range n.Content {
					conditions = append(conditions, c.Value)
				}
			} else {
				conditions = append(conditions, n.Value)
			}
			continue
		case "timeframe":
			return errors.New("timeframe is not supported")
		}
		m, err := compiler{tested: r.Own}.selection(&n)
		if err != nil {
			return fmt.Errorf("selection %s: %w", name, err)
		}
		selections[name] = m
	}
	if len(conditions) == 0 {
		return errors.New("a detection needs a condition")
	}
	var any anyOf
	for _, c := range conditions {
		m, err := condition(c, selections)
		if err != nil {
			return err
		}
		any = append(any, m)
	}
	r.match = any
	return r.unknown(selections)
}

// unknown is an error where every selection names a field that no subject has:
// the rule could never match.
func (r *Rule) unknown(selections map[string]matcher) error {
	if r.Own {
		for _, name := range sortedKeys(selections) {
			if f := unknownFields(selections[name]); len(f) > 0 {
				return fmt.Errorf("selection %s: no subject has the field %s", name, strings.Join(f, ", "))
			}
		}
		return nil
	}
	var missing []string
	for _, name := range sortedKeys(selections) {
		f := unknownFields(selections[name])
		if len(f) == 0 {
			return nil
		}
		missing = append(missing, f...)
	}
	if len(missing) > 0 {
		return fmt.Errorf("it can't match: what is on a disk doesn't tell %s", strings.Join(missing, ", "))
	}
	return nil
}

func unknownFields(m matcher) []string {
	switch m := m.(type) {
	case allOf:
		var out []string
		for _, x := range m {
			out = append(out, unknownFields(x)...)
		}
		return out
	case anyOf:
		var out []string
		for _, x := range m {
			f := unknownFields(x)
			if len(f) == 0 {
				return nil
			}
			out = append(out, f...)
		}
		return out
	case *fieldMatch:
		if m.field == "" || slices.Contains(known, m.field) || aliases[m.field] != nil {
			return nil
		}
		return []string{m.field}
	}
	return nil
}

// source turns the logsource into kinds of subjects.
func (r *Rule) source() error {
	l := &r.LogSource
	switch l.Product {
	case "lagan":
		switch l.Category {
		case KindFile, KindCommand, KindLog, KindContainer, KindImage, KindProcess, KindComputed:
			r.kinds = []string{l.Category}
			return nil
		case "text": // whatever was typed, scheduled, given as a command or written into a small file
			r.kinds = []string{KindCommand, KindFile, KindContainer, KindImage, KindProcess}
			return nil
		}
		return fmt.Errorf("lagan has no category %q", l.Category)
	case "linux", "":
	default:
		return fmt.Errorf("rules of product %q are not read: of sigma's those of linux and file_event are", l.Product)
	}
	switch l.Category {
	case "file_event", "file_change", "file_rename", "file_access":
		r.kinds, r.require = []string{KindFile}, map[string]string{"recent": "true"}
	case "file_delete":
		r.kinds, r.require = []string{KindFile}, map[string]string{"change": "deleted"}
	case "process_creation":
		r.kinds = []string{KindCommand, KindProcess, KindLog}
	case "network_connection":
		r.kinds = []string{KindProcess}
	case "webserver":
		r.kinds = []string{KindLog}
	case "":
		if l.Product == "" && l.Service == "" {
			return errors.New("it names no logsource")
		}
		r.kinds = []string{KindLog, KindCommand}
	default:
		return fmt.Errorf("category %q is not read: file_event, process_creation and linux logs are", l.Category)
	}
	return nil
}

// Match is a rule that a subject meets, with what met it.
type Match struct {
	Rule         *Rule
	Field, Value string
}

// Match returns the rules that a subject meets.
func (s *Set) Match(sub *Subject) []Match {
	var out []Match
	for _, r := range s.byKind[sub.Kind] {
		if !r.required(sub) {
			continue
		}
		if h, ok := r.match.match(sub); ok {
			out = append(out, Match{r, h.field, h.value})
		}
	}
	return out
}

func (r *Rule) required(sub *Subject) bool {
	for k, v := range r.require {
		if sub.First(k) != v {
			return false
		}
	}
	return true
}

// Has says whether any rule is about subjects of a kind.
func (s *Set) Has(kind string) bool { return len(s.byKind[kind]) > 0 }

// Wide says whether the analyst's rules are about files, so that none can be left out beforehand.
func (s *Set) Wide() bool {
	return slices.ContainsFunc(s.byKind[KindFile], func(r *Rule) bool { return !r.Own })
}

// Hints returns the hints of lagan's own rules about log lines, and whether all rules about
// the text of lines have some, so that a line without any can be passed over.
func (s *Set) Hints() (hints []string, complete bool) {
	complete = true
	for _, r := range s.byKind[KindLog] {
		hints = append(hints, r.Hints...)
		complete = complete && r.Own
	}
	return hints, complete
}

// Rule returns the rule with an id, nil where there is none.
func (s *Set) Rule(id string) *Rule { return s.byID[id] }
