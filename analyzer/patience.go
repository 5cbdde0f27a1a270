package analyzer

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// patience ends what takes too long with one object. A reader of evidence
// can't be stopped from outside, but it can't go on without reading either:
// past the deadline every read fails, and its loops end as they do on a disk
// that was pulled.
type patience struct {
	limit    time.Duration // for one object; 0: none
	deadline atomic.Int64  // Unix nanoseconds, 0: none
	objects  atomic.Int64  // being read
}

// begin gives a new object its time. Where several are read side by side, the
// last that began sets the deadline of all, so that none has less than its own.
func (p *patience) begin() (end func()) {
	if p.limit <= 0 {
		return func() {}
	}
	p.objects.Add(1)
	p.deadline.Store(time.Now().Add(p.limit).UnixNano())
	return func() {
		if p.objects.Add(-1) > 0 {
			p.deadline.Store(time.Now().Add(p.limit).UnixNano())
			return
		}
		p.deadline.Store(0)
	}
}

// over is the error of every read past the deadline.
func (p *patience) over() error {
	d := p.deadline.Load()
	if d == 0 || time.Now().UnixNano() < d {
		return nil
	}
	return fmt.Errorf("given up after %s (--timeout)", p.limit)
}

// patientReader is a disk that is read as long as there is patience, and memory.
type patientReader struct {
	io.ReaderAt
	p *patience
	m *memory
}

// ReadAt implements io.ReaderAt.
func (r patientReader) ReadAt(b []byte, off int64) (int, error) {
	if err := r.p.over(); err != nil {
		return 0, err
	}
	if err := r.m.exceeded(); err != nil {
		return 0, err
	}
	return r.ReaderAt.ReadAt(b, off)
}
