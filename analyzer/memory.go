package analyzer

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// maxStacks bounds the stacks of all goroutines. Readers go as deep as their
// constants say, some kilobytes each; a stack of such a size is one that has no
// end. The program ends at four times as much (debug.SetMaxStack).
const maxStacks = 64 << 20

// How often memory is looked at, while it is well and while it isn't.
const (
	memoryEvery   = 25 * time.Millisecond
	memoryPatient = 2 * time.Second // how long a new object waits for that of others to be freed
)

// memory ends what takes too much of it, as patience ends what takes too long:
// while there is too much in use, every read of a disk fails, its reader gives
// up, and what it held is freed. The limit is far above what any evidence takes
// that was not made to exhaust it.
type memory struct {
	limit int64 // bytes in use, 0: none
	over  atomic.Bool
	stop  chan struct{}
}

// watch looks at memory until close.
func (m *memory) watch() {
	if m.limit <= 0 {
		return
	}
	stop := make(chan struct{})
	m.stop = stop
	go func() {
		tick := time.NewTicker(memoryEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				m.look()
			}
		}
	}()
}

func (m *memory) close() {
	if m.stop != nil {
		close(m.stop)
		m.stop = nil
	}
}

// look sets over by what is in use once garbage is gone.
func (m *memory) look() {
	heap, stacks := memoryUsed()
	if m.over.Load() || heap > m.limit {
		runtime.GC()
		heap, stacks = memoryUsed()
	}
	m.over.Store(heap > m.limit || stacks > maxStacks)
}

func memoryUsed() (heap, stacks int64) {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64()), int64(s[1].Value.Uint64())
}

// wait has a new object begin when that is over which others were given up for.
func (m *memory) wait() {
	for until := time.Now().Add(memoryPatient); m.over.Load() && time.Now().Before(until); {
		time.Sleep(memoryEvery)
	}
}

// exceeded is the error of every read while too much is in use.
func (m *memory) exceeded() error {
	if !m.over.Load() {
		return nil
	}
	return fmt.Errorf("given up: more than %d MiB of memory in use (--max-memory), or a stack without end", m.limit>>20)
}
