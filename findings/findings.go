// Package findings says what an analyst should look at first. It holds the
// rules, which are data in the form of sigma rules (rules/*.yaml, and the
// analyst's own), indicators of compromise, and what they find; it reads no
// evidence. The analyzer makes a Subject of each changed file, command, log line,
// container and image, and a Set says which rules it meets.
//
// Rules and indicators are the analyst's, subjects are hostile: patterns are
// RE2, which takes linear time, and a text that is looked into is cut at maxText.
package findings

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"time"
)

// Severity orders findings by how soon to look at them.
type Severity int

// The severities, in sigma's words.
const (
	Info Severity = iota
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"informational", "low", "medium", "high", "critical"}

// String returns the severity's name.
func (s Severity) String() string {
	if s < 0 || int(s) >= len(severityNames) {
		return severityNames[0]
	}
	return severityNames[s]
}

// ParseSeverity returns the severity of a name; "info" is informational.
func ParseSeverity(name string) (Severity, bool) {
	if name == "info" {
		return Info, true
	}
	i := slices.Index(severityNames[:], name)
	return Severity(i), i >= 0
}

// Container names the container that something belongs to.
type Container struct {
	ID        string `json:"id,omitempty"`
	Name      string `json:"name"` // NAMESPACE/POD/CONTAINER, or its name
	Runtime   string `json:"runtime,omitempty"`
	Image     string `json:"image,omitempty"`
	Pod       string `json:"pod,omitempty"`
	PodUID    string `json:"pod_uid,omitempty"`
	Namespace string `json:"namespace,omitempty"` // the pod's, or containerd's
	Sandbox   string `json:"sandbox,omitempty"`   // id of the pod's sandbox
}

// Evidence is one thing that a finding rests on.
type Evidence struct {
	Kind      string     // file, command, log, container, image, process
	Place     string     // display name: NODE:/path, CONTAINER:name:/path
	Path      string     // any bytes
	Container *Container // nil: the node's own
	Time      time.Time
	TimeOf    string // what happened then: "created", "changed", "deleted", ...
	Field     string // what of it the rule looked at
	Value     string // what stood there
	Offset    int64  // in the file, of a line; -1 none
	File      *File
	// Open opens the file, where it is one that can be read.
	Open func() (*io.SectionReader, error)
}

// File is what is known of a file that is evidence.
type File struct {
	Change                     string // added, modified, deleted; "" on the node
	Mode                       uint16
	UID, GID                   uint32
	Size                       int64
	Inode                      uint64
	Target                     string
	SHA256                     string
	Mtime, Atime, Ctime, Btime time.Time
}

// Finding is one rule that was met, by one container, image or the node.
type Finding struct {
	Rule     *Rule
	Severity Severity
	// Container is whose finding it is; nil: the node's, an image's or several containers'.
	Container *Container
	Image     string
	Evidence  []Evidence
	// Total counts all evidence, also what is over MaxEvidence and not kept.
	Total       int
	First, Last time.Time
}

// MaxEvidence bounds what is kept of one finding.
const MaxEvidence = 500

// Object names whose finding it is.
func (f *Finding) Object() string {
	switch {
	case f.Container != nil:
		return f.Container.Name
	case f.Image != "":
		return "@image:" + f.Image
	}
	return "@node"
}

// Collection gathers evidence into findings.
type Collection struct {
	byKey map[string]*Finding
}

// Add adds one piece of evidence to the finding of its rule and object.
func (c *Collection) Add(r *Rule, image string, e Evidence) {
	var owner *Container
	key := r.ID
	switch {
	case image != "":
		key += "\x00i" + image
	case r.Group == GroupNode || e.Container == nil:
	default:
		owner = e.Container
		key += "\x00c" + owner.ID + "\x00" + owner.Name
	}
	if c.byKey == nil {
		c.byKey = make(map[string]*Finding)
	}
	f := c.byKey[key]
	if f == nil {
		f = &Finding{Rule: r, Severity: r.Level, Container: owner, Image: image}
		c.byKey[key] = f
	}
	f.add(e)
}

func (f *Finding) add(e Evidence) {
	for i := range f.Evidence {
		h := &f.Evidence[i]
		if h.Place == e.Place && h.Value == e.Value && h.Field == e.Field && h.Time.Equal(e.Time) && h.Offset == e.Offset {
			return
		}
	}
	f.Total++
	if !e.Time.IsZero() {
		if f.First.IsZero() || e.Time.Before(f.First) {
			f.First = e.Time
		}
		if e.Time.After(f.Last) {
			f.Last = e.Time
		}
	}
	if len(f.Evidence) < MaxEvidence {
		f.Evidence = append(f.Evidence, e)
	}
}

// Findings returns what was found, the severest first, and of one severity by
// rule and object. What a severer finding says of the same place is not said twice:
// see Rule.Unless. A line of a log or a history is a place of its own.
func (c *Collection) Findings() []*Finding {
	var out []*Finding
	for _, f := range c.byKey {
		if c.subsumed(f) {
			continue
		}
		slices.SortStableFunc(f.Evidence, func(a, b Evidence) int {
			return cmp.Or(strings.Compare(a.Place, b.Place), cmp.Compare(a.Offset, b.Offset), strings.Compare(a.Field, b.Field),
				strings.Compare(a.Value, b.Value), a.Time.Compare(b.Time))
		})
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), strings.Compare(a.Rule.ID, b.Rule.ID), strings.Compare(a.Object(), b.Object()))
	})
	return out
}

// subsumed says whether everything in f is evidence of one of the rules that
// f's rule gives way to.
func (c *Collection) subsumed(f *Finding) bool {
	if len(f.Rule.Unless) == 0 || f.Total > len(f.Evidence) {
		return false
	}
	type line struct {
		place  string
		offset int64
	}
	told := make(map[line]bool)
	for _, other := range c.byKey {
		if slices.Contains(f.Rule.Unless, other.Rule.ID) {
			for i := range other.Evidence {
				told[line{other.Evidence[i].Place, other.Evidence[i].Offset}] = true
			}
		}
	}
	return !slices.ContainsFunc(f.Evidence, func(e Evidence) bool { return !told[line{e.Place, e.Offset}] })
}
