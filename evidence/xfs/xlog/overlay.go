package xlog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"lagan/evidence"
)

const (
	pageSize = 4096
	// changeUnit is how finely Result.Changed tells: the size of the smallest inode.
	changeUnit = 256
	// maxPages bounds what replay keeps in memory. A log is at most 2 GiB, a
	// crafted one could touch a page with every 40 of its bytes; what real ones
	// touch is a fraction of their own size.
	maxPages = 512 << 20 / pageSize
)

// errTooMuch says that replay reached maxPages.
var errTooMuch = fmt.Errorf("log replay needs more than %d MiB: %w", maxPages*pageSize>>20, evidence.ErrUnsupported)

type page struct {
	off   int64
	data  []byte
	dirty uint16 // the units of changeUnit bytes that were written
}

// overlay is a disk with changed pages over it.
type overlay struct {
	dev   io.ReaderAt
	size  int64 // of dev
	pages map[int64]*page
}

func newOverlay(dev io.ReaderAt, size int64) *overlay {
	return &overlay{dev: dev, size: size, pages: make(map[int64]*page)}
}

// disk reads the bytes below. What lies beyond the end of a cut-off image is zero.
func (o *overlay) disk(p []byte, off int64) error {
	n, err := o.dev.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		clear(p[n:])
		return nil
	}
	return fmt.Errorf("reading %#x bytes at %#x: %w", len(p), off, err)
}

// load returns the page at off, reading it from the disk on first use unless
// all of it is about to be overwritten. Nil says that there are too many.
func (o *overlay) load(off int64, blank bool) (*page, error) {
	pg, ok := o.pages[off]
	if ok || len(o.pages) >= maxPages {
		return pg, nil
	}
	pg = &page{off: off, data: make([]byte, pageSize)}
	if !blank {
		if err := o.disk(pg.data, off); err != nil {
			return nil, err
		}
	}
	o.pages[off] = pg
	return pg, nil
}

// read fills p from what is at off by now. What replay reads it writes back, as a
// rule, so the pages are kept.
func (o *overlay) read(p []byte, off int64) error {
	for len(p) > 0 {
		in := off % pageSize
		n := min(int(pageSize-in), len(p))
		pg, err := o.load(off-in, false)
		if err != nil {
			return err
		}
		if pg != nil {
			copy(p[:n], pg.data[in:])
		} else if err := o.disk(p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// write puts p at off.
func (o *overlay) write(p []byte, off int64) error {
	for len(p) > 0 {
		in := int(off % pageSize)
		n := min(pageSize-in, len(p))
		pg, err := o.load(off-int64(in), n == pageSize)
		if err != nil {
			return err
		}
		if pg == nil {
			return errTooMuch
		}
		copy(pg.data[in:], p[:n])
		for u := in / changeUnit; u <= (in+n-1)/changeUnit; u++ {
			pg.dirty |= 1 << u
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// image is the finished overlay: the pages that differ from the disk, in order.
type image struct {
	dev   io.ReaderAt
	size  int64
	pages []*page
}

// runPages is how many adjacent pages are compared with the disk at once.
const runPages = 64

// finish drops the pages, and the marks, of what turned out as it was on the disk.
func (o *overlay) finish() (*image, error) {
	var dirty []*page
	for _, pg := range o.pages {
		if pg.dirty != 0 {
			dirty = append(dirty, pg)
		}
	}
	slices.SortFunc(dirty, func(a, b *page) int { return cmp.Compare(a.off, b.off) })
	im := &image{dev: o.dev, size: o.size}
	below := make([]byte, runPages*pageSize)
	for len(dirty) > 0 {
		n := 1
		for n < len(dirty) && n < runPages && dirty[n].off == dirty[n-1].off+pageSize {
			n++
		}
		if err := o.disk(below[:n*pageSize], dirty[0].off); err != nil {
			return nil, err
		}
		for i, pg := range dirty[:n] {
			if pg.compare(below[i*pageSize:]); pg.dirty != 0 {
				im.pages = append(im.pages, pg)
			}
		}
		dirty = dirty[n:]
	}
	return im, nil
}

// compare takes the marks off the units that are the same on the disk.
func (pg *page) compare(below []byte) {
	for u := 0; u < pageSize; u += changeUnit {
		if bytes.Equal(below[u:u+changeUnit], pg.data[u:u+changeUnit]) {
			pg.dirty &^= 1 << (u / changeUnit)
		}
	}
}

// from returns the index of the first page that ends after off.
func (im *image) from(off int64) int {
	return sort.Search(len(im.pages), func(i int) bool { return im.pages[i].off+pageSize > off })
}

// ReadAt reads the disk as it is after replay: one read below, and the changed
// pages copied over it. A page is served even where the disk can't be read or has ended.
func (im *image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	i := im.from(off)
	if i == len(im.pages) || im.pages[i].off >= off+int64(len(p)) {
		return im.dev.ReadAt(p, off)
	}
	if pg := im.pages[i]; pg.off <= off && off+int64(len(p)) <= pg.off+pageSize {
		return copy(p, pg.data[off-pg.off:]), nil
	}
	n, err := im.dev.ReadAt(p, off)
	for ; i < len(im.pages) && im.pages[i].off < off+int64(len(p)); i++ {
		pg := im.pages[i]
		at, src := pg.off-off, pg.data
		if at < 0 {
			src, at = src[-at:], 0
		}
		end := at + int64(copy(p[at:], src))
		if at <= int64(n) && end > int64(n) {
			n = int(end)
			if n < len(p) {
				// What the failed read left undone behind the page.
				var more int
				more, err = im.dev.ReadAt(p[n:], off+int64(n))
				n += more
			}
		}
	}
	if n == len(p) {
		err = nil
	}
	return n, err
}

// changed says whether any of n bytes at off differ from the disk, to changeUnit.
func (im *image) changed(off, n int64) bool {
	if n <= 0 {
		return false
	}
	for i := im.from(off); i < len(im.pages) && im.pages[i].off < off+n; i++ {
		pg := im.pages[i]
		lo, hi := max(off-pg.off, 0)/changeUnit, (min(off+n-pg.off, pageSize)-1)/changeUnit
		if pg.dirty>>lo&(1<<(hi-lo+1)-1) != 0 {
			return true
		}
	}
	return false
}
