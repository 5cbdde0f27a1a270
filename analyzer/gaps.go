package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// maxGaps bounds the gaps that are kept one by one: a filesystem whose every
// block is damaged has millions, and the first thousands tell the story.
const maxGaps = 10_000

// Gap is a piece of evidence that could not be read, or that was read although
// something about it is wrong.
type Gap struct {
	Evidence string // the image's file name
	Volume   int    // as `lagan info` numbers it; 0 where it concerns no one volume
	Object   string // what the gap is in: a container, a store; empty where Message says it
	Message  string
}

// String returns the gap as one line.
func (g Gap) String() string {
	var b strings.Builder
	if g.Evidence != "" {
		fmt.Fprintf(&b, "%s: ", g.Evidence)
	}
	if g.Volume > 0 {
		fmt.Fprintf(&b, "volume %d: ", g.Volume)
	}
	if g.Object != "" {
		fmt.Fprintf(&b, "%s: ", g.Object)
	}
	b.WriteString(g.Message)
	return b.String()
}

// gapList collects gaps from all goroutines, each once.
type gapList struct {
	mu     sync.Mutex
	seen   map[Gap]bool
	causes map[string]bool
	list   []Gap
	more   int
	told   func(Gap)
}

func (l *gapList) add(g Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[g] {
		return
	}
	if len(l.list) >= maxGaps {
		l.more++
		return
	}
	if l.seen == nil {
		l.seen = make(map[Gap]bool)
	}
	l.seen[g] = true
	l.list = append(l.list, g)
	if l.told != nil {
		l.told(g)
	}
}

// newCause says whether what keeps paths from being resolved is told for the
// first time.
func (l *gapList) newCause(cause string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.causes[cause] {
		return false
	}
	if l.causes == nil {
		l.causes = make(map[string]bool)
	}
	l.causes[cause] = true
	return true
}

// all returns the gaps in a fixed order, however many goroutines found them.
func (l *gapList) all() []Gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.list)
	slices.SortFunc(out, func(a, b Gap) int { return strings.Compare(a.String(), b.String()) })
	if l.more > 0 {
		out = append(out, Gap{Message: fmt.Sprintf("and %d more, not listed", l.more)})
	}
	return out
}

// GapError is an error of one object, which a caller that goes on reports.
type GapError struct {
	Object string
	Err    error
}

// Error says what it is about and what is wrong.
func (e *GapError) Error() string { return e.Object + ": " + e.Err.Error() }

// Unwrap returns the object's own error.
func (e *GapError) Unwrap() error { return e.Err }

// ReportGap makes a gap of what a caller could not do of one object.
func (n *Node) ReportGap(e *GapError) { n.gap(0, e.Object, e.Err) }
