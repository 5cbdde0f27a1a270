// Package traces holds what the runtimes' packages share in telling what was
// removed: the times of files and folders that bound a life.
package traces

import (
	"time"

	"lagan/evidence"
)

// Modified is when a file of the node was written last: what it lacks was gone
// by then. Zero where there is no such file.
func Modified(fsys evidence.FS, node evidence.Ino, path string) time.Time {
	info, ok := stat(fsys, node, path, true)
	if !ok {
		return time.Time{}
	}
	return info.Mtime
}

// Born is when a file or folder was made, or where that isn't recorded when it was
// changed last: by then its owner existed.
func Born(fsys evidence.FS, node evidence.Ino, path string) time.Time {
	info, ok := stat(fsys, node, path, false)
	switch {
	case !ok:
		return time.Time{}
	case info.Btime.IsZero() || !info.Mtime.IsZero() && info.Mtime.Before(info.Btime):
		return info.Mtime // a copy keeps the time of change and is born later
	}
	return info.Btime
}

func stat(fsys evidence.FS, node evidence.Ino, path string, follow bool) (evidence.Info, bool) {
	ino, err := evidence.Resolve(fsys, node, path, follow)
	if err != nil {
		return evidence.Info{}, false
	}
	info, err := fsys.Stat(ino)
	return info, err == nil
}
