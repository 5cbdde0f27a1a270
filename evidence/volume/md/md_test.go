package md

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
)

const (
	chunk   = 4096
	dataOff = 16 // sectors
)

// spec is a member to be crafted.
type spec struct {
	version     int // the minor one
	level       int32
	layout      uint32
	disks, role int
	chunks      int // of data
	events      uint64
	features    uint32
	size        int // used, in chunks; chunks if 0
}

// craft makes a member; each byte of a chunk tells role and chunk.
func craft(s spec) []byte {
	var b []byte
	off := map[int]int64{1: 0, 2: 4096}[s.version]
	start := dataOff
	if s.version == 0 {
		start = 0
	}
	b = make([]byte, start*sector)
	for i := range s.chunks {
		b = append(b, bytes.Repeat([]byte{byte(s.role)<<5 | byte(i)}, chunk)...)
	}
	if s.version == 0 {
		off = int64(len(b))
		b = append(b, make([]byte, 8192)...)
	}
	if s.size == 0 {
		s.size = s.chunks
	}
	le := binary.LittleEndian
	h := b[off:]
	le.PutUint32(h, magic)
	le.PutUint32(h[4:], 1)
	le.PutUint32(h[8:], s.features)
	copy(h[16:], "the set's 16 id.")
	copy(h[32:], "node:data")
	le.PutUint32(h[72:], uint32(s.level))
	le.PutUint32(h[76:], s.layout)
	le.PutUint64(h[80:], uint64(s.size*chunk/sector))
	le.PutUint32(h[88:], chunk/sector)
	le.PutUint32(h[92:], uint32(s.disks))
	le.PutUint64(h[128:], uint64(start))
	le.PutUint64(h[136:], uint64(s.chunks*chunk/sector))
	le.PutUint64(h[144:], uint64(off/sector))
	le.PutUint32(h[160:], uint32(s.role))
	le.PutUint64(h[200:], s.events)
	le.PutUint32(h[220:], uint32(s.disks))
	for i := range s.disks {
		le.PutUint16(h[superSize+2*i:], uint16(i))
	}
	var sum uint64
	for at := 0; at < superSize+2*s.disks; at += 4 {
		w := uint64(le.Uint32(h[at:]))
		if superSize+2*s.disks-at == 2 {
			w = uint64(le.Uint16(h[at:]))
		}
		sum += w
	}
	le.PutUint32(h[offSum:], uint32(sum)+uint32(sum>>32))
	return b
}

func open(members ...[]byte) ([]*Array, string) {
	var warned []string
	var devices []Device
	for _, b := range members {
		devices = append(devices, bytes.NewReader(b))
	}
	return Open(devices, func(err error) { warned = append(warned, err.Error()) }), strings.Join(warned, "\n")
}

// chunks writes an array as roles and chunks.
func chunks(a *Array) string {
	var out []string
	for off := int64(0); off < a.Size(); off += chunk {
		p := make([]byte, chunk)
		if _, err := a.ReadAt(p, off); err != nil {
			out = append(out, "!")
			continue
		}
		out = append(out, fmt.Sprintf("%d.%d", p[0]>>5, p[0]&0x1f))
	}
	return strings.Join(out, " ")
}

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		name    string
		members []spec
		want    string
		warned  string
	}{
		{"linear", []spec{{2, -1, 0, 2, 1, 2, 5, 0, 0}, {2, -1, 0, 2, 0, 3, 5, 0, 0}}, "0.0 0.1 0.2 1.0 1.1", ""},
		{"linear, one missing", []spec{{2, -1, 0, 2, 1, 2, 5, 0, 0}}, "", "member 0 of 2"},
		{"raid0", []spec{{2, 0, 0, 2, 0, 2, 5, 0, 0}, {2, 0, 0, 2, 1, 2, 5, 0, 0}}, "0.0 1.0 0.1 1.1", ""},
		{"raid0 of two sizes", []spec{{2, 0, 2, 3, 0, 1, 5, 0, 0}, {2, 0, 2, 3, 1, 3, 5, 0, 0}, {2, 0, 2, 3, 2, 3, 5, 0, 0}}, "0.0 1.0 2.0 1.1 2.1 1.2 2.2", ""},
		{"raid0 of two sizes, original", []spec{{2, 0, 1, 3, 0, 1, 5, 0, 0}, {2, 0, 1, 3, 1, 3, 5, 0, 0}, {2, 0, 1, 3, 2, 3, 5, 0, 0}}, "0.0 1.0 2.0 2.1 1.1 2.2 1.2", ""},
		{"raid0 of two sizes, not said", []spec{{2, 0, 0, 2, 0, 1, 5, 0, 0}, {2, 0, 0, 2, 1, 2, 5, 0, 0}}, "0.0 1.0 1.1", "several sizes"},
		{"raid1", []spec{{1, 1, 0, 2, 0, 2, 5, 0, 0}, {1, 1, 0, 2, 1, 2, 5, 0, 0}}, "0.0 0.1", ""},
		{"raid1 1.0", []spec{{0, 1, 0, 2, 0, 2, 5, 0, 0}, {0, 1, 0, 2, 1, 2, 5, 0, 0}}, "0.0 0.1", ""},
		{"raid1, one missing", []spec{{2, 1, 0, 2, 1, 2, 5, 0, 0}}, "1.0 1.1", ""},
		{"raid1, one stale", []spec{{2, 1, 0, 2, 0, 2, 3, 0, 0}, {2, 1, 0, 2, 1, 2, 5, 0, 0}}, "1.0 1.1", ""},
		{"raid1, one recovering", []spec{{2, 1, 0, 2, 0, 2, 5, featureRecover, 0}, {2, 1, 0, 2, 1, 2, 5, 0, 0}}, "1.0 1.1", ""},
		{"raid1, recovering alone", []spec{{2, 1, 0, 2, 0, 2, 5, featureRecover, 0}}, "", "in sync"},
		{"raid10", []spec{{2, 10, 0x102, 3, 0, 4, 5, 0, 0}, {2, 10, 0x102, 3, 1, 4, 5, 0, 0}, {2, 10, 0x102, 3, 2, 4, 5, 0, 0}}, "0.0 2.0 1.1 0.2 2.2 1.3", ""},
		{"raid10, one missing", []spec{{2, 10, 0x102, 3, 1, 4, 5, 0, 0}, {2, 10, 0x102, 3, 2, 4, 5, 0, 0}}, "1.0 2.0 1.1 1.2 2.2 1.3", ""},
		{"raid10, two missing", []spec{{2, 10, 0x102, 3, 0, 4, 5, 0, 0}}, "0.0 0.1 ! 0.2 0.3 !", ""},
		{"raid10 far", []spec{{2, 10, 0x201, 2, 0, 4, 5, 0, 0}}, "", "layout 0x201"},
		{"raid5", []spec{{2, 5, 2, 3, 0, 4, 5, 0, 0}}, "", "level 5"},
		{"reshape", []spec{{2, 1, 0, 2, 0, 2, 5, featureReshape, 0}}, "", "reshaped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var members [][]byte
			for _, s := range c.members {
				members = append(members, craft(s))
			}
			arrays, warned := open(members...)
			got := ""
			if len(arrays) == 1 {
				got = chunks(arrays[0])
			}
			if got != c.want || !strings.Contains(warned, c.warned) || c.warned == "" && warned != "" {
				t.Errorf("got %q, want %q; warned %s", got, c.want, warned)
			}
		})
	}
}

func TestNames(t *testing.T) {
	arrays, _ := open(make([]byte, 9000), craft(spec{2, 1, 0, 2, 0, 2, 5, 0, 0}))
	if len(arrays) != 1 {
		t.Fatal(arrays)
	}
	a := arrays[0]
	if a.Name != "node:data" || a.UUID != "74686520:73657427:73203136:2069642e" || a.Level != "raid1" || fmt.Sprint(a.Members) != "[1]" || a.Size() != 2*chunk {
		t.Errorf("%+v", a)
	}
}

func TestDamage(t *testing.T) {
	b := craft(spec{2, 1, 0, 2, 0, 2, 5, 0, 0})
	b[4096+100] = 1
	if a, warned := open(b); len(a) != 1 || !strings.Contains(warned, "checksum") {
		t.Errorf("%v, warned %s", a, warned)
	}
	b[4096+144]++
	if a, warned := open(b); len(a) != 0 || !strings.Contains(warned, "stands in sector") {
		t.Errorf("%v, warned %s", a, warned)
	}
	b[4096+92], b[4096+144] = 0, 8
	if a, warned := open(b); len(a) != 0 || !strings.Contains(warned, "0 disks") {
		t.Errorf("%v, warned %s", a, warned)
	}
}

func FuzzOpen(f *testing.F) {
	for _, s := range []spec{{1, -1, 0, 1, 0, 1, 5, 0, 0}, {2, 0, 2, 1, 0, 1, 5, 0, 0}, {2, 1, 0, 2, 0, 1, 5, 0, 0}, {1, 10, 0x102, 2, 0, 1, 5, 0, 0}} {
		f.Add(craft(s), craft(s)[:9000])
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for _, b := range [][]byte{a, b} { // the checksum is a warning
			if len(b) > 4096+160 {
				binary.LittleEndian.PutUint64(b[4096+144:], 8)
			}
		}
		arrays := Open([]Device{bytes.NewReader(a), bytes.NewReader(b)}, func(err error) { ours(t, err) })
		for _, x := range arrays {
			if x.Size() < 0 {
				t.Fatalf("size %d", x.Size())
			}
			for _, off := range []int64{0, x.Size() / 2, x.Size() - 1} {
				_, err := x.ReadAt(make([]byte, 9000), max(off, 0))
				ours(t, err)
			}
		}
	})
}

func ours(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, evidence.ErrCorrupt) || errors.Is(err, evidence.ErrUnsupported) {
		return
	}
	imagetest.Fuzz(t, nil, err)
}
