package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// watchdog kills a child that takes too long over one mutant, or too much memory.
type watchdog struct {
	process *os.Process
	since   atomic.Int64 // when the child last said something, Unix nanoseconds
	why     atomic.Value
	done    chan struct{}
}

func newWatchdog(p *os.Process) *watchdog {
	w := &watchdog{process: p, done: make(chan struct{})}
	w.alive()
	go w.watch()
	return w
}

func (w *watchdog) alive() { w.since.Store(time.Now().UnixNano()) }

func (w *watchdog) watch() {
	for {
		select {
		case <-w.done:
			return
		case <-time.After(100 * time.Millisecond):
		}
		if time.Since(time.Unix(0, w.since.Load())) > maxSeconds*time.Second {
			w.why.Store(fmt.Sprintf("not done after %d s", maxSeconds))
		} else if mib := residentMiB(w.process.Pid); mib > maxMiB {
			w.why.Store(fmt.Sprintf("%d MiB resident", mib))
		} else {
			continue
		}
		w.process.Kill()
		return
	}
}

// stop ends the watch and says why the child was killed, "" if it wasn't.
func (w *watchdog) stop() string {
	close(w.done)
	why, _ := w.why.Load().(string)
	return why
}

// residentMiB is the process's resident memory; 0 where /proc doesn't tell.
func residentMiB(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return pages * os.Getpagesize() >> 20
}
