// Package isolate does work on evidence in a process of its own: this program
// again. What no process survives, a stack that overflows, memory that runs
// out, a panic of a goroutine that nobody guards, ends that process alone. It is
// then started again without the object that it was reading, until it ends.
//
// The child says over a pipe which object it begins and ends, so that the parent
// knows what killed it. The parent reads no evidence, only what the child says:
// lines of bounded length in bounded number.
package isolate

import (
	"errors"
	"fmt"
)

// inherited tells a child what it is; its value is the descriptor that it reports to.
const inherited = "LAGAN_ISOLATED"

// reportFD is the descriptor of the report: what follows standard error.
const reportFD = 3

// The bounds of what a parent takes from a child.
const (
	maxTries  = 16       // each is the whole work again
	maxSaid   = 16 << 20 // standard error that is kept; a stack's trace is 100 KiB
	maxReport = 1 << 20  // one line of the report
	maxOpen   = 10_000   // objects that are read at the same time
)

// ErrDied says that the child died and nothing could be left out that would
// have kept it alive.
var ErrDied = errors.New("the process that read the evidence died")

// Death is why an object was left out.
type Death struct {
	Object string
	Why    string
}

// order is the first line that a child reads.
type order struct {
	LeftOut map[string]string `json:"left_out,omitempty"` // object: why
	Request any               `json:"request,omitempty"`
}

// leftOut is the error of an object that is not read again.
func leftOut(why string) error {
	return fmt.Errorf("its reader died: %s; it was left out, and the rest read without it", why)
}
