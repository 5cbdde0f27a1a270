package xlog

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"lagan/evidence"
)

// TestLocate finds head and tail of logs in every state that a crash leaves.
func TestLocate(t *testing.T) {
	tests := []struct {
		name       string
		write      func(w *logWriter)
		head, tail int64
		clean      bool
		note       string
		err        error
	}{
		{name: "never written", write: func(w *logWriter) { clear(w.log) }, clean: true, note: "never written"},
		{name: "clean", write: func(w *logWriter) { w.fill(100, 10); w.unmount() }, head: 102, tail: 100, clean: true},
		{name: "dirty, first round", write: func(w *logWriter) { w.unmount(); w.tail = w.lsn(); w.fill(300, 20) }, head: 300, tail: 2},
		{name: "dirty, second round", write: func(w *logWriter) {
			w.fill(2048, 64)
			w.fill(500, 20)
			w.tail = 2<<32 | 500
			w.fill(700, 30)
		}, head: 700, tail: 500},
		{name: "wrapped", write: func(w *logWriter) {
			w.fill(2000, 64)
			w.tail = w.lsn()
			w.record(op{99, 0, make([]byte, 60*basicBlock)}) // 1 + 61 blocks: goes round
			w.fill(200, 20)
		}, head: 200, tail: 2000},
		{name: "ends with the log", write: func(w *logWriter) { w.fill(1000, 64); w.tail = w.lsn(); w.fill(2048, 8) }, head: 0, tail: 1000},
		{name: "clean at the end of the log", write: func(w *logWriter) { w.fill(2046, 64); w.unmount() }, head: 0, tail: 2046, clean: true},
		{name: "a record cut short", write: func(w *logWriter) {
			w.fill(2048, 64)
			w.tail = 2<<32 | 80
			w.fill(400, 20)
			at := w.block
			before := append([]byte(nil), w.log[(at+7)*basicBlock:(at+20)*basicBlock]...)
			w.record(op{99, 0, make([]byte, 10*basicBlock)})
			copy(w.log[(at+7)*basicBlock:], before) // its end was never written
		}, head: 400, tail: 80},
		{name: "a hole among writes in flight", write: func(w *logWriter) {
			w.fill(2048, 64)
			w.tail = 2<<32 | 80
			w.fill(400, 20)
			at := w.block
			before := append([]byte(nil), w.log[at*basicBlock:(at+12)*basicBlock]...)
			w.record(op{99, 0, make([]byte, 10*basicBlock)})
			w.fill(600, 20)
			copy(w.log[at*basicBlock:], before) // later ones were
		}, head: 400, tail: 80},
		{name: "a torn record", write: func(w *logWriter) {
			w.tail = 1 << 32
			w.fill(400, 20)
			w.badCRC = true
			w.record(op{99, 0, make([]byte, 3000)})
			w.badCRC = false
			w.record(op{99, 0, make([]byte, 3000)})
		}, head: 400, tail: 0, note: "whole ends at block 0x190"},
		{name: "a torn unmount", write: func(w *logWriter) {
			w.fill(200, 20)
			w.unmount()
			w.badCRC = true
			w.record(op{99, 0, make([]byte, 3000)})
		}, head: 202, tail: 200, clean: true, note: "whole ends at block 0xca"},
		{name: "an overwritten tail", write: func(w *logWriter) {
			w.fill(2048, 64)
			w.fill(480, 20)
			w.tail = 1<<32 | 512 // a record of the first round
			w.fill(500, 20)
			w.log[513*basicBlock+9]++
		}, head: 500, tail: 576, note: "tail was overwritten"},
		{name: "version 1", write: func(w *logWriter) { w.v1 = true; w.fill(100, 10) }, head: 100, tail: 0},
		{name: "long records", write: func(w *logWriter) {
			w.size = 256 << 10
			w.tail = 1 << 32
			w.record(op{99, 0, make([]byte, 200<<10)})
			w.record(op{99, 0, make([]byte, 100<<10)})
		}, head: 8 + 401 + 8 + 201, tail: 0},
		{name: "another filesystem's", write: func(w *logWriter) { w.uuid[0]++; w.fill(100, 10) }, err: evidence.ErrCorrupt},
		{name: "no header", write: func(w *logWriter) {
			for i := 0; i < len(w.log); i += basicBlock {
				binary.BigEndian.PutUint32(w.log[i:], 5)
			}
		}, err: evidence.ErrCorrupt},
		{name: "a tail beyond the log", write: func(w *logWriter) { w.tail = 1<<32 | 5000; w.fill(100, 10) }, err: evidence.ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newLogWriter()
			tt.write(w)
			d, g := w.setup(t, !w.v1)
			l, err := openLog(d, testSize, g, nil)
			if err != nil {
				t.Fatal(err)
			}
			e, err := l.locate()
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if e.head != tt.head || !tt.clean && e.tail != tt.tail || e.clean != tt.clean || !strings.Contains(e.note, tt.note) || tt.note == "" && e.note != "" {
				t.Errorf("head %d tail %d clean %v note %q, want %d %d %v %q", e.head, e.tail, e.clean, e.note, tt.head, tt.tail, tt.clean, tt.note)
			}
		})
	}
}

// TestOpenLog refuses logs that can't be where the superblock says.
func TestOpenLog(t *testing.T) {
	_, g := newLogWriter().setup(t, true)
	tests := []struct {
		name   string
		change func(g *Geometry)
		size   int64
	}{
		{"cut off", func(*Geometry) {}, testLogStart + 4096},
		{"no blocks", func(g *Geometry) { g.LogBlocks = 0 }, testSize},
		{"too long", func(g *Geometry) { g.LogBlocks = 1 << 31 }, testSize},
		{"no such group", func(g *Geometry) { g.LogStart = 1 << 50 }, testSize},
	}
	for _, tt := range tests {
		bad := g
		tt.change(&bad)
		if _, err := Replay(disk{}, tt.size, bad, nil); !errors.Is(err, evidence.ErrCorrupt) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	g.LogStart = 0
	r, err := Replay(disk{}, testSize, g, nil)
	if err != nil || r.State != evidence.JournalExternal {
		t.Errorf("external: %v, %v", r, err)
	}
}
