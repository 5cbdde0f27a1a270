package vhdx

import (
	"encoding/binary"
	"fmt"
	"io"

	"lagan/evidence"
	"lagan/internal/bin"
	"lagan/internal/piece"
)

// overlay is the file with the sectors that the log has for it.
type overlay struct {
	r       io.ReaderAt
	size    int64
	sectors map[int64][]byte // of 4 KiB, by number; nil is zeros
	entries int
}

// logEntry is one entry of the log, checked.
type logEntry struct {
	sequence    uint64
	tail        int64  // where the active sequence began when it was written
	off, length int64  // in the log
	body        []byte // header, descriptors and data sectors
	descriptors int64
	lastFile    int64 // LastFileOffset: the file was at least that long
}

// replay finds the newest sequence of entries that is whole and applies it
// ([MS-VHDX] 2.3.3): the sequence that ends in the entry with the highest number.
func replay(r io.ReaderAt, size int64, h header, o Options) (*overlay, error) {
	v := &overlay{r: r, size: size, sectors: map[int64][]byte{}}
	if h.logLength == 0 || h.logLength > maxLog || h.logLength%logSector != 0 || h.logOff < mib {
		return nil, fmt.Errorf("of %#x bytes at offset %#x: %w", h.logLength, uint64(h.logOff), evidence.ErrCorrupt)
	}
	log := make([]byte, h.logLength)
	if err := piece.Full(r, log, h.logOff); err != nil {
		return nil, fmt.Errorf("offset %#x: %w", h.logOff, err)
	}
	active := activeSequence(log, h.logID)
	if len(active) == 0 {
		o.warn(fmt.Errorf("vhdx: the file's log is not empty and has no whole entry; the disk is read as it is: %w", evidence.ErrCorrupt))
		return v, nil
	}
	for _, e := range active {
		if err := v.apply(e); err != nil {
			return nil, err
		}
	}
	if last := active[len(active)-1]; last.lastFile > size {
		o.warn(fmt.Errorf("vhdx: the file has %#x bytes and had at least %#x: it was cut short: %w", size, last.lastFile, evidence.ErrCorrupt))
	}
	v.entries = len(active)
	return v, nil
}

// checkedFor bounds the work of finding the entries: the checksums of no more
// bytes than this many logs have are computed.
const checkedFor = 16

// maxReplayed bounds the sectors that a log may stand for: 1 GiB, nearly all
// of them zeros, which the log counts and doesn't hold.
const maxReplayed = 1 << 18

// activeSequence returns the entries to replay, oldest first.
func activeSequence(log []byte, id guidBytes) []logEntry {
	var best []logEntry
	budget := checkedFor * int64(len(log))
	for start := int64(0); start < int64(len(log)); {
		var run []logEntry
		off := start
		for int64(len(run))*logSector < int64(len(log)) {
			e, ok := parseEntry(log, off, id, &budget)
			if !ok || len(run) > 0 && e.sequence != run[len(run)-1].sequence+1 {
				break
			}
			run = append(run, e)
			off = (off + e.length) % int64(len(log))
		}
		if len(run) == 0 {
			start += logSector
			continue
		}
		last := run[len(run)-1]
		// A sequence counts only if its tail is in it: from there on it is replayed.
		for i, e := range run {
			if e.off == last.tail && (best == nil || last.sequence > best[len(best)-1].sequence) {
				best = run[i:]
				break
			}
		}
		if off <= start { // around the end
			break
		}
		start = off
	}
	return best
}

// parseEntry decodes and checks the entry at off of the log, which is a ring.
func parseEntry(log []byte, off int64, id guidBytes, budget *int64) (logEntry, bool) {
	c := bin.LE(ring(log, off, logEntryHead))
	if string(c.Bytes(4)) != magicLog {
		return logEntry{}, false
	}
	c.Skip(4) // Checksum
	e := logEntry{off: off, length: int64(c.U32()), tail: int64(c.U32()), sequence: c.U64(), descriptors: int64(c.U32())}
	c.Skip(4)
	entryID := guidBytes(c.Bytes(16))
	c.Skip(8) // FlushedFileOffset
	e.lastFile = int64(c.U64())
	if entryID != id || e.length < logSector || e.length%logSector != 0 || e.length > int64(len(log)) ||
		e.descriptors*logDescSize+logEntryHead > e.length {
		return logEntry{}, false
	}
	if *budget -= e.length; *budget < 0 {
		return logEntry{}, false
	}
	e.body = ring(log, off, e.length)
	return e, sumOK(e.body)
}

// ring returns n bytes at off of the log, which goes on at its start.
func ring(log []byte, off, n int64) []byte {
	if off+n <= int64(len(log)) {
		return log[off : off+n]
	}
	return append(append(make([]byte, 0, n), log[off:]...), log[:off+n-int64(len(log))]...)
}

// apply takes the sectors of one entry. The data sectors follow the
// descriptors, in their order, from the next whole sector on.
func (v *overlay) apply(e logEntry) error {
	data := (logEntryHead + e.descriptors*logDescSize + logSector - 1) / logSector * logSector
	for i := range e.descriptors {
		d := e.body[logEntryHead+i*logDescSize:][:logDescSize]
		fileOff := int64(binary.LittleEndian.Uint64(d[16:]))
		sequence := binary.LittleEndian.Uint64(d[24:])
		bad := fmt.Errorf("descriptor %d of the entry with number %d: %w", i, e.sequence, evidence.ErrCorrupt)
		if fileOff < 0 || fileOff%logSector != 0 || sequence != e.sequence {
			return bad
		}
		switch string(d[:4]) {
		case magicZero:
			length := int64(binary.LittleEndian.Uint64(d[8:]))
			if length < 0 || length%logSector != 0 || length/logSector > maxReplayed-int64(len(v.sectors)) {
				return bad
			}
			for n := range length / logSector {
				v.sectors[fileOff/logSector+n] = nil
			}
		case magicData:
			if data+logSector > e.length {
				return bad
			}
			s := e.body[data : data+logSector]
			data += logSector
			// The number's halves stand around the data: a sector that was torn shows.
			if string(s[:4]) != magicSector || binary.LittleEndian.Uint32(s[4:]) != uint32(sequence>>32) ||
				binary.LittleEndian.Uint32(s[logSector-4:]) != uint32(sequence) {
				return bad
			}
			// Its first 8 and last 4 bytes are in the descriptor: LeadingBytes, TrailingBytes.
			b := make([]byte, logSector)
			copy(b, s)
			copy(b, d[8:16])
			copy(b[logSector-4:], d[4:8])
			v.sectors[fileOff/logSector] = b
		default:
			return bad
		}
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (v *overlay) ReadAt(p []byte, off int64) (int, error) {
	n, err := v.r.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return n, err
	}
	clear(p[n:])
	for at := off / logSector * logSector; at < off+int64(len(p)); at += logSector {
		b, ok := v.sectors[at/logSector]
		if !ok {
			continue
		}
		// The part of the sector that lies in p.
		from, to := max(at, off), min(at+logSector, off+int64(len(p)))
		if b == nil {
			clear(p[from-off : to-off])
		} else {
			copy(p[from-off:to-off], b[from-at:])
		}
		n = max(n, int(to-off))
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
