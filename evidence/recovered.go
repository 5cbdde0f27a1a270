package evidence

import (
	"io"
	"iter"
	"time"
)

// ContentState says what is left of a deleted file's content.
type ContentState string

// The states of a deleted file's content.
const (
	// ContentWhole: every block is where the last known state of the inode says,
	// none is in use by another file, and nothing says that any was since.
	ContentWhole ContentState = "whole"
	// ContentUnproven: no block is in use, but the file's size isn't known, or not
	// all that happened since the deletion is.
	ContentUnproven ContentState = "unproven"
	// ContentPartly: some blocks are in use by others, or can't be found.
	ContentPartly ContentState = "partly overwritten"
	// ContentTimes: nothing but what the inode says.
	ContentTimes ContentState = "times only"
)

// OldName is a name that led to a deleted inode.
type OldName struct {
	Dir    Ino // of the directory, which may be deleted itself; 0 unknown
	Name   string
	Source string // where it was found
}

// Recovered is a deleted inode with what can be brought back of it.
type Recovered struct {
	DeletedInode
	// DeletedBy is the first time at which it was known to be gone, where Deleted isn't known.
	DeletedBy time.Time
	Names     []OldName // the newest first
	State     ContentState
	// Lost counts the bytes that are in use by others or can't be found; they read as zeros.
	Lost   int64
	Source string // where the inode's last state was found: "inode table", "journal, transaction 12" ...
	Note   string // why the content is not whole, where that isn't plain
	Target string // of a symbolic link
	// Content reads what is left of a regular file; nil where nothing is.
	Content *io.SectionReader
}

// Recoverer is an FS that can bring back deleted files from older copies of
// their inodes. The sequence has the deleted inodes of Deleter too.
type Recoverer interface {
	Recovered() iter.Seq2[Recovered, error]
}
