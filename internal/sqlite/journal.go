package sqlite

import (
	"encoding/binary"
	"fmt"

	"lagan/evidence"
)

// readLog notes the pages of a write-ahead log up to its last commit: section 4.
func (db *DB) readLog(wal File) error {
	h := make([]byte, walHeaderSize)
	if err := readFull(wal, h, 0); err != nil {
		return err
	}
	be := binary.BigEndian
	var words binary.ByteOrder
	switch be.Uint32(h) {
	case walMagicLE:
		words = binary.LittleEndian
	case walMagicBE:
		words = binary.BigEndian
	default:
		return fmt.Errorf("magic %#x: %w", be.Uint32(h), evidence.ErrFormat)
	}
	if v := be.Uint32(h[4:]); v != walFileVersion {
		return fmt.Errorf("version %d: %w", v, evidence.ErrUnsupported)
	}
	size := int64(be.Uint32(h[8:]))
	if size < minPageSize || size > maxPageSize || size&(size-1) != 0 {
		return fmt.Errorf("page size %d: %w", size, evidence.ErrCorrupt)
	}
	s1, s2 := checksum(words, h[:24], 0, 0)
	if s1 != be.Uint32(h[24:]) || s2 != be.Uint32(h[28:]) {
		return fmt.Errorf("header has a wrong checksum: %w", evidence.ErrCorrupt)
	}
	salts := string(h[16:24])
	frame := make([]byte, frameHeader+size)
	pending := make(map[uint32]place)
	for n := int64(0); n < maxFrames; n++ {
		off := walHeaderSize + n*int64(len(frame))
		if off+int64(len(frame)) > wal.Size() || readFull(wal, frame, off) != nil {
			break
		}
		// Frames of an earlier round, with other salts, end the log.
		if string(frame[8:16]) != salts {
			break
		}
		s1, s2 = checksum(words, frame[:8], s1, s2)
		s1, s2 = checksum(words, frame[frameHeader:], s1, s2)
		if s1 != be.Uint32(frame[16:]) || s2 != be.Uint32(frame[20:]) {
			break
		}
		pending[be.Uint32(frame)] = place{wal, off + frameHeader}
		if be.Uint32(frame[4:]) != 0 { // a commit
			for page, at := range pending {
				db.over[page] = at
			}
			clear(pending)
		}
	}
	return nil
}

// checksum is section 4.2.
func checksum(words binary.ByteOrder, b []byte, s1, s2 uint32) (uint32, uint32) {
	for ; len(b) >= 8; b = b[8:] {
		s1 += words.Uint32(b) + s2
		s2 += words.Uint32(b[4:]) + s1
	}
	return s1, s2
}

// readJournal notes the pages of a hot rollback journal, which are those from
// before a transaction that was not finished: section 3. A journal that was
// finished has a blank header.
func (db *DB) readJournal(journal File) error {
	be := binary.BigEndian
	h := make([]byte, journalHeaderSize)
	for at := int64(0); at+journalHeaderSize <= journal.Size(); {
		if err := readFull(journal, h, at); err != nil {
			return err
		}
		if string(h[:8]) != journalMagic {
			return nil
		}
		records, nonce := int64(be.Uint32(h[8:])), be.Uint32(h[12:])
		sector, page := int64(be.Uint32(h[20:])), int64(be.Uint32(h[24:]))
		if page != db.pageSize || sector < 32 || sector > maxPageSize {
			return fmt.Errorf("page size %d, sector size %d: %w", page, sector, evidence.ErrCorrupt)
		}
		b := make([]byte, 4+page+4)
		at += sector
		if records == journalToTheEnd {
			records = maxFrames
		}
		for range min(records, maxFrames) {
			if at+int64(len(b)) > journal.Size() {
				return nil
			}
			if err := readFull(journal, b, at); err != nil {
				return err
			}
			if recordSum(b[4:4+page], nonce) != be.Uint32(b[4+page:]) {
				return nil // where the writing was cut off
			}
			// The first copy of a page is the oldest.
			if n := be.Uint32(b); db.over[n].r != journal {
				db.over[n] = place{journal, at + 4}
			}
			at += int64(len(b))
		}
		at = (at + sector - 1) / sector * sector
	}
	return nil
}

// recordSum adds up every 200th byte from the end: section 3, "page record".
func recordSum(page []byte, nonce uint32) uint32 {
	sum := nonce
	for i := len(page) - 200; i > 0; i -= 200 {
		sum += uint32(page[i])
	}
	return sum
}
