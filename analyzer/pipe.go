package analyzer

import "lagan/timeline"

// batchRecords is how many records are handed over at a time: enough that the
// handing over costs nothing, and few enough to stay in a processor's cache.
const batchRecords = 256

// pipe hands records to their sink in a goroutine of its own, in order, so that
// reading the evidence and rendering lines go on side by side.
type pipe struct {
	now    *batch
	free   chan *batch
	full   chan *batch
	failed chan error // the sink's first error, or nil at the end
	err    error
}

type batch struct {
	records [batchRecords]timeline.Record
	n       int
}

func newPipe(add func(*timeline.Record) error) *pipe {
	const depth = 4
	p := &pipe{now: &batch{}, free: make(chan *batch, depth), full: make(chan *batch, depth), failed: make(chan error, 1)}
	for range depth - 1 {
		p.free <- &batch{}
	}
	go func() {
		var err error
		for b := range p.full {
			for i := range b.records[:b.n] {
				if err == nil {
					err = add(&b.records[i])
				}
			}
			b.n = 0
			p.free <- b
			if err != nil {
				break
			}
		}
		p.failed <- err
	}()
	return p
}

// record returns the record to be built next.
func (p *pipe) record() *timeline.Record { return &p.now.records[p.now.n] }

// send hands on the record that was built.
func (p *pipe) send() error {
	if p.err != nil {
		return p.err
	}
	if p.now.n++; p.now.n < batchRecords {
		return nil
	}
	return p.flush()
}

func (p *pipe) flush() error {
	select {
	case p.err = <-p.failed:
		p.now.n = 0
		return p.err
	case p.full <- p.now:
	}
	select {
	case p.err = <-p.failed:
		p.now = &batch{} // the other is the sink's for good
		return p.err
	case p.now = <-p.free:
	}
	return nil
}

// close hands on what is left and waits until the sink has all of it.
func (p *pipe) close() error {
	if p.err == nil && p.now.n > 0 {
		p.flush()
	}
	close(p.full)
	if p.err == nil {
		p.err = <-p.failed
	}
	return p.err
}
