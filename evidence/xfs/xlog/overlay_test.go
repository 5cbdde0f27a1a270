package xlog

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"testing"
)

// TestOverlay compares an overlay, and the image that comes of it, with a plain copy.
func TestOverlay(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	below := make([]byte, 40*pageSize+1000) // the disk ends within a page
	r.Read(below)
	plain := bytes.Clone(below)
	o := newOverlay(bytes.NewReader(below), int64(len(below)))
	for range 200 {
		off := r.Intn(len(plain) - 1)
		n := min(1+r.Intn(3*pageSize), len(plain)-off)
		if r.Intn(2) == 0 {
			got := make([]byte, n)
			if err := o.read(got, int64(off)); err != nil || !bytes.Equal(got, plain[off:off+n]) {
				t.Fatalf("read of %d at %d: %v", n, off, err)
			}
			continue
		}
		p := make([]byte, min(n, 1+r.Intn(300)))
		r.Read(p)
		if r.Intn(4) == 0 {
			copy(p, plain[off:]) // nothing new
		}
		copy(plain[off:], p)
		if err := o.write(p, int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	im, err := o.finish()
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		off := r.Intn(len(plain))
		n := 1 + r.Intn(5*pageSize)
		got := make([]byte, n)
		want := plain[off:min(off+n, len(plain))]
		m, err := im.ReadAt(got, int64(off))
		if m < len(want) || !bytes.Equal(got[:len(want)], want) || n == len(want) && err != nil {
			t.Fatalf("image: read %d of %d at %d: %v", m, n, off, err)
		}
		unit := off / changeUnit * changeUnit
		end := min((off+n+changeUnit-1)/changeUnit*changeUnit, len(plain))
		if got, want := im.changed(int64(off), int64(n)), !bytes.Equal(plain[unit:end], below[unit:end]); got != want {
			t.Fatalf("changed %d at %d: %v, want %v", n, off, got, want)
		}
	}
}

// badDisk fails to read page 2.
type badDisk struct{}

func (badDisk) ReadAt(p []byte, off int64) (int, error) {
	if off < 3*pageSize && off+int64(len(p)) > 2*pageSize {
		n := max(2*pageSize-off, 0)
		clear(p[:n])
		return int(n), errBad
	}
	clear(p)
	return len(p), nil
}

var errBad = errors.New("bad sector")

// TestUnreadable reads pages that replay knows where the disk below fails.
func TestUnreadable(t *testing.T) {
	o := newOverlay(badDisk{}, 10*pageSize)
	if err := o.read(make([]byte, 10), 2*pageSize); !errors.Is(err, errBad) {
		t.Errorf("read: %v", err)
	}
	im := &image{dev: badDisk{}, size: 10 * pageSize, pages: []*page{{off: 2 * pageSize, data: fill(pageSize, 'x'), dirty: 1}}}
	b := make([]byte, 4*pageSize)
	if n, err := im.ReadAt(b, pageSize); n != len(b) || err != nil || b[pageSize] != 'x' || b[2*pageSize] != 0 {
		t.Errorf("%d, %v", n, err)
	}
	im.pages[0].off = 3 * pageSize
	if n, err := im.ReadAt(b, pageSize); n != pageSize || !errors.Is(err, errBad) {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := im.ReadAt(b, -1); err == nil {
		t.Error("negative offset")
	}
	o = newOverlay(bytes.NewReader(nil), 0)
	if err := o.write([]byte("beyond"), 100); err != nil {
		t.Fatal(err)
	}
	if im, err := o.finish(); err != nil || len(im.pages) != 1 {
		t.Errorf("%v", err)
	} else if _, err := im.ReadAt(b[:6], 100); err != nil && err != io.EOF || string(b[:6]) != "beyond" {
		t.Errorf("%q, %v", b[:6], err)
	}
}
