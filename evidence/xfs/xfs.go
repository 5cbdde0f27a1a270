// Package xfs reads XFS filesystems, versions 4 and 5, from any io.ReaderAt.
//
// It follows the kernel's fs/xfs/libxfs headers (xfs_format.h,
// xfs_da_format.h) and shows what Linux would show, with every time to the
// nanosecond. A dirty log is replayed in memory by package xlog; the device is
// never written to.
//
// Input is hostile: no panic, no unbounded allocation, no infinite loop;
// fuzzed. Damage in one block costs what is in that block: it is an error in
// the sequence that met it, and reading goes on. A bad checksum alone is a
// warning. Not read: file content on a realtime device.
package xfs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"lagan/evidence"
	"lagan/evidence/xfs/xlog"
	"lagan/internal/bin"
)

// FS is an XFS filesystem. Its methods may be called from several goroutines.
type FS struct {
	dev     io.ReaderAt  // with the log replayed, where it was
	raw     io.ReaderAt  // as it lies on the disk
	log     *xlog.Result // nil where nothing was replayed
	size    int64
	sb      super
	cache   pageCache
	journal evidence.Journal
	devices []int // of opts.Devices, what has the log
	opts    evidence.Options
	warned  warnings
	dirs    atomic.Pointer[dirCache] // of the last pass over all inodes
	hidden  map[uint64]bool          // the filesystem's own inodes
}

// Open reads the superblock of the filesystem that fills the size bytes of r,
// and its log. It returns evidence.ErrFormat where r holds no XFS.
func Open(r io.ReaderAt, size int64, o evidence.Options) (*FS, error) {
	sb, notes, err := findSuper(r, size)
	if err != nil {
		return nil, err
	}
	f := &FS{dev: r, raw: r, size: size, sb: sb, opts: o}
	f.openLog()
	if f.log != nil { // the superblock may be among what was replayed
		if sb, more, err := findSuper(f.dev, size); err == nil {
			f.sb, notes = sb, append(notes, more...)
		}
	}
	for _, note := range append(notes, f.sb.notices(size)...) {
		o.Warning(note)
	}
	f.cache.r, f.cache.size = f.dev, size
	f.hidden = map[uint64]bool{f.sb.rbmIno: true, f.sb.rsumIno: true}
	for _, ino := range f.sb.quotaInos {
		f.hidden[ino] = true
	}
	if f.sb.rootIno == nullIno || f.sb.rootIno == 0 {
		f.sb.rootIno = f.guessRoot()
	}
	delete(f.hidden, f.sb.rootIno)
	return f, nil
}

// openLog replays the log, or finds out whether that would be needed.
func (f *FS) openLog() {
	g, err := f.geometry()
	if err != nil {
		f.opts.Warning(fmt.Errorf("log: %w", err))
		return
	}
	if f.opts.NoJournal || f.sb.logStart == 0 && g.External == nil {
		f.checkLog(g)
		return
	}
	r, err := xlog.Replay(f.dev, f.size, g, f.opts.Warning)
	if err != nil {
		f.journal = evidence.Journal{State: evidence.JournalDirty, Note: err.Error()}
		f.opts.Warning(fmt.Errorf("log was not replayed, the view may be stale: %w", err))
		return
	}
	if g.External != nil {
		r.Note = strings.TrimPrefix(r.Note+"; the log is on another device, which is here", "; ")
	}
	f.journal = evidence.Journal{
		State:        r.State,
		Transactions: r.Transactions,
		Blocks:       r.Objects,
		First:        r.First,
		Last:         r.Last,
		Note:         r.Note,
	}
	if r.State == evidence.JournalReplayed {
		f.dev, f.log = r.Image, r
	}
}

// geometry is what the log's reader must know, with the device that the log is
// on, if that is another one and among the evidence.
func (f *FS) geometry() (xlog.Geometry, error) {
	g, err := xlog.GeometryOf(f.sb.sector)
	if err != nil || f.sb.logStart != 0 {
		return g, err
	}
	if len(f.devices) == 0 {
		i := slices.IndexFunc(f.opts.Devices, func(d evidence.Device) bool { return xlog.HoldsLog(d, g.UUID) })
		if i < 0 {
			return g, nil
		}
		f.devices = []int{i}
	}
	g.External = &f.opts.Devices[f.devices[0]]
	return g, nil
}

// checkLog sets the journal's state without replaying it.
func (f *FS) checkLog(g xlog.Geometry) {
	if f.sb.logStart == 0 && g.External == nil {
		f.journal.State = evidence.JournalExternal
		f.opts.Warning(errors.New("log is on another device: what only it holds is missing"))
		return
	}
	dirty, note, err := xlog.Check(f.dev, f.size, g)
	f.journal.Note = note
	switch {
	case err != nil:
		f.opts.Warning(fmt.Errorf("log: %w", err))
	case dirty:
		f.journal.State = evidence.JournalDirty
		f.opts.Warning(errors.New("log is dirty and was not replayed: the view is stale"))
	default:
		f.journal.State = evidence.JournalClean
	}
}

// Root returns the inode of the topmost folder.
func (f *FS) Root() evidence.Ino { return evidence.Ino(f.sb.rootIno) }

// Describe says what the superblock and the log say. XFS records neither when
// it was made nor when it was mounted.
func (f *FS) Describe() evidence.Description {
	return evidence.Description{
		Type:      "xfs",
		UUID:      bin.UUID(f.sb.uuid[:]),
		Label:     f.sb.label,
		Size:      int64(f.sb.dblocks) << f.sb.blockLog,
		BlockSize: int(f.sb.blockSize),
		Features:  f.sb.features(),
		Journal:   f.journal,
		Devices:   f.devices,
	}
}

// blockOffset returns where count blocks from the filesystem block fsb lie on
// the device. A block number holds the group's number above the block's number
// in the group; no extent spans groups.
func (f *FS) blockOffset(fsb, count uint64) (int64, error) {
	agno := fsb >> f.sb.agblkLog
	agbno := fsb & (1<<f.sb.agblkLog - 1)
	if agno >= uint64(f.sb.agCount) || agbno+count > uint64(f.sb.agLength(uint32(agno))) || agbno+count < agbno {
		return 0, fmt.Errorf("block %#x+%d is outside its allocation group: %w", fsb, count, evidence.ErrCorrupt)
	}
	return int64(agno*uint64(f.sb.agBlocks)+agbno) << f.sb.blockLog, nil
}

// agOffset returns where an allocation group begins on the device.
func (f *FS) agOffset(agno uint32) int64 {
	return int64(uint64(agno)*uint64(f.sb.agBlocks)) << f.sb.blockLog
}

// groups returns the number of allocation groups that begin on the device: a
// superblock may claim more.
func (f *FS) groups() uint32 {
	group := int64(f.sb.agBlocks) << f.sb.blockLog
	return uint32(min(int64(f.sb.agCount), (f.size+group-1)/group))
}

// maxWarned bounds what is remembered of warnings given. Who sees this many
// knows that the filesystem is ruined.
const maxWarned = 10000

// warnings remembers of which object was warned.
type warnings struct {
	mu   sync.Mutex
	seen map[warnKey]bool
}

type warnKey struct {
	what string
	id   uint64
}

// warnOnce warns of the object id of the kind what, the first time that it is met.
func (f *FS) warnOnce(what string, id uint64, err error) {
	f.warned.mu.Lock()
	if f.warned.seen == nil {
		f.warned.seen = make(map[warnKey]bool)
	}
	k := warnKey{what, id}
	if f.warned.seen[k] || len(f.warned.seen) > maxWarned {
		f.warned.mu.Unlock()
		return
	}
	f.warned.seen[k] = true
	last := len(f.warned.seen) > maxWarned
	f.warned.mu.Unlock()
	f.opts.Warning(err)
	if last {
		f.opts.Warning(errors.New("xfs: further warnings are left out"))
	}
}

// layout says where the self-describing fields of a v5 block are.
type layout struct{ crc, uuid, owner int }

var (
	dirLayout    = layout{dir3CRC, dir3UUID, dir3Owner}
	daLayout     = layout{da3CRC, da3UUID, da3Owner}
	bmbtLayout   = layout{btLongCRC, btLongUUID, btLongOwner}
	remoteLayout = layout{remoteCRC, remoteUUID, remoteOwner}
)

// verify checks the checksum of a v5 block that lies at off and belongs to the
// inode owner. A bad checksum is a warning; with a good one, another owner or
// filesystem means a block left over from an earlier use, which is not to be read.
func (f *FS) verify(b []byte, off int64, l layout, owner uint64, what string) error {
	if len(b) < l.owner+8 || len(b) < l.uuid+16 {
		return fmt.Errorf("%s at offset %#x: %w", what, off, evidence.ErrCorrupt)
	}
	if !checksumOK(b, l.crc) {
		f.warnOnce("block", uint64(off), fmt.Errorf("%s of inode %d at offset %#x: bad checksum: %w", what, owner, off, evidence.ErrCorrupt))
		return nil
	}
	if got := be.Uint64(b[l.owner:]); got != owner {
		return fmt.Errorf("%s of inode %d at offset %#x belongs to inode %d: %w", what, owner, off, got, evidence.ErrCorrupt)
	}
	if [16]byte(b[l.uuid:]) != f.sb.metaUUID {
		return fmt.Errorf("%s of inode %d at offset %#x is of another filesystem: %w", what, owner, off, evidence.ErrCorrupt)
	}
	return nil
}
