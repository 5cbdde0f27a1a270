package checkpoint

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"

	"lagan/evidence"
)

// pageSize is that of all architectures that CRIU dumps but for some ARM
// and POWER kernels, whose archives tell it by the size of their pages' file.
const pageSize = 4096

// maxRuns bounds the runs of pages of a process, maxPages the pages: as many as
// the lower half of a 64-bit address space has.
const (
	maxRuns  = 4 << 20
	maxPages = 1 << 35
)

// pagemap reads which pages of a process the archive holds, and where.
func (a *archive) pagemap(p *Process) {
	name := fmt.Sprintf("pagemap-%d", p.PID)
	head := true
	var count int64
	for e, err := range a.image(name, magicPagemap) {
		if err != nil {
			a.problem(name, err)
			break
		}
		if head {
			p.pagesID, head = e.num(pagemapID), false
			continue
		}
		if len(p.pages) >= maxRuns {
			a.problem(name, fmt.Errorf("more than %d runs of pages", maxRuns))
			break
		}
		pages := int64(uint32(e.num(pmOldPages)))
		if e.has(pmPages) {
			pages = int64(min(e.num(pmPages), maxPages))
		}
		if pages > maxPages-count {
			a.problem(name, fmt.Errorf("more than %d pages: %w", int64(maxPages), evidence.ErrCorrupt))
			break
		}
		if e.has(pmFlags) && e.num(pmFlags)&pagePresent == 0 || e.num(pmInParent) != 0 {
			continue // in another checkpoint, or nowhere yet
		}
		p.pages = append(p.pages, pageRun{e.num(pmAddress), count, pages})
		count += pages
	}
	size := int64(pageSize)
	have := a.pages[p.pagesFile()]
	if count > 0 && have > 0 && have%count == 0 {
		if s := have / count; s == 16<<10 || s == 64<<10 {
			size = s
		}
	}
	if have > 0 && have < count*size {
		a.problem(name, fmt.Errorf("%d pages in %d bytes: some are missing, or compressed: %w", count, have, evidence.ErrUnsupported))
	}
	for i := range p.pages {
		p.pages[i].offset *= size
		p.pages[i].length *= size
	}
	p.Memory = count * size
}

func (p *Process) pagesFile() string { return fmt.Sprintf("checkpoint/pages-%d.img", p.pagesID) }

// maxArguments bounds the arguments and the environment of a process; Linux
// allows 6 MiB of both.
const maxArguments = 8 << 20

// memory reads arguments and environments out of the processes' pages.
func (a *archive) memory(open Source) error {
	if len(a.pages) == 0 {
		return nil
	}
	var wants []want
	texts := make(map[*Process][2][]byte)
	for _, p := range a.c.Processes {
		for i, s := range [2]span{p.args, p.env} {
			if s.end <= s.start || s.end-s.start > maxArguments {
				continue
			}
			buf := make([]byte, 0)
			wants = append(wants, p.want(s, func(at uint64, b []byte) error {
				if skip := at - s.start; uint64(len(buf)) < skip {
					buf = append(buf, make([]byte, skip-uint64(len(buf)))...) // a page that isn't there is zero
				}
				buf = append(buf, b...)
				both := texts[p]
				both[i] = buf
				texts[p] = both
				return nil
			})...)
		}
	}
	err := walk(context.Background(), open, wants)
	for p, both := range texts {
		p.Cmdline, p.Env = split(both[0]), split(both[1])
	}
	return err
}

func split(b []byte) []string {
	var out []string
	for s := range strings.SplitSeq(strings.Trim(string(b), "\x00"), "\x00") {
		if s != "" || len(out) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// want is a stretch of a file of pages, and who wants it, piece by piece.
type want struct {
	file           string
	offset, length int64
	address        uint64
	give           func(address uint64, b []byte) error
}

// want returns the stretches of the pages that a range of memory lies in.
func (p *Process) want(s span, give func(uint64, []byte) error) []want {
	var out []want
	for _, r := range p.pages {
		start, end := max(s.start, r.address), min(s.end, r.address+uint64(r.length))
		if start >= end || r.address+uint64(r.length) < r.address {
			continue
		}
		out = append(out, want{p.pagesFile(), r.offset + int64(start-r.address), int64(end - start), start, give})
	}
	return out
}

// walk reads an archive's pages once, from the beginning to the end, and gives
// what is wanted of them. Wants of one file that overlap come one after the other.
func walk(ctx context.Context, open Source, wants []want) error {
	if len(wants) == 0 {
		return nil
	}
	byFile := make(map[string][]want)
	for _, w := range wants {
		byFile[w.file] = append(byFile[w.file], w)
	}
	r, done, err := open()
	if err != nil {
		return err
	}
	defer done()
	t := tar.NewReader(r)
	for len(byFile) > 0 {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		ws := byFile[clean(h.Name)]
		delete(byFile, clean(h.Name))
		slices.SortStableFunc(ws, func(x, y want) int { return cmp.Compare(x.offset, y.offset) })
		if err := give(ctx, t, ws); err != nil {
			return fmt.Errorf("%s: %w", clean(h.Name), err)
		}
	}
	return nil
}

func give(ctx context.Context, r io.Reader, ws []want) error {
	at := int64(0)
	buf := make([]byte, 1<<20)
	for _, w := range ws {
		if w.offset < at {
			continue // it was given to another process that shares it
		}
		if _, err := io.CopyN(io.Discard, r, w.offset-at); err != nil {
			return fmt.Errorf("the pages end before offset %#x: %w: %w", w.offset, err, evidence.ErrCorrupt)
		}
		at = w.offset
		for left := w.length; left > 0; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := io.ReadFull(r, buf[:min(left, int64(len(buf)))])
			if n > 0 {
				if err := w.give(w.address+uint64(w.length-left), buf[:n]); err != nil {
					return err
				}
			}
			if err != nil {
				return fmt.Errorf("the pages end at offset %#x: %w: %w", at+int64(n), err, evidence.ErrCorrupt)
			}
			left -= int64(n)
			at += int64(n)
		}
	}
	return nil
}

// all is the whole of a process's memory.
var all = span{0, 1<<64 - 1}

// Memory calls fn for the memory of the given processes, in the order in which it lies in
// the archive, in pieces that fn must not keep.
func Memory(ctx context.Context, open Source, ps []*Process, fn func(p *Process, address uint64, b []byte) error) error {
	var wants []want
	for _, p := range ps {
		wants = append(wants, p.want(all, func(at uint64, b []byte) error { return fn(p, at, b) })...)
	}
	return walk(ctx, open, wants)
}

// Hit is a place in memory.
type Hit struct {
	PID     uint32
	Address uint64
	Text    []byte // the match, with what stands around it
}

// Search calls fn for each place in the processes' memory that matches, with
// around bytes before and after it. A match that lies across a gap in memory, or is longer than a
// megabyte, is not found.
func Search(ctx context.Context, open Source, ps []*Process, re *regexp.Regexp, around int, fn func(Hit) error) error {
	const keep = 64 << 10 // of the last piece, for matches across two
	type state struct {
		tail []byte
		end  uint64
	}
	states := make(map[*Process]*state)
	return Memory(ctx, open, ps, func(p *Process, at uint64, b []byte) error {
		s := states[p]
		if s == nil || s.end != at {
			s = &state{}
			states[p] = s
		}
		joined := append(s.tail, b...)
		base := at - uint64(len(s.tail))
		for _, m := range re.FindAllIndex(joined, -1) {
			if m[1] <= len(s.tail) && len(s.tail) > 0 {
				continue // told with the piece before
			}
			from, to := max(0, m[0]-around), min(len(joined), m[1]+around)
			if err := fn(Hit{p.PID, base + uint64(m[0]), bytes.Clone(joined[from:to])}); err != nil {
				return err
			}
		}
		s.tail = bytes.Clone(joined[max(0, len(joined)-keep):])
		s.end = at + uint64(len(b))
		return nil
	})
}

// sorted yields a map in the order of its keys.
func sorted(m map[string][]byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
