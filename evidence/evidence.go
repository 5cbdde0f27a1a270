// Package evidence defines what every reader of evidence gives and what every
// analysis takes: a read-only tree addressed by inode (FS), what is known of
// one inode (Info), and the few ways through a tree (Walk, Resolve, ReadFile).
//
// Evidence is hostile: an attacker chose the names, links and contents, perhaps
// the filesystem structures. Names are arbitrary bytes; nothing is followed
// unless Resolve follows it inside one root; what can't be read is an error
// that is handed up, never left out in silence. This package imports the
// standard library only, and nothing that reads a disk is known to it.
package evidence

import (
	"errors"
	"io"
	"iter"
	"strings"
	"time"
)

// The sentinel errors of every reader. A missing name is fs.ErrNotExist.
var (
	// ErrFormat says that the bytes are not of this format: another reader may be asked.
	ErrFormat = errors.New("not this format")
	// ErrCorrupt says that a structure contradicts itself or its format.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnsupported says that a known feature, which the message names, is not read.
	ErrUnsupported = errors.New("not supported")
)

// Ino is a handle to one inode of one FS. A disk filesystem uses its inode
// numbers; a merged or joined tree chooses its own, so print Info.Inode instead.
type Ino uint64

// Type is the kind of a directory entry or inode.
type Type uint8

// The types of inodes. TypeUnknown stands in directory entries of filesystems
// that don't record types, and for modes that no Unix defines.
const (
	TypeUnknown Type = iota
	TypeFile
	TypeDir
	TypeSymlink
	TypeChar
	TypeBlock
	TypeFIFO
	TypeSocket
)

var typeNames = [...]string{"unknown", "file", "dir", "symlink", "char", "block", "fifo", "socket"}

// String returns the name that records use: file, dir, symlink, char, block, fifo, socket.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return typeNames[0]
}

// TypeOfMode returns the type that the S_IFMT bits of a Unix st_mode name.
func TypeOfMode(mode uint16) Type {
	switch mode & 0o170000 {
	case 0o100000:
		return TypeFile
	case 0o040000:
		return TypeDir
	case 0o120000:
		return TypeSymlink
	case 0o020000:
		return TypeChar
	case 0o060000:
		return TypeBlock
	case 0o010000:
		return TypeFIFO
	case 0o140000:
		return TypeSocket
	}
	return TypeUnknown
}

// Info is what stat(2) and statx(2) would say of an inode. A time that the
// evidence doesn't hold is the zero time.Time; known ones are UTC.
type Info struct {
	Inode        uint64 // st_ino as the kernel reported it
	Type         Type
	Perm         uint16 // permission bits with setuid 04000, setgid 02000, sticky 01000
	UID, GID     uint32
	Nlink        uint32
	Size         int64
	Major, Minor uint32 // of a character or block device
	Mtime        time.Time
	Atime        time.Time
	Ctime        time.Time
	Btime        time.Time
	// FromJournal says that the inode on the disk is older: what is told here
	// exists only in the journal, and was replayed in memory.
	FromJournal bool
}

// Entry is one name in a directory. The names . and .. are left out.
type Entry struct {
	Name string // any bytes but NUL and /
	Ino  Ino
	Type Type // TypeUnknown where the directory doesn't say: Stat then does
}

// FS is a read-only tree found in evidence. Unlike io/fs.FS it is addressed by
// inode, not by path: a walk never resolves a path twice, hard links show, and
// a layer shared by a hundred containers is read once. Methods may be called
// from several goroutines.
type FS interface {
	Root() Ino
	Stat(Ino) (Info, error)
	// ReadDir yields what could be read of a directory, in the order of the
	// disk. An error is yielded with a zero Entry; entries may follow it.
	ReadDir(Ino) iter.Seq2[Entry, error]
	// ReadLink returns the target of a symbolic link, any bytes.
	ReadLink(Ino) (string, error)
	// Xattrs returns all extended attributes by their full name
	// ("security.capability"), values as the kernel would return them. What
	// could be read is returned beside an error. The map is the caller's.
	Xattrs(Ino) (map[string][]byte, error)
	// Open opens a regular file; holes and unwritten extents read as zeros.
	Open(Ino) (*io.SectionReader, error)
}

// Options apply to the opening of every filesystem.
type Options struct {
	// Warn, if set, is told of everything that was noticed and read past: a bad
	// checksum, a dirty journal left alone. It may be called from several
	// goroutines, during opening and at any later time.
	Warn func(error)
	// NoJournal leaves a dirty journal unreplayed.
	NoJournal bool
	// Devices are the other volumes of the evidence, in a fixed order: a
	// filesystem may lie on several, or have its journal on one of its own.
	Devices []Device
}

// Device is a volume's bytes.
type Device struct {
	io.ReaderAt
	Size int64
}

// Warning calls o.Warn, if there is one.
func (o Options) Warning(err error) {
	if o.Warn != nil {
		o.Warn(err)
	}
}

// JournalState says what is known of a filesystem's journal.
type JournalState string

// The states of a journal.
const (
	JournalNone     JournalState = "none"     // the filesystem has none
	JournalClean    JournalState = "clean"    // nothing to replay
	JournalDirty    JournalState = "dirty"    // to be replayed, and left alone: the view is stale
	JournalReplayed JournalState = "replayed" // replayed in memory
	JournalExternal JournalState = "external" // on another device, which isn't here
)

// Journal describes a filesystem's journal and what was replayed of it.
type Journal struct {
	State        JournalState
	Transactions int       // replayed, or waiting to be
	Blocks       int       // distinct blocks (or, XFS, buffers and inodes) that differ from the disk
	First, Last  time.Time // of the transactions' commits, where they are dated
	Note         string    // what else is to be said: why replay stopped, for one
}

// Description is what a filesystem says of itself.
type Description struct {
	Type      string // "ext4", "xfs", ...
	UUID      string // lower-case, with dashes
	Label     string
	Size      int64 // bytes
	BlockSize int
	Features  []string  // as the filesystem's own tools name them
	Created   time.Time // mkfs, where recorded
	Mounted   time.Time // last mount, where recorded
	Written   time.Time // last write of the superblock, where recorded
	MountedOn string    // last mount point, where recorded
	Journal   Journal
	Devices   []int // places in Options.Devices of those that belong to the filesystem too
}

// Describer is an FS that lies on a volume of its own.
type Describer interface {
	Describe() Description
}

// Describe returns what fsys says of itself; its zero value where it says nothing.
func Describe(fsys FS) Description {
	if d, ok := fsys.(Describer); ok {
		return d.Describe()
	}
	return Description{}
}

// Inode is one inode met by Scanner.Inodes.
type Inode struct {
	Ino    Ino
	Info   Info
	Target string   // of a symbolic link
	Xattrs []string // names of extended attributes, sorted
}

// DirEntry is an Entry with the directory it stands in.
type DirEntry struct {
	Dir Ino
	Entry
}

// Scanner is an FS that can read all metadata in the order of the disk, which
// is the fast way to a timeline. Both sequences go on after an error, and both
// give the same order on every run.
type Scanner interface {
	// Inodes yields every allocated inode that a path could lead to; not the
	// filesystem's own (journal, resize, quota, orphan file).
	Inodes() iter.Seq2[Inode, error]
	// Entries yields the entries of the given directories, in the order in
	// which their blocks lie on the disk, . and .. left out.
	Entries(dirs []Ino) iter.Seq2[DirEntry, error]
}

// DeletedInode is an inode that was deleted and whose traces can still be read.
type DeletedInode struct {
	Ino     Ino
	Info    Info      // what is left: a zero Size or time is gone
	Deleted time.Time // when, where recorded
	// Open says that the file was deleted while a process held it open: its
	// content is whole, and Open of the FS reads it.
	Open bool
}

// Deleter is an FS that can find deleted inodes.
type Deleter interface {
	Deleted() iter.Seq2[DeletedInode, error]
}

// Placer is an FS that knows where on its volume a file's content begins.
type Placer interface {
	// Place returns the offset of the first byte that is stored, false where there is none
	// or it can't be told.
	Place(Ino) (int64, bool)
}

// Place returns where a file's content begins on its volume, for reading files in the
// order of the disk; where that isn't known, the inode's number, near which
// filesystems put the content.
func Place(fsys FS, ino Ino) int64 {
	if p, ok := fsys.(Placer); ok {
		if off, ok := p.Place(ino); ok {
			return off
		}
	}
	return int64(ino)
}

// Split returns the elements of a slash-separated path, empty ones and "." left out.
func Split(path string) []string {
	var out []string
	for _, e := range strings.Split(path, "/") {
		if e != "" && e != "." {
			out = append(out, e)
		}
	}
	return out
}
