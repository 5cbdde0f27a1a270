// Package xlog recovers the log of an XFS filesystem in memory, over a disk
// that stays as it is.
//
// A disk that was copied while it was mounted holds its newest metadata only in
// its log: a reader that ignores the log sees files that are gone and misses
// those that came last. Replay gives the disk as a mount would have made it, as
// an io.ReaderAt over the untouched one. It follows fs/xfs/xfs_log_recover.c and
// the recovery half of each log item (xfs_buf_item_recover.c,
// xfs_inode_item_recover.c, xfs_icreate_item.c, xfs_dquot_item_recover.c,
// xfs_bmap_item.c) of Linux 6.18.
//
// What differs from the kernel, on purpose: it gives up a whole mount where one
// item is bad, and Replay goes on and says which; unlinked inodes that were still
// open stay as they are, so that they can be recovered; space that unfinished
// operations would have freed is left alone, since no path leads to it.
//
// Input is hostile: no panic, no unbounded allocation, no endless loop; fuzzed.
package xlog

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"lagan/evidence"
)

// Result is what came of a replay.
type Result struct {
	// State is JournalClean, JournalReplayed or JournalExternal.
	State evidence.JournalState
	// Image is the disk with what was replayed over it; the disk itself where
	// nothing was. It may be read from several goroutines if the disk may.
	Image io.ReaderAt
	// Transactions counts the checkpoints that were replayed, Objects the
	// distinct buffers and inodes that they changed.
	Transactions, Objects int
	// First and Last are the newest inode change time (di_ctime) in the first and in
	// the last of the checkpoints that hold one. The log itself is not dated: a
	// checkpoint was written at that time or up to about half a minute later.
	First, Last time.Time
	// Note says why replay stopped early, and what was left unfinished.
	Note string

	im *image
}

// Changed says whether any of the n bytes at off differ from the disk, at a
// granularity of 256 bytes.
func (r *Result) Changed(off, n int64) bool { return r.im != nil && r.im.changed(off, n) }

// Check says whether the log holds anything to replay, without replaying it. A
// log on a device that isn't here is not dirty as far as can be told, and the note says so.
func Check(dev io.ReaderAt, size int64, g Geometry) (dirty bool, note string, err error) {
	if g.LogStart == 0 && g.External == nil {
		return false, externalNote, nil
	}
	l, err := openLog(dev, size, g, nil)
	if err != nil {
		return false, "", err
	}
	e, err := l.locate()
	if err != nil {
		return false, "", fmt.Errorf("searching the log: %w", err)
	}
	return !e.clean && e.head != e.tail, e.note, nil
}

const externalNote = "the log is on another device"

// Replay recovers the log. Everything that was noticed and passed over goes to
// warn, which may be nil. Where a record is torn or corrupt, replay stops before it, and
// Note says so. An error means that nothing could be replayed at all: the log
// can't be found, or it belongs to another filesystem (evidence.ErrCorrupt), the
// machine that wrote it is unknown (evidence.ErrUnsupported), or reading failed.
func Replay(dev io.ReaderAt, size int64, g Geometry, warn func(error)) (*Result, error) {
	if warn == nil {
		warn = func(error) {}
	}
	if g.LogStart == 0 && g.External == nil {
		return &Result{State: evidence.JournalExternal, Image: dev, Note: externalNote}, nil
	}
	l, err := openLog(dev, size, g, warn)
	if err != nil {
		return nil, err
	}
	e, err := l.locate()
	if err != nil {
		return nil, fmt.Errorf("searching the log: %w", err)
	}
	if e.clean || e.head == e.tail {
		return &Result{State: evidence.JournalClean, Image: dev, Note: e.note}, nil
	}
	if unknown := g.LogIncompat &^ logIncompatKnow; unknown != 0 {
		warn(fmt.Errorf("log features %#x: %w", unknown, evidence.ErrUnsupported))
	}
	rp := newReplayer(l, dev, size, warn)
	if err := rp.run(e); err != nil {
		return nil, fmt.Errorf("replaying the log: %w", err)
	}
	return rp.result(e)
}

// run makes the two passes of xlog_do_log_recovery: the first finds the buffers
// that were freed later, whose blocks may hold file data by now; the second replays.
func (rp *replayer) run(e extent) error {
	stop, err := rp.pass(e.tail, e.head, true, rp.collectCancels)
	if err != nil {
		if !errors.Is(err, evidence.ErrCorrupt) {
			return err
		}
		if stop == e.tail {
			return err
		}
		rp.notes = append(rp.notes, fmt.Sprintf("replay stopped at log block %#x, before the head at %#x: %v", stop, e.head, err))
		rp.warn(fmt.Errorf("log replay stopped at block %#x, before the head at %#x: %w", stop, e.head, err))
		e.head = stop
	}
	if _, err = rp.pass(e.tail, e.head, false, rp.commit); err != nil {
		return err
	}
	if err := rp.stamp(); err != nil {
		return err
	}
	return rp.finishIntents()
}

func (rp *replayer) pass(tail, head int64, headsOnly bool, commit func(*trans) error) (int64, error) {
	a := &assembler{open: make(map[uint32]*trans), headsOnly: headsOnly, commit: commit, uuid: rp.geo.UUID}
	return rp.log.walk(tail, head, func(r *record) error {
		if r.badCRC {
			err := fmt.Errorf("log record at block %#x: checksum: %w", r.at, evidence.ErrCorrupt)
			// Without version 5 the checksum is advisory (xlog_recover_process).
			if rp.geo.V5 {
				return err
			}
			if headsOnly {
				rp.warn(err)
			}
		}
		return a.add(r)
	})
}

func (rp *replayer) result(e extent) (*Result, error) {
	im, err := rp.ov.finish()
	if err != nil {
		return nil, err
	}
	notes := rp.notes
	if e.note != "" {
		notes = append([]string{e.note}, notes...)
	}
	if n := rp.warnings - maxWarnings; n > 0 {
		rp.warnTo(fmt.Errorf("log replay: %d more warnings: %w", n, evidence.ErrCorrupt))
	}
	return &Result{
		State: evidence.JournalReplayed, Image: im, im: im,
		Transactions: rp.transactions, Objects: len(rp.objects),
		First: rp.first, Last: rp.last, Note: strings.Join(notes, "; "),
	}, nil
}
