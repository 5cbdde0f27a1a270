//go:build !linux

package hostdir

import "lagan/evidence"

// FS is the tree below a folder. It has to be closed.
type FS = portable

// Open opens the folder at path, links in path itself being followed.
func Open(path string, o evidence.Options) (*FS, error) { return openPortable(path, o) }
