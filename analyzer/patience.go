package analyzer

import (
	"fmt"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"lagan/evidence"
	"lagan/evidence/hostdir"
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
	if err := givenUp(r.p, r.m); err != nil {
		return 0, err
	}
	return r.ReaderAt.ReadAt(b, off)
}

// givenUp is the error of every read that there is no more patience for, or memory.
func givenUp(p *patience, m *memory) error {
	if err := p.over(); err != nil {
		return err
	}
	return m.exceeded()
}

// patientFolder is a folder of this machine, of which no disk is read: the kernel
// is asked, as long as there is patience, and memory.
type patientFolder struct {
	*hostdir.FS
	p *patience
	m *memory
}

// Stat implements evidence.FS.
func (f patientFolder) Stat(ino evidence.Ino) (evidence.Info, error) {
	if err := givenUp(f.p, f.m); err != nil {
		return evidence.Info{}, err
	}
	return f.FS.Stat(ino)
}

// Lookup implements evidence.Lookuper.
func (f patientFolder) Lookup(dir evidence.Ino, name string) (evidence.Entry, error) {
	if err := givenUp(f.p, f.m); err != nil {
		return evidence.Entry{}, err
	}
	return f.FS.Lookup(dir, name)
}

// ReadDir implements evidence.FS.
func (f patientFolder) ReadDir(dir evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		for e, err := range f.FS.ReadDir(dir) {
			if up := givenUp(f.p, f.m); up != nil {
				yield(evidence.Entry{}, up)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// ReadLink implements evidence.FS.
func (f patientFolder) ReadLink(ino evidence.Ino) (string, error) {
	if err := givenUp(f.p, f.m); err != nil {
		return "", err
	}
	return f.FS.ReadLink(ino)
}

// Xattrs implements evidence.FS.
func (f patientFolder) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	if err := givenUp(f.p, f.m); err != nil {
		return nil, err
	}
	return f.FS.Xattrs(ino)
}

// Open implements evidence.FS.
func (f patientFolder) Open(ino evidence.Ino) (*io.SectionReader, error) {
	r, err := f.FS.Open(ino)
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(patientReader{r, f.p, f.m}, 0, r.Size()), nil
}
