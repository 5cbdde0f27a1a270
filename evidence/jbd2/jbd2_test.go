package jbd2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
)

func TestReplay(t *testing.T) {
	escaped := fill('e')
	binary.BigEndian.PutUint32(escaped, magic)
	const start, seq = 3, 40
	for _, c := range []struct {
		name             string
		compat, incompat uint32
		length           uint32
		start, seq       uint32
		build            func(l *builder)
		want             string // of a device 01234567
		transactions     int
		note             string
	}{
		{name: "clean", length: 64, start: 0, seq: seq, build: func(l *builder) {}, want: "01234567"},
		{name: "dirty, nothing written yet", length: 64, start: start, seq: seq, build: func(l *builder) {}, want: "01234567"},
		{name: "two transactions", length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.commit(seq, 100)
			l.write(seq+1, write{3, fill('c')})
			l.commit(seq+1, 101)
		}, want: "01ac4567", transactions: 2},
		{name: "64-bit", incompat: Incompat64Bit, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{1<<32 | 3, fill('b')})
			l.commit(seq, 100)
		}, want: "01a34567", transactions: 1},
		{name: "no commit", length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			l.write(seq+1, write{3, fill('b')})
		}, want: "01a34567", transactions: 1},
		{name: "several descriptors", length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.write(seq, write{4, fill('b')})
			l.revoke(seq, 7)
			l.commit(seq, 100)
		}, want: "01a3b567", transactions: 1},
		{name: "revoked", incompat: IncompatRevoke, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.commit(seq, 100)
			l.revoke(seq+1, 2)
			l.commit(seq+1, 101)
		}, want: "012b4567", transactions: 2},
		{name: "revoked, 64-bit", incompat: IncompatRevoke | Incompat64Bit, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.commit(seq, 100)
			l.revoke(seq+1, 2)
			l.commit(seq+1, 101)
		}, want: "012b4567", transactions: 2},
		{name: "revoked in the same transaction", incompat: IncompatRevoke, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.revoke(seq, 2)
			l.commit(seq, 100)
		}, want: "01234567", transactions: 1},
		{name: "written again after the revoke", incompat: IncompatRevoke, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			l.revoke(seq+1, 2)
			l.commit(seq+1, 101)
			l.write(seq+2, write{2, fill('c')})
			l.commit(seq+2, 102)
		}, want: "01c34567", transactions: 3},
		{name: "revoke without commit", incompat: IncompatRevoke, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			l.revoke(seq+1, 2)
		}, want: "01a34567", transactions: 1},
		{name: "escaped", length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, escaped})
			l.commit(seq, 100)
		}, want: "01ae4567", transactions: 1},
		{name: "around the end", incompat: IncompatCsumV3 | IncompatRevoke, length: 8, start: 6, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')}, write{4, fill('c')})
			l.commit(seq, 100)
		}, want: "01abc567", transactions: 1},
		{name: "sequence wraps", length: 64, start: start, seq: 0xffffffff, incompat: IncompatRevoke, build: func(l *builder) {
			l.write(0xffffffff, write{2, fill('a')}, write{3, fill('b')})
			l.commit(0xffffffff, 100)
			l.revoke(0, 2)
			l.write(0, write{4, fill('d')})
			l.commit(0, 101)
			l.write(1, write{3, fill('c')})
			l.commit(1, 102)
		}, want: "012cd567", transactions: 3},
		{name: "stale transaction behind the end", length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			l.write(seq-9, write{3, fill('x')})
			l.commit(seq-9, 50)
		}, want: "01a34567", transactions: 1},
		{name: "checksum v2", incompat: IncompatCsumV2, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.commit(seq, 100)
		}, want: "01ab4567", transactions: 1},
		{name: "checksum v2, 64-bit", incompat: IncompatCsumV2 | Incompat64Bit, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.commit(seq, 100)
		}, want: "01ab4567", transactions: 1},
		{name: "bad copy, checksum v2", incompat: IncompatCsumV2, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.b[(start+1)*testBlock+9]++
			l.commit(seq, 100)
		}, want: "012b4567", transactions: 1, note: "copies with a bad checksum, which are not replayed: 1"},
		{name: "bad copy, an older one stands", incompat: IncompatCsumV3 | Incompat64Bit, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.commit(seq, 100)
			l.write(seq+1, write{2, fill('c')})
			l.b[int(l.next-1)*testBlock+9]++
			l.commit(seq+1, 101)
		}, want: "01ab4567", transactions: 2, note: "copies with a bad checksum, which are not replayed: 1"},
		{name: "bad copy, revoked", incompat: IncompatCsumV3 | IncompatRevoke, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.b[(start+1)*testBlock+9]++
			l.commit(seq, 100)
			l.revoke(seq+1, 2)
			l.commit(seq+1, 101)
		}, want: "012b4567", transactions: 2},
		{name: "bad descriptor", incompat: IncompatCsumV3, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			at := int(l.next) * testBlock
			l.write(seq+1, write{3, fill('b')})
			l.b[at+500]++
			l.commit(seq+1, 101)
		}, want: "01a34567", transactions: 1, note: "bad checksum of a descriptor or revoke block: transaction 41"},
		{name: "bad descriptor of an older use", incompat: IncompatCsumV3, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			at := int(l.next) * testBlock
			l.write(seq+1, write{3, fill('b')})
			l.b[at+500]++
			l.commit(seq+1, 99)
		}, want: "01a34567", transactions: 1},
		{name: "bad commit", incompat: IncompatCsumV3, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			l.write(seq+1, write{3, fill('b')})
			l.commit(seq+1, 101)
			l.b[int(l.next-1)*testBlock+20]++
			l.write(seq+2, write{4, fill('c')})
			l.commit(seq+2, 102)
		}, want: "01a34567", transactions: 1, note: "bad checksum of a commit block: transaction 41"},
		{name: "bad commit, async", incompat: IncompatCsumV3 | IncompatAsyncCommit, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			l.write(seq+1, write{3, fill('b')})
			l.commit(seq+1, 101)
			l.b[int(l.next-1)*testBlock+20]++
		}, want: "01a34567", transactions: 1, note: "transaction 41"},
		{name: "commit with a dirty rest", incompat: IncompatCsumV3, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			l.b[int(l.next-1)*testBlock+700] = 9
		}, want: "01a34567", transactions: 1},
		{name: "checksum v1", compat: CompatChecksum, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.write(seq, write{4, fill('c')})
			l.commit(seq, 100)
			l.write(seq+1, write{5, fill('d')})
			l.commit(seq+1, 101)
		}, want: "01abcd67", transactions: 2},
		{name: "bad copy, checksum v1, async", compat: CompatChecksum, incompat: IncompatAsyncCommit, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')}, write{3, fill('b')})
			l.commit(seq, 100)
			l.write(seq+1, write{5, fill('d')})
			l.b[int(l.next-1)*testBlock+20]++
			l.commit(seq+1, 101)
		}, want: "01ab4567", transactions: 1, note: "transaction 41"},
		{name: "checksum v1 left out", compat: CompatChecksum, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			clear(l.b[int(l.next-1)*testBlock+12:][:8])
		}, want: "01a34567", transactions: 1},
		{name: "revoke block too long", incompat: IncompatRevoke, length: 64, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			l.commit(seq, 100)
			l.revoke(seq+1, 2)
			binary.BigEndian.PutUint32(l.b[int(l.next-1)*testBlock+12:], 5000)
			l.commit(seq+1, 101)
		}, want: "01a34567", transactions: 1, note: "revoke block of 5000 bytes"},
		{name: "descriptor that runs around the log", length: 8, start: start, seq: seq, build: func(l *builder) {
			l.write(seq, write{2, fill('a')})
			// The last tag says that more follow, and all the rest of the block is zero: 100 tags.
			l.b[start*testBlock+headerSize+7] &^= flagLast
		}, want: "01234567"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newBuilder(c.length, c.start, c.seq, c.compat, c.incompat)
			c.build(l)
			log, dev, warnings := l.read(t)
			if got := letters(dev); got != c.want {
				t.Errorf("replayed %s, want %s", got, c.want)
			}
			if len(log.Transactions) != c.transactions {
				t.Errorf("%d transactions, want %d", len(log.Transactions), c.transactions)
			}
			if c.note == "" && (log.Note != "" || len(warnings) > 0) || !strings.Contains(log.Note, c.note) {
				t.Errorf("note %q, warnings %v, want %q", log.Note, warnings, c.note)
			}
			if c.note != "" && len(warnings) == 0 {
				t.Error("no warning")
			}
			if i := strings.IndexByte(c.want, 'e'); i >= 0 && binary.BigEndian.Uint32(dev[i*testBlock:]) != magic {
				t.Error("the magic number was not restored")
			}
		})
	}
}

func TestTransactions(t *testing.T) {
	l := newBuilder(64, 1, 7, 0, IncompatRevoke)
	l.write(7, write{2, fill('a')}, write{3, fill('b')})
	l.commit(7, 1700000000)
	l.revoke(8, 3, 9)
	l.commit(8, 1700000005)
	log, _, _ := l.read(t)
	first, last := log.Span()
	if first.Unix() != 1700000000 || last.Unix() != 1700000005 || last.Nanosecond() != 7 {
		t.Errorf("span %v to %v", first, last)
	}
	want := []Transaction{{Sequence: 7, Commit: first, Blocks: 2}, {Sequence: 8, Commit: last, Revokes: 2}}
	if !slices.Equal(log.Transactions, want) || log.Replaced != 1 || log.Revoked != 1 {
		t.Errorf("%+v, %d replaced, %d revoked", log.Transactions, log.Replaced, log.Revoked)
	}
	if !log.Replaces(2) || log.Replaces(3) || log.Replaces(1) {
		t.Error("Replaces is wrong")
	}
}

// TestOverlayReads compares reads of every offset and length class with the replayed whole.
func TestOverlayReads(t *testing.T) {
	l := newBuilder(64, 60, 7, 0, 0)
	escaped := fill('e')
	binary.BigEndian.PutUint32(escaped, magic)
	l.write(7, write{1, escaped}, write{2, fill('b')}, write{3, escaped}, write{6, fill('d')}, write{7, fill('x')}, write{1 << 20, fill('y')})
	l.commit(7, 1)
	log, whole, _ := l.read(t)
	dev := log.Overlay(bytes.NewReader(device(8)))
	for off := 0; off <= len(whole); off += 511 {
		for _, n := range []int{0, 1, 3, 511, 1024, 1025, 2048, 4097, len(whole) - off} {
			if n < 0 {
				continue
			}
			p := make([]byte, n)
			got, err := dev.ReadAt(p, int64(off))
			want := whole[off:min(len(whole), off+n)]
			if !bytes.Equal(p[:got], want) {
				t.Fatalf("read of %d at %d differs", n, off)
			}
			if (err == io.EOF) != (len(want) < n) || err != nil && err != io.EOF {
				t.Fatalf("read of %d at %d: %v", n, off, err)
			}
		}
	}
}

func TestCopies(t *testing.T) {
	l := newBuilder(64, 1, 7, 0, IncompatCsumV3|IncompatRevoke)
	escaped := fill('e')
	binary.BigEndian.PutUint32(escaped, magic)
	l.write(7, write{2, fill('a')}, write{3, escaped})
	l.commit(7, 100)
	l.write(8, write{2, fill('c')})
	l.commit(8, 101)
	l.write(2, write{5, fill('o')})
	binary.BigEndian.PutUint32(l.b[28:], 0) // nothing of it is to be replayed
	log, err := Read(bytes.NewReader(l.b), int64(len(l.b)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for c, err := range log.Copies() {
		if err != nil {
			t.Fatal(err)
		}
		b, err := log.Read(c)
		if err != nil {
			t.Fatal(err)
		}
		if c.Escaped && beUint32(b) != magic || c.Damaged {
			t.Errorf("%+v is wrong", c)
		}
		at := ""
		if !c.Commit.IsZero() {
			at = c.Commit.Format("@4")
		}
		got = append(got, string(rune('0'+c.Block))+string(b[99])+at)
	}
	if want := "2a@1 3e@1 2c@1 5o"; strings.Join(got, " ") != want {
		t.Errorf("copies %q, want %q", got, want)
	}
}

func TestSuperblock(t *testing.T) {
	for _, c := range []struct {
		name string
		off  int
		val  uint32
		want error
	}{
		{"magic", 0, 1, evidence.ErrCorrupt},
		{"type", 4, 9, evidence.ErrCorrupt},
		{"block size 0", 12, 0, evidence.ErrCorrupt},
		{"block size 1000", 12, 1000, evidence.ErrCorrupt},
		{"block size 2^31", 12, 1 << 31, evidence.ErrCorrupt},
		{"length", 16, 65, evidence.ErrCorrupt},
		{"first 0", 20, 0, evidence.ErrCorrupt},
		{"first at the end", 20, 64, evidence.ErrCorrupt},
		{"start at the end", 28, 64, evidence.ErrCorrupt},
		{"unknown feature", 40, 0x40, evidence.ErrUnsupported},
		{"two checksums", 40, 0x18, evidence.ErrCorrupt},
	} {
		l := newBuilder(64, 1, 7, 0, 0)
		binary.BigEndian.PutUint32(l.b[c.off:], c.val)
		_, err := Read(bytes.NewReader(l.b), int64(len(l.b)), evidence.Options{})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	l := newBuilder(64, 1, 7, 0, 0)
	if _, err := Read(bytes.NewReader(l.b[:500]), 500, evidence.Options{}); !errors.Is(err, evidence.ErrCorrupt) {
		t.Errorf("cut off: %v", err)
	}
	binary.BigEndian.PutUint32(l.b[4:], superblockV1)
	binary.BigEndian.PutUint32(l.b[40:], 0xffff)
	if log, err := Read(bytes.NewReader(l.b), int64(len(l.b)), evidence.Options{}); err != nil || log.Version != 1 || log.Incompat != 0 {
		t.Errorf("version 1: %+v, %v", log, err)
	}
}

func TestExternal(t *testing.T) {
	l := newBuilder(64, 5, 7, 0, 0)
	l.write(7, write{2, fill('a')})
	l.commit(7, 100)
	dev := make([]byte, len(l.b))
	copy(dev, l.b)
	copy(dev[2*testBlock:], l.b[:testBlock])
	clear(dev[:2*testBlock])
	binary.LittleEndian.PutUint16(dev[extMagicOffset:], extMagic)
	binary.LittleEndian.PutUint32(dev[extIncompatOffset:], extJournalDev)
	binary.BigEndian.PutUint32(dev[2*testBlock+20:], 3) // s_first
	log, err := Read(bytes.NewReader(dev), int64(len(dev)), evidence.Options{})
	if err != nil || !log.External || len(log.Transactions) != 1 || log.Replaced != 1 {
		t.Errorf("%+v, %v", log, err)
	}
}

// fast appends one block of the fast-commit area: tags, then a tail that fills it.
func (l *builder) fast(i int, tid uint32, head bool, tags ...FastTag) {
	b := l.b[(int(l.sb.end())+1+i)*testBlock:][:testBlock]
	off := 0
	put := func(tag uint16, n int, v []byte) {
		binary.LittleEndian.PutUint16(b[off:], tag)
		binary.LittleEndian.PutUint16(b[off+2:], uint16(n))
		copy(b[off+4:], v)
	}
	if head {
		put(FastHead, 8, binary.LittleEndian.AppendUint32(make([]byte, 4), tid))
		off += 12
	}
	for _, t := range tags {
		put(t.Tag, len(t.Value), t.Value)
		off += 4 + len(t.Value)
	}
	put(FastTail, testBlock-off-4, binary.LittleEndian.AppendUint32(nil, tid))
	binary.LittleEndian.PutUint32(b[off+8:], crc32c(0, b[:off+8]))
}

func TestFastCommits(t *testing.T) {
	del := FastTag{FastDelRange, make([]byte, 12)}
	link := FastTag{FastLink, append(make([]byte, 8), "name"...)}
	build := func(tids ...uint32) *builder {
		l := newBuilder(minBlocks+16, 1, 7, 0, IncompatFastCommit|IncompatCsumV3)
		l.write(7, write{2, fill('a')})
		l.commit(7, 100)
		for i, tid := range tids {
			l.fast(i, tid, i == 0, del, link)
		}
		return l
	}
	for _, c := range []struct {
		name    string
		l       *builder
		spoil   int // offset in the area
		changes int
		commits int
		note    string
	}{
		{"none", build(), -1, 0, 0, ""},
		{"two", build(8, 8), -1, 4, 2, ""},
		{"of an older transaction", build(7), -1, 0, 0, ""},
		{"second is stale", build(8, 7), -1, 2, 1, ""},
		{"second is damaged", build(8, 8), testBlock + 10, 2, 1, ""},
		{"first is damaged", build(8, 8), 20, 0, 0, "bad checksum"},
		{"impossible length", build(8), 14, 0, 0, "length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.spoil >= 0 {
				c.l.b[(int(c.l.sb.end())+1)*testBlock+c.spoil]++
			}
			log, _, _ := c.l.read(t)
			n := 0
			for tag, err := range log.FastChanges() {
				if err != nil {
					t.Fatal(err)
				}
				if tag.Tag != FastDelRange && tag.Tag != FastLink {
					t.Errorf("tag %d", tag.Tag)
				}
				n++
			}
			if n != c.changes || log.FastCommits != c.commits || !strings.Contains(log.Note, c.note) || c.note == "" && log.Note != "" {
				t.Errorf("%d changes in %d commits, note %q", n, log.FastCommits, log.Note)
			}
		})
	}
}

func TestOverlaid(t *testing.T) {
	l := newBuilder(64, 1, 7, 0, 0)
	l.write(7, write{2, fill('a')}, write{5, fill('b')})
	l.commit(7, 1)
	log, _, _ := l.read(t)
	o := log.Overlay(bytes.NewReader(device(8)))
	for _, c := range []struct {
		off, n int64
		want   bool
	}{{0, 2048, false}, {0, 2049, true}, {3071, 1, true}, {3072, 2048, false}, {3072, 2049, true}, {6144, 99999, false}, {2048, 0, false}, {-1, 9999, false}} {
		if got := o.Overlaid(c.off, c.n); got != c.want {
			t.Errorf("%d bytes at %d: %v", c.n, c.off, got)
		}
	}
}
