package main

import (
	"io"
	"os"
)

// earlyBytes is how much is written between two requests to begin storing it.
const earlyBytes = 16 << 20

// earlyWriter writes a file and has the system begin to store it meanwhile, so
// that the sync at the end finds little left to do. What can't be stored, that
// sync tells.
type earlyWriter struct {
	f       *os.File
	written int64
	asked   int64
	asks    chan extent // nil before the first
	done    chan struct{}
}

// extent is a part of a file.
type extent struct{ off, n int64 }

func newEarlyWriter(f *os.File) *earlyWriter { return &earlyWriter{f: f} }

var _ io.WriteCloser = (*earlyWriter)(nil)

func (w *earlyWriter) Write(b []byte) (int, error) {
	n, err := w.f.Write(b)
	if w.written += int64(n); w.written-w.asked >= earlyBytes {
		w.ask()
	}
	return n, err
}

// ask has a goroutine begin to store what was written, unless it is busy: then
// the next time it is more.
func (w *earlyWriter) ask() {
	if w.asks == nil {
		w.asks, w.done = make(chan extent), make(chan struct{})
		go func() {
			defer close(w.done)
			for e := range w.asks {
				beginStoring(w.f, e)
			}
		}()
	}
	select {
	case w.asks <- extent{w.asked, w.written - w.asked}:
		w.asked = w.written
	default:
	}
}

// Close ends the requests; the file stays open.
func (w *earlyWriter) Close() error {
	if w.asks != nil {
		close(w.asks)
		<-w.done
		w.asks = nil
	}
	return nil
}
