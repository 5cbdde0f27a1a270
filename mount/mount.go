// Package mount shows trees of evidence as a read-only filesystem of this
// machine, through the kernel's FUSE (include/uapi/linux/fuse.h, protocol 7)
// and hanwen/go-fuse, on Linux.
//
// One mount shows one tree at its root, or several under folders. Inodes keep
// their types, modes, owners, times and attributes; hard links share an inode,
// devices show their numbers and can't be opened. Nothing is ever written, and
// the mount itself is nosuid, nodev and noexec: a file of the evidence can be
// looked at and not run. Whoever mounts may read all of it, whatever owners and
// modes say; others on the machine nothing, unless AllowOther is set.
//
// All attributes are shown, security.capability among them; names that begin
// with trusted. to root alone, as the kernel does. A time that the evidence
// doesn't hold is 1970-01-01 in stat(2), which has no way to say so, and left
// out in statx(2). A birth time shows in statx.
//
// Evidence is hostile: a name that leads elsewhere than where it stands is left
// out and told, a directory with two names is two directories, a panic of a
// reader is an I/O error of the one call. Memory grows with what the kernel
// keeps of the mount, and shrinks as it forgets.
package mount

import (
	"context"
	"errors"

	"lagan/evidence"
)

// Errors that say why there can be no mount; each is wrapped with what to try.
var (
	ErrNoFUSE     = errors.New("this machine has no FUSE")
	ErrPermission = errors.New("mounting is not permitted")
)

// View is a tree as it is shown.
type View struct {
	FS evidence.FS
	// Number gives the inode number that is shown: the same for the same inode on
	// every mount, another for each inode of all trees of the mount. Without it
	// an inode's handle is its number.
	Number func(evidence.Ino) uint64
}

// Tree is one tree of a mount.
type Tree struct {
	// Path leads to it from the mount point, one folder an element; none for a
	// tree that is the whole mount.
	Path []string
	// Open gives the tree. It is called once, when something first looks at it.
	Open func() (View, error)
}

// Options say how trees are mounted.
type Options struct {
	// Source is what the machine's list of mounts calls the evidence.
	Source string
	// Size is what statfs(2) gives as the size of the filesystem, in bytes.
	Size int64
	// AllowOther lets all users of the machine read the mount.
	AllowOther bool
	// Guard runs what reads one file. Its error, or panic, is a gap of that file;
	// path gives its place in the mount, and may be called in Guard alone.
	Guard func(path func() string, read func() error)
	// Mounted, if set, is called when the mount can be used.
	Mounted func()
	// Busy, if set, is called when the mount is to end and is still in use: it is
	// taken out of the tree, and its users get errors from then on.
	Busy func()
	// Kept, if set, is the connection to the process that mounts for this one.
	Kept *Kept
}

// Serve mounts trees at a folder and serves them until ctx ends, which unmounts
// them, or until someone else has unmounted them.
func Serve(ctx context.Context, folder string, trees []Tree, o Options) error {
	return serve(ctx, folder, trees, o)
}
