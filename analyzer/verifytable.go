package analyzer

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"lagan/layers"
	"lagan/runtimes"
)

// pulledAt is when the folder of a layer that was pulled file by file was
// complete; zero of others.
func pulledAt(l runtimes.Layer) time.Time {
	if l.Table == "" {
		return time.Time{}
	}
	return l.Created
}

// table compares the folder of a layer that was pulled file by file with the
// table of contents that the store kept, and says whether that could be done.
// What agrees is not proven by it: who changes a file can change the table.
func (c *layerCheck) table() (bool, error) {
	at := c.layer.Table
	r, err := openPath(c.image.store, at)
	if errors.Is(err, fs.ErrNotExist) {
		c.j.add(Verdict{Check: CheckTable, Result: ResultMissing, Object: at})
		return false, nil
	}
	if err != nil {
		c.j.add(Verdict{Check: CheckTable, Result: ResultUnverifiable, Object: at, Note: err.Error()})
		return false, fmt.Errorf("%s: %w", at, err)
	}
	o := c.options
	o.Lost = c.layer.TableLost
	found, err := layers.CompareTable(contextReader{c.v.ctx, r}, c.folder, o)
	switch {
	case c.v.ctx.Err() != nil:
		return false, c.v.ctx.Err()
	case err != nil:
		c.j.add(Verdict{Check: CheckTable, Result: ResultUnverifiable, Object: at, Note: err.Error()})
		return false, fmt.Errorf("%s: %w", at, err)
	case len(found.Differences) > 0:
		c.tell(CheckTable, at, found.Differences)
	default:
		c.j.add(Verdict{Check: CheckTable, Result: ResultUnverifiable, Object: c.layer.Dir,
			Note: "the same as " + at + " says, which nothing proves: the layer was pulled file by file, and its tar never was here"})
	}
	return true, c.ctimes()
}
