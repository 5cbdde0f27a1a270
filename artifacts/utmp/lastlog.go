package utmp

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"lagan/evidence"
)

// LastLogin is a user's record of lastlog.
type LastLogin struct {
	UID      uint32
	Time     time.Time
	Terminal string
	Host     string
	Offset   int64
}

// firstUsers is how many records are read whoever they belong to. The file is
// sparse, with a record for every number up to the highest user's: some have
// numbers near 2^32, and the file is a terabyte of holes.
const firstUsers = 65536

// Last yields the records of lastlog that are not empty: of the first 65536
// users, and of those that are named.
func Last(r io.ReaderAt, size int64, users []uint32) iter.Seq2[LastLogin, error] {
	return func(yield func(LastLogin, error) bool) {
		record := lastlogRecord(r, size)
		count := size / int64(record)
		b := make([]byte, record)
		one := func(uid int64) bool {
			off := uid * int64(record)
			if _, err := r.ReadAt(b, off); err != nil && err != io.EOF {
				return yield(LastLogin{}, fmt.Errorf("record at %#x: %w", off, err))
			}
			l, err := lastLogin(b, uid, off)
			if err == nil && l.Time.IsZero() {
				return true
			}
			return yield(l, err)
		}
		for uid := range min(count, firstUsers) {
			if !one(uid) {
				return
			}
		}
		users = slices.Clone(users)
		slices.Sort(users)
		for _, uid := range slices.Compact(users) {
			if int64(uid) >= firstUsers && int64(uid) < count && !one(int64(uid)) {
				return
			}
		}
		if rest := size % int64(record); rest != 0 {
			yield(LastLogin{}, fmt.Errorf("%d bytes at the end are no record: %w", rest, evidence.ErrCorrupt))
		}
	}
}

// lastlogRecord tells 32-bit times from 64-bit ones: by the file's size, and
// where both fit it, by whether the second half of a time is 0.
func lastlogRecord(r io.ReaderAt, size int64) int {
	if size%lastlogSize64 != 0 {
		return lastlogSize32
	}
	if size%lastlogSize32 != 0 {
		return lastlogSize64
	}
	b := make([]byte, 8)
	for uid := range min(size/lastlogSize64, 1024) {
		if _, err := r.ReadAt(b, uid*lastlogSize64); err == nil && b[0] != 0 && binary.LittleEndian.Uint32(b[4:]) != 0 {
			return lastlogSize32
		}
	}
	return lastlogSize64
}

func lastLogin(b []byte, uid, off int64) (LastLogin, error) {
	sec, rest := int64(binary.LittleEndian.Uint32(b)), b[4:]
	if len(b) == lastlogSize64 {
		sec, rest = int64(binary.LittleEndian.Uint64(b)), b[8:]
	}
	if sec < 0 || sec > maxSecond {
		return LastLogin{}, fmt.Errorf("record at %#x: time %d: %w", off, sec, evidence.ErrCorrupt)
	}
	l := LastLogin{UID: uint32(uid), Terminal: text(rest[:lenLine]), Host: text(rest[lenLine:]), Offset: off}
	if sec != 0 {
		l.Time = time.Unix(sec, 0).UTC()
	}
	return l, nil
}
