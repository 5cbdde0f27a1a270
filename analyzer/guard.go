package analyzer

import (
	"fmt"
	"path"
	"runtime"
	"runtime/debug"
)

// guard runs what reads one object, and turns its panic into a gap of that object.
func (n *Node) guard(volume int, object string, read func() error) {
	if n.options.Begin != nil {
		_, file, line, _ := runtime.Caller(1) // tells the opening of a volume from the telling of it
		end, err := n.options.Begin(fmt.Sprintf("volume %d, %s (%s:%d)", volume, object, path.Base(file), line))
		if err != nil {
			n.gap(volume, object, err)
			return
		}
		defer end()
	}
	n.memory.wait()
	defer n.patience.begin()()
	defer func() {
		if r := recover(); r != nil {
			n.gap(volume, object, n.panicError(r))
		}
	}()
	if err := read(); err != nil {
		n.gap(volume, object, err)
	}
}

// panicError keeps the place of a defect of ours for the report of it.
func (n *Node) panicError(r any) error {
	if n.options.Trace {
		return fmt.Errorf("internal error: %v\n%s", r, debug.Stack())
	}
	return fmt.Errorf("internal error, please report it with what -v adds: %v", r)
}
