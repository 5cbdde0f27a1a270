package ext4

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"lagan/evidence"
	"lagan/evidence/jbd2"
)

// Bounds of what is kept of a journal's past: a journal of 1 GiB, the largest
// that mke2fs makes, holds 262144 copies of blocks, each of 16 inodes.
const (
	maxCopies   = 1 << 20
	maxVersions = 1 << 18
	maxNames    = 1 << 20
	maxAllRuns  = 1 << 22
	maxOldNames = 16 // of one inode
)

// now is the age of the filesystem as it is; copies of transactions have the
// distance to the newest one, which is 0 or less.
const now = int64(1)

// Recovered yields the deleted inodes in the order of their numbers, each in
// the last state that is still known. The journal keeps copies of inode
// tables, folders and block maps of every transaction until their place is
// used again, replayed or not: the newest copy from before the deletion has
// the file's size and blocks, which the deletion cleared.
func (fs *FS) Recovered() iter.Seq2[evidence.Recovered, error] {
	return func(yield func(evidence.Recovered, error) bool) {
		h := &history{fs: fs, copies: map[uint64][]copied{}, found: map[uint32][]*version{}, names: map[uint32][]oldName{}, owners: map[uint64]uint32{}}
		if err := h.read(); err != nil && !yield(evidence.Recovered{}, err) {
			return
		}
		h.directories()
		h.claim()
		h.give(yield)
	}
}

// history is what the journal and the free space keep of the past.
type history struct {
	fs                   *FS
	log                  *jbd2.Log
	copies               map[uint64][]copied // by block, the oldest first
	tables               []tableBlocks
	found                map[uint32][]*version
	names                map[uint32][]oldName
	owners               map[uint64]uint32 // the directory that a block belongs to or belonged to
	inUse                usedBlocks
	count                int // of versions
	named                int
	whole                map[int64]bool // ages whose transactions are all there up to the newest
	old                  map[uint32][]oldBitmap
	oldBytes             int
	runsLeft, blocksLeft uint64 // what hostile inodes may still claim
}

// copied is one older state of a block: in the log, or on the disk where the
// log replaces it.
type copied struct {
	jbd2.Copy
	age    int64
	onDisk bool
}

// tableBlocks are the blocks of one group's inode table.
type tableBlocks struct {
	start, n uint64
	first    uint32
}

// identity tells inodes of one number apart: a number is used again with
// another generation and creation time.
type identity struct{ generation, crtime, extra uint32 }

func identify(raw []byte) identity {
	id := identity{generation: le.Uint32(raw[0x64:])}
	if len(raw) >= 0x98 {
		id.crtime, id.extra = le.Uint32(raw[0x90:]), le.Uint32(raw[0x94:])
	}
	return id
}

// version is the last state of an inode before it was deleted.
type version struct {
	id     identity
	age    int64
	raw    []byte
	source string
	gone   int64     // age of the first copy without it; 0 unknown
	when   time.Time // when that was written
	dtime  time.Time // what the deleted inode says

	runs     []run
	missing  bool // part of the map of blocks could not be found
	overlaid bool // a later deleted file had blocks of it
}

type oldName struct {
	block  uint64 // that it stood in
	dir    uint32 // where the block says so
	name   string
	age    int64
	source string
	typ    evidence.Type
	slack  bool // it stood between entries: of a deleted one
}

// live says whether the bytes are an inode in use.
func live(raw []byte) bool { return le.Uint16(raw) != 0 && le.Uint16(raw[0x1a:]) != 0 }

// read goes through all copies in the log, the oldest first.
func (h *history) read() error {
	h.inUse = usedBlocks{fs: h.fs, groups: map[uint32][]byte{}}
	h.findTables()
	// Deleted files share blocks over time; more than a few times the volume is no history but an attack.
	h.runsLeft, h.blocksLeft = maxAllRuns, 8*h.fs.sb.blocks+1<<16
	if h.fs.sb.compat&compatHasJournal == 0 || h.fs.sb.journalIno == 0 && len(h.fs.devices) == 0 {
		return nil
	}
	log, err := h.fs.readLog()
	if err != nil {
		return fmt.Errorf("ext4: older copies in the journal: %w", err)
	}
	h.log = log
	all, err := h.order()
	for _, c := range all {
		h.copies[c.Block] = append(h.copies[c.Block], c)
	}
	for _, c := range all {
		h.take(c)
	}
	if err != nil {
		return fmt.Errorf("ext4: older copies in the journal: %w", err)
	}
	return nil
}

// order returns the copies sorted by age. The state on the disk of a block that
// the log replaces is as old as what came before the first transaction to replay.
func (h *history) order() ([]copied, error) {
	var all []copied
	var failed error
	newest, first := uint32(0), true
	for c, err := range h.log.Copies() {
		if err != nil {
			failed = err
			break
		}
		if c.Damaged || c.Block >= h.fs.sb.blocks {
			continue
		}
		if first || int32(c.Sequence-newest) > 0 {
			newest, first = c.Sequence, false
		}
		if all = append(all, copied{Copy: c}); len(all) >= maxCopies {
			failed = fmt.Errorf("more than %d copies, the rest is left out: %w", maxCopies, evidence.ErrUnsupported)
			break
		}
	}
	disk := map[uint64]bool{}
	for i := range all {
		c := &all[i]
		c.age = int64(int32(c.Sequence - newest))
		if h.fs.raw != nil && h.log.Replaces(c.Block) && !disk[c.Block] {
			disk[c.Block] = true
			before := int64(int32(h.log.Sequence-newest)) - 1
			all = append(all, copied{Copy: jbd2.Copy{Block: c.Block}, age: before, onDisk: true})
		}
	}
	h.whole = h.unbroken(newest)
	if before := int64(int32(h.log.Sequence - newest)); h.whole[before] {
		h.whole[before-1] = true // what the disk held when the first of them began
	}
	slices.SortStableFunc(all, func(a, b copied) int { return int(a.age - b.age) })
	return all, failed
}

// unbroken returns the ages from which on no transaction is missing.
func (h *history) unbroken(newest uint32) map[int64]bool {
	kept, err := h.log.Kept()
	out := map[int64]bool{}
	if err != nil {
		return out
	}
	for i := len(kept) - 1; i >= 0; i-- {
		if i+1 < len(kept) && !h.log.Follows(kept[i], kept[i+1]) {
			break
		}
		out[int64(int32(kept[i].Sequence-newest))] = true
	}
	return out
}

// bytesOf returns what a copy holds.
func (h *history) bytesOf(c copied) []byte {
	if c.onDisk {
		b := make([]byte, h.fs.sb.blockSize())
		if readFull(h.fs.raw, b, h.fs.offset(c.Block)) != nil {
			return nil
		}
		return b
	}
	b, err := h.log.Read(c.Copy)
	if err != nil {
		return nil
	}
	return b
}

func (c copied) source() string {
	if c.onDisk {
		return "disk, before the journal's replay"
	}
	return fmt.Sprintf("journal, transaction %d", c.Sequence)
}

// take looks at one copy.
func (h *history) take(c copied) {
	t, ok := h.tableOf(c.Block)
	b := h.bytesOf(c)
	if b == nil {
		return
	}
	if !ok {
		h.entries(b, c.Block, 0, c.age, c.source())
		return
	}
	size := h.fs.sb.inodeSize
	first := t.first + uint32((c.Block-t.start)*uint64(len(b)/size))
	last := t.first + h.fs.sb.inodesPerGroup
	for i := 0; (i+1)*size <= len(b) && first+uint32(i) < last; i++ {
		if ino := first + uint32(i); !h.fs.sb.hidden(ino) {
			h.inode(ino, b[i*size:(i+1)*size], c)
		}
	}
}

// inode notes a state of an inode: the last one before a deletion is kept.
func (h *history) inode(ino uint32, raw []byte, c copied) {
	id, alive := identify(raw), live(raw)
	all := h.found[ino]
	if n := len(all); n > 0 && all[n-1].gone == 0 {
		if last := all[n-1]; !alive || last.id != id {
			last.gone, last.when = c.age, c.Commit
			if last.id == id && !alive && !h.fs.numbers(le.Uint32(raw[0x14:])) {
				last.dtime = time.Unix(int64(le.Uint32(raw[0x14:])), 0).UTC()
			}
		} else {
			last.age, last.raw, last.source = c.age, bytes.Clone(raw), c.source()
			return
		}
	}
	if !alive || h.count >= maxVersions {
		return
	}
	cur, err := h.fs.rawInode(ino)
	if err != nil || live(cur) && identify(cur) == id {
		return // still there
	}
	h.count++
	h.found[ino] = append(all, &version{id: id, age: c.age, raw: bytes.Clone(raw), source: c.source()})
}

// findTables lists where the inode tables are.
func (h *history) findTables() {
	sb := h.fs.sb
	n := (uint64(sb.inodesPerGroup)*uint64(sb.inodeSize) + uint64(sb.blockSize()) - 1) >> sb.blockBits
	for g := range sb.groups {
		if d, err := h.fs.group(g); err == nil {
			h.tables = append(h.tables, tableBlocks{d.inodeTable, n, g*sb.inodesPerGroup + 1})
		}
	}
	slices.SortFunc(h.tables, func(a, b tableBlocks) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
}

func (h *history) tableOf(block uint64) (tableBlocks, bool) {
	i, _ := slices.BinarySearchFunc(h.tables, block, func(t tableBlocks, block uint64) int {
		if t.start <= block {
			return -1
		}
		return 1
	})
	if i == 0 || block-h.tables[i-1].start >= h.tables[i-1].n {
		return tableBlocks{}, false
	}
	return h.tables[i-1], true
}

// give yields all deleted inodes, those without an older copy too.
func (h *history) give(yield func(evidence.Recovered, error) bool) {
	for d, err := range h.fs.Deleted() {
		if err != nil {
			if !yield(evidence.Recovered{}, err) {
				return
			}
			continue
		}
		ino := uint32(d.Ino)
		versions := h.found[ino]
		delete(h.found, ino)
		own := false
		raw, _ := h.fs.rawInode(ino)
		for _, v := range versions {
			same := raw != nil && v.id == identify(raw)
			own = own || same
			if !yield(h.recovered(ino, v, d, same), nil) {
				return
			}
		}
		if !own && !yield(h.unchanged(ino, raw, d), nil) {
			return
		}
	}
	for _, ino := range slices.Sorted(maps.Keys(h.found)) {
		for _, v := range h.found[ino] {
			if !yield(h.recovered(ino, v, evidence.DeletedInode{Ino: evidence.Ino(ino)}, false), nil) {
				return
			}
		}
	}
}

// recovered puts together what is known of an inode's older state. d is the
// deleted inode of that number, same that it is this one.
func (h *history) recovered(ino uint32, v *version, d evidence.DeletedInode, same bool) evidence.Recovered {
	fs := h.quiet()
	var in inode
	fs.decodeInode(&in, ino, v.raw)
	r := evidence.Recovered{Source: v.source, DeletedInode: evidence.DeletedInode{Ino: evidence.Ino(ino), Info: fs.info(&in), Deleted: v.dtime}}
	if same {
		r.Deleted, r.Open = d.Deleted, d.Open
		if r.Open {
			r.Info = d.Info
		}
	}
	if r.Deleted.IsZero() {
		r.DeletedBy = v.when
	}
	before := now + 1
	if v.gone != 0 || !v.when.IsZero() {
		before = v.gone
	}
	r.Names = h.namesOf(ino, before, r.Info.Type, !same)
	h.content(&r, &in, v)
	return r
}

// unchanged is a deleted inode of which no older state is known. Some programs
// (debugfs, old kernels) leave size and blocks in it.
func (h *history) unchanged(ino uint32, raw []byte, d evidence.DeletedInode) evidence.Recovered {
	r := evidence.Recovered{DeletedInode: d, State: evidence.ContentTimes, Source: "inode table"}
	r.Names = h.namesOf(ino, now+1, d.Info.Type, false)
	if raw == nil {
		return r
	}
	fs := h.quiet()
	var in inode
	fs.decodeInode(&in, ino, raw)
	switch {
	case d.Open:
		h.content(&r, &in, &version{age: now, raw: raw})
	case in.typ() == evidence.TypeFile && in.size > 0 && (in.sectors > 0 || in.flags&flagInlineData != 0),
		in.typ() == evidence.TypeSymlink && in.size > 0:
		v := &version{age: now, raw: raw}
		h.resolve(&in, v)
		if len(v.runs) > 0 || in.sectors == 0 {
			h.content(&r, &in, v)
		}
	}
	return r
}

// content finds what is left of the content.
func (h *history) content(r *evidence.Recovered, in *inode, v *version) {
	r.State = evidence.ContentTimes
	switch {
	case in.typ() == evidence.TypeSymlink && in.size < iBlockSize && in.flags&flagExtents == 0 && in.sectors == 0:
		r.Target, r.State = string(in.block[:max(in.size, 0)]), evidence.ContentWhole
		return
	case in.typ() != evidence.TypeFile && in.typ() != evidence.TypeSymlink, in.size < 0, in.flags&flagEncrypt != 0:
		return
	case r.Open && in.typ() == evidence.TypeFile:
		if c, err := h.fs.Open(r.Ino); err == nil {
			r.Content, r.State, r.Source, r.Note = c, evidence.ContentWhole, "inode table", ""
			return
		}
	case in.flags&flagInlineData != 0:
		r.Content, r.State = h.quiet().content(in), evidence.ContentWhole
		return
	}
	h.judge(r, in, v)
	if in.typ() == evidence.TypeSymlink {
		if b := make([]byte, min(in.size, 4096)); r.State == evidence.ContentWhole && readFull(r.Content, b, 0) == nil {
			r.Target = string(b)
		}
		r.Content = nil
	}
	if r.State == evidence.ContentTimes {
		r.Content = nil
	}
}

// quiet is the filesystem without its warnings: older copies are expected to
// contradict what is there now.
func (h *history) quiet() *FS {
	return &FS{dev: h.fs.dev, size: h.fs.size, sb: h.fs.sb, warned: map[object]struct{}{}}
}
