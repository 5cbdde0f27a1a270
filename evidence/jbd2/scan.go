package jbd2

import (
	"fmt"
	"slices"
	"time"

	"lagan/evidence"
)

// Bounds of what a scan keeps. The largest journal that mke2fs makes has
// 10,240,000 blocks, those of nodes have at most 262,144. Past these bounds the
// scan ends with a note, so that a hostile log costs 150 MB and not the machine.
const (
	maxCopies  = 2 << 20
	maxRevokes = 2 << 20
)

// copied is one block of the log that a descriptor names.
type copied struct {
	block uint64
	pos   uint32
	seq   uint32
	flags uint16
	bad   bool // its checksum is wrong
}

// revocation says that copies of block up to transaction seq must not be replayed.
type revocation struct {
	block uint64
	seq   uint32
}

// scan is one pass over the log, from its tail to where it ends. The kernel
// makes three (PASS_SCAN, PASS_REVOKE, PASS_REPLAY); here the first notes what
// the others would read again, and replay sorts it out.
type scan struct {
	log     *Log
	o       evidence.Options
	w       *window
	copies  []copied
	revokes []revocation

	next    uint32 // block to look at
	seq     uint32 // sequence of the transaction that is expected there
	visited uint32 // blocks passed since the tail

	open        Transaction // what was seen of the transaction that is being read
	keptCopies  int         // of copies, those that belong to complete transactions
	keptRevokes int
	suspect     bool   // a checksum before the commit was bad (need_check_commit_time)
	sum         uint32 // crc32_sum, of checksum v1
	lastTime    uint64 // h_commit_sec of the last complete transaction
	refused     bool   // the kernel gives up here (goto failed), fast commits included
}

// tidAfter is tid_gt: sequences wrap.
func tidAfter(a, b uint32) bool { return int32(a-b) > 0 }

// skip passes n blocks of the log, around its end if need be.
func (s *scan) skip(n uint32) {
	first, end := s.log.First, s.log.end()
	s.visited += n
	s.next = first + uint32((uint64(s.next-first)+uint64(n))%uint64(end-first))
}

// run walks the log, transaction by transaction (do_one_pass), and drops at the
// end what belongs to a transaction without a commit.
func (s *scan) run() {
	s.next, s.seq, s.sum = s.log.Start, s.log.Sequence, ^uint32(0)
	// A log holds each block once: past its length the walk would run in a circle.
	for s.visited < s.log.end()-s.log.First && s.step() {
	}
	s.copies, s.revokes = s.copies[:s.keptCopies], s.revokes[:s.keptRevokes]
}

// step takes one block that is not a copy, and says whether to go on.
func (s *scan) step() bool {
	at := s.next
	b, err := s.w.block(at)
	if err != nil {
		return s.give(err)
	}
	s.skip(1)
	if beUint32(b) != magic || beUint32(b[8:]) != s.seq {
		return false
	}
	switch beUint32(b[4:]) {
	case descriptorBlock:
		return s.descriptor(b, at)
	case revokeBlock:
		return s.revoke(b, at)
	case commitBlock:
		return s.commit(b, at)
	}
	return false
}

// give ends the scan at a point where the kernel would refuse the journal.
func (s *scan) give(err error) bool {
	s.refused = true
	s.log.remark(s.o, err)
	return false
}

// descriptor notes the copies that follow a descriptor block, and verifies them
// where they carry checksums.
func (s *scan) descriptor(b []byte, at uint32) bool {
	l := s.log
	if !l.tailOK(b) {
		// A stale block after a lazy initialisation looks like this, so it is judged at the commit.
		s.suspect = true
	}
	var tags []tag
	l.tags(b, func(t tag) { tags = append(tags, t) })
	if len(s.copies)+len(tags) > maxCopies {
		return s.give(fmt.Errorf("journal block %d: more than %d copies of blocks: %w", at, maxCopies, evidence.ErrUnsupported))
	}
	v1 := l.Compat&CompatChecksum != 0
	if v1 {
		s.sum = crc32be(s.sum, b)
	}
	for _, t := range tags {
		c := copied{block: t.block, pos: s.next, seq: s.seq, flags: t.flags}
		if v1 || l.checksummed() {
			data, err := s.w.block(s.next)
			if err != nil {
				return s.give(err)
			}
			if v1 {
				s.sum = crc32be(s.sum, data)
			}
			c.bad = !l.tagOK(t, s.seq, data)
		}
		s.copies = append(s.copies, c)
		s.skip(1)
	}
	s.open.Blocks += len(tags)
	return true
}

// revoke notes the blocks of a revoke block (scan_revoke_records).
func (s *scan) revoke(b []byte, at uint32) bool {
	l := s.log
	if !l.tailOK(b) {
		s.suspect = true
	}
	end := int(beUint32(b[headerSize:]))
	if end > len(b)-l.tail() {
		if s.suspect {
			return true // judged at the commit
		}
		return s.give(fmt.Errorf("journal block %d: revoke block of %d bytes: %w", at, end, evidence.ErrCorrupt))
	}
	size := 4
	if l.Incompat&Incompat64Bit != 0 {
		size = 8
	}
	if len(s.revokes)+end/size > maxRevokes {
		return s.give(fmt.Errorf("journal block %d: more than %d revoked blocks: %w", at, maxRevokes, evidence.ErrUnsupported))
	}
	for off := revokeHeader; off+size <= end; off += size {
		r := revocation{seq: s.seq}
		if size == 8 {
			r.block = beUint64(b[off:])
		} else {
			r.block = uint64(beUint32(b[off:]))
		}
		s.revokes = append(s.revokes, r)
		s.open.Revokes++
	}
	return true
}

// commit ends a transaction, if its checksums are right. Where they are wrong,
// a commit that is older than its predecessor is a remainder of an earlier use
// of the log, and the log ends before it.
func (s *scan) commit(b []byte, at uint32) bool {
	l := s.log
	sec := beUint64(b[48:])
	good := l.commitOK(b)
	if l.Compat&CompatChecksum != 0 {
		found, unused := beUint32(b[commitChecksum:]), b[12] == 0 && b[13] == 0
		good = found == s.sum && b[12] == crc32Type && b[13] == crc32Size || unused && found == 0
	}
	if s.suspect || !good {
		if sec < s.lastTime {
			return false
		}
		what := "commit block"
		if s.suspect {
			what, s.refused = "descriptor or revoke block", true
		}
		l.remark(s.o, fmt.Errorf("journal block %d: bad checksum of a %s: transaction %d and what follows is not replayed: %w", at, what, s.seq, evidence.ErrCorrupt))
		return false
	}
	s.open.Sequence = s.seq
	s.open.Commit = commitTime(b)
	l.Transactions = append(l.Transactions, s.open)
	s.open = Transaction{}
	s.keptCopies, s.keptRevokes = len(s.copies), len(s.revokes)
	s.lastTime, s.sum = sec, ^uint32(0)
	s.seq++
	return true
}

// commitTime returns when a commit block says it was written; the zero time
// where it says nothing, as kernels before 2.6.28 and e2fsprogs do.
func commitTime(b []byte) time.Time {
	sec, nsec := int64(beUint64(b[48:])), beUint32(b[56:])
	if sec <= 0 || sec > 1<<40 || nsec >= 1e9 {
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

// replay finds the newest copy of each block that was not revoked later and
// whose checksum is right (jbd2_do_replay).
func (s *scan) replay() {
	l := s.log
	revoked := newestRevokes(s.revokes)
	l.replaced = make([]replacement, 0, len(s.copies))
	for _, c := range s.copies {
		i, found := slices.BinarySearchFunc(revoked, c.block, func(r revocation, b uint64) int { return compare(r.block, b) })
		switch {
		case found && !tidAfter(c.seq, revoked[i].seq):
			l.Revoked++
		case c.bad:
			l.Damaged++
			s.warnDamaged(c)
		default:
			l.replaced = append(l.replaced, replacement{block: c.block, pos: c.pos, flags: c.flags})
		}
	}
	if l.Damaged > 0 {
		l.remark(evidence.Options{}, fmt.Errorf("copies with a bad checksum, which are not replayed: %d", l.Damaged))
	}
	// Copies stand in log order: of those of one block the last one wins.
	slices.SortStableFunc(l.replaced, func(a, b replacement) int { return compare(a.block, b.block) })
	n := 0
	for i, r := range l.replaced {
		if i+1 == len(l.replaced) || l.replaced[i+1].block != r.block {
			l.replaced[n] = r
			n++
		}
	}
	l.replaced = slices.Clip(l.replaced[:n])
	l.Replaced = n
}

// maxDamageWarnings keeps a shredded log from a warning per block; the note counts them all.
const maxDamageWarnings = 16

func (s *scan) warnDamaged(c copied) {
	if s.log.Damaged <= maxDamageWarnings {
		s.o.Warning(fmt.Errorf("journal block %d: bad checksum of the copy of block %d in transaction %d: not replayed: %w", c.pos, c.block, c.seq, evidence.ErrCorrupt))
	}
}

// newestRevokes sorts by block and keeps the newest revocation of each.
func newestRevokes(all []revocation) []revocation {
	slices.SortStableFunc(all, func(a, b revocation) int {
		if c := compare(a.block, b.block); c != 0 {
			return c
		}
		return int(int32(a.seq - b.seq))
	})
	n := 0
	for i, r := range all {
		if i+1 == len(all) || all[i+1].block != r.block {
			all[n] = r
			n++
		}
	}
	return all[:n]
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
