package jbd2

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"lagan/evidence"
)

func ours(err error) bool {
	return err == nil || errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func FuzzRead(f *testing.F) {
	for _, features := range [][2]uint32{{0, 0}, {CompatChecksum, IncompatAsyncCommit}, {0, IncompatCsumV3 | Incompat64Bit | IncompatRevoke}, {0, IncompatCsumV2}} {
		l := newBuilder(16, 12, 7, features[0], features[1])
		l.write(7, write{2, fill('a')}, write{3, fill('b')})
		l.revoke(7, 1)
		l.commit(7, 100)
		l.write(8, write{2, fill('c')})
		l.commit(8, 101)
		f.Add(l.b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		log, err := Read(bytes.NewReader(b), int64(len(b)), evidence.Options{Warn: func(err error) {
			if !ours(err) {
				t.Errorf("warning of another kind: %v", err)
			}
		}})
		if !ours(err) {
			t.Fatalf("error of another kind: %v", err)
		}
		if err != nil {
			if log != nil {
				t.Fatal("a log beside an error")
			}
			return
		}
		dev := log.Overlay(bytes.NewReader(device(8)))
		p := make([]byte, 3*testBlock)
		for off := int64(-1); off < 9*testBlock; off += 777 {
			if n, err := dev.ReadAt(p, off); n < 0 || n > len(p) || n < len(p) && err == nil {
				t.Fatalf("read %d of %d, %v", n, len(p), err)
			}
		}
		for c, err := range log.Copies() {
			if !ours(err) {
				t.Fatal(err)
			}
			if err == nil {
				if _, err := log.Read(c); !ours(err) {
					t.Fatal(err)
				}
			}
		}
	})
}

func FuzzFastCommits(f *testing.F) {
	l := newBuilder(minBlocks+8, 1, 7, 0, IncompatFastCommit)
	l.fast(0, 7, true, FastTag{FastDelRange, make([]byte, 12)}, FastTag{FastInode, make([]byte, 200)})
	l.fast(1, 7, false, FastTag{FastLink, append(make([]byte, 8), "name"...)}, FastTag{FastPad, nil})
	area := int(l.sb.end()+1) * testBlock
	f.Add(l.b[area:])
	f.Fuzz(func(t *testing.T, b []byte) {
		copy(l.b[area:], b)
		log, err := Read(bytes.NewReader(l.b), int64(len(l.b)), evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range log.FastChanges() {
			if err != nil {
				t.Fatalf("a change that counts can't be read: %v", err)
			}
			n++
		}
		if n > 0 && log.FastCommits == 0 {
			t.Fatal("changes without a commit")
		}
	})
}
