package analyzer

import "sync"

// maxQueued is how many subjects wait for being held against the rules: what one
// holds is bounded by a line of a log.
const maxQueued = 32

// matchQueue holds subjects against the rules in a goroutine of its own, one after the
// other in the order in which they were met, so that the telling goes on meanwhile.
// What a subject asks for only when a rule does (a file's text) is read there too.
type matchQueue struct {
	jobs chan func()
	gaps []*GapError // of the jobs, told at the end: in the same order in every run
	done sync.WaitGroup
}

func newMatchQueue() *matchQueue {
	q := &matchQueue{jobs: make(chan func(), maxQueued)}
	q.done.Go(func() {
		for job := range q.jobs {
			job()
		}
	})
	return q
}

// begin has what is matched from now on be matched later, until settle, unless each
// object is to be read by itself.
func (f *finder) begin() {
	if f.n.options.Begin == nil {
		f.queue = newMatchQueue()
	}
}

// later runs what looks at one place when all before it was looked at. Its panic is a
// gap of the place. Without a queue it is run at once.
func (f *finder) later(place string, look func()) {
	if f.queue == nil {
		look()
		return
	}
	f.queue.jobs <- func() {
		defer func() {
			if r := recover(); r != nil {
				f.gap(place, f.n.panicError(r))
			}
		}()
		if f.ctx.Err() == nil {
			look()
		}
	}
}

// gap is one of what is run later.
func (f *finder) gap(place string, err error) {
	if f.queue == nil {
		f.n.gap(0, place, err)
		return
	}
	f.queue.gaps = append(f.queue.gaps, &GapError{place, err})
}

// settle waits for what is run later, and ends that.
func (f *finder) settle() {
	q := f.queue
	if q == nil {
		return
	}
	close(q.jobs)
	q.done.Wait()
	f.queue = nil
	for _, g := range q.gaps {
		f.n.gap(0, g.Object, g.Err)
	}
}
