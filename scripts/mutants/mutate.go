package main

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// seed is a whole file that mutants are made of.
type seed struct {
	name string
	data []byte
	used []int // the 512-byte sectors that aren't all zeros, where damage is felt
}

func newSeed(name string, data []byte) seed {
	s := seed{name: name, data: data}
	for at := 0; at < len(data); at += 512 {
		for _, b := range data[at:min(at+512, len(data))] {
			if b != 0 {
				s.used = append(s.used, at)
				break
			}
		}
	}
	if len(s.used) == 0 {
		s.used = []int{0}
	}
	return s
}

// mutant is a seed with patches over it; the seed's bytes are shared.
type mutant struct {
	base    []byte
	patches []patch
	size    int
}

type patch struct {
	at   int
	data []byte
}

// mutate makes the mutant of a number: the same number, the same mutant.
func (s seed) mutate(number uint64) *mutant {
	r := rand.New(rand.NewPCG(number, 0x1a6a))
	m := &mutant{base: s.data, size: len(s.data)}
	for range 1 + r.IntN(4) {
		s.damage(m, r)
	}
	return m
}

// extremes are the lengths and offsets that arithmetic goes wrong at.
var extremes = []uint64{0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1}

func (s seed) damage(m *mutant, r *rand.Rand) {
	at := s.used[r.IntN(len(s.used))] + r.IntN(512)
	if at >= len(s.data) {
		at = r.IntN(max(len(s.data), 1))
	}
	width := 1 << r.IntN(4)
	switch r.IntN(9) {
	case 0, 1: // flip a bit
		if at < len(s.data) {
			m.put(at, []byte{s.data[at] ^ 1<<r.IntN(8)})
		}
	case 2: // zero a run
		m.put(at, make([]byte, 1+r.IntN(64)))
	case 3: // swap two sectors
		a, b := s.used[r.IntN(len(s.used))], s.used[r.IntN(len(s.used))]
		m.put(a, s.sector(b))
		m.put(b, s.sector(a))
	case 4: // splice: a run from elsewhere
		from := s.sector(s.used[r.IntN(len(s.used))])
		m.put(at, from[:min(len(from), 1+r.IntN(128))])
	case 5: // truncate
		if r.IntN(8) == 0 {
			m.size = r.IntN(len(s.data) + 1)
		}
	case 6, 7: // an extreme number
		m.put(at&^(width-1), number(extremes[r.IntN(len(extremes))], width, r.IntN(2) == 0))
	case 8: // a pointer to itself, in bytes or in blocks
		unit := []int{1, 512, 1024, 4096}[r.IntN(4)]
		m.put(at&^(width-1), number(uint64(at/unit), width, r.IntN(2) == 0))
	}
}

func number(v uint64, width int, big bool) []byte {
	b := make([]byte, 8)
	if big {
		binary.BigEndian.PutUint64(b, v)
		return b[8-width:]
	}
	binary.LittleEndian.PutUint64(b, v)
	return b[:width]
}

func (s seed) sector(at int) []byte { return s.data[at:min(at+512, len(s.data))] }

func (m *mutant) put(at int, data []byte) {
	if at < len(m.base) {
		m.patches = append(m.patches, patch{at, data[:min(len(data), len(m.base)-at)]})
	}
}

// Size is how much of the file is left.
func (m *mutant) Size() int64 { return int64(m.size) }

// ReadAt implements io.ReaderAt.
func (m *mutant) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(m.size) {
		return 0, io.EOF
	}
	n := copy(p, m.base[off:m.size])
	for _, x := range m.patches {
		from, to := max(int64(x.at), off), min(int64(x.at+len(x.data)), off+int64(n))
		if from < to {
			copy(p[from-off:to-off], x.data[from-int64(x.at):])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// bytes is the whole mutant, for readers of streams and for keeping it.
func (m *mutant) bytes() []byte {
	b := make([]byte, m.size)
	m.ReadAt(b, 0)
	return b
}
