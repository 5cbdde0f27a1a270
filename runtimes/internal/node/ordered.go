package node

import (
	"iter"
	"runtime"
	"sync"
)

// maxWorkers bounds the goroutines of Ordered: what it is used for waits for
// one disk and fills one list.
const maxWorkers = 4

// Ordered calls work for each item, several at a time, and yields each item with
// what work returned, in the items' order. A panic of work is raised in the
// goroutine that ranges over the result, so that who guards that one guards both.
func Ordered[T, R any](items iter.Seq[T], work func(T) R) iter.Seq2[T, R] {
	return func(yield func(T, R) bool) {
		workers := min(runtime.GOMAXPROCS(0), maxWorkers)
		todo := make(chan *job[T, R], workers)
		var running sync.WaitGroup
		defer running.Wait()
		defer close(todo)
		for range workers {
			running.Go(func() {
				for j := range todo {
					j.do(work)
				}
			})
		}
		var waiting []*job[T, R]
		first := func() bool {
			j := waiting[0]
			waiting = waiting[1:]
			<-j.done
			if j.caught != nil {
				panic(j.caught)
			}
			return yield(j.item, j.result)
		}
		for item := range items {
			j := &job[T, R]{item: item, done: make(chan struct{})}
			todo <- j
			if waiting = append(waiting, j); len(waiting) > 4*workers && !first() {
				return
			}
		}
		for len(waiting) > 0 && first() {
		}
	}
}

// job is one item on its way through Ordered.
type job[T, R any] struct {
	item   T
	result R
	caught any // what work panicked with
	done   chan struct{}
}

func (j *job[T, R]) do(work func(T) R) {
	defer close(j.done)
	defer func() { j.caught = recover() }()
	j.result = work(j.item)
}
