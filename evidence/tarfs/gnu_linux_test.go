package tarfs

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lagan/evidence"
)

// TestAgainstGNUTar reads each format that GNU tar writes and compares with the folder.
func TestAgainstGNUTar(t *testing.T) {
	dir := gnuTree(t, 40)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--format=gnu"}, {"--format=gnu", "--sparse"}, {"--format=oldgnu", "--sparse"}, {"--format=posix"}, {"--format=posix", "--sparse", "--sparse-version=0.0"},
		{"--format=posix", "--sparse", "--sparse-version=0.1"}, {"--format=posix", "--sparse", "--sparse-version=1.0"}, {"--format=gnu", "--incremental"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			f, warned := open(t, gnuTar(t, dir, append(args, "--sort=name", ".")...))
			if len(warned) > 0 {
				t.Errorf("warned of %q", warned)
			}
			seen := 0
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				name := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
				if err != nil || name == "" {
					return err
				}
				seen++
				return compare(t, f, name, path)
			})
			if err != nil || seen != 8 {
				t.Error(seen, err)
			}
		})
	}
}

// compare compares one inode with the file that it was made of.
func compare(t *testing.T, f *FS, name, path string) error {
	ino, err := evidence.Resolve(f, f.Root(), name, false)
	if err != nil {
		return err
	}
	have, err := f.Stat(ino)
	if err != nil {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return err
	}
	if have.Type != evidence.TypeOfMode(uint16(st.Mode)) || have.Perm != uint16(st.Mode&0o7777) || have.Size != st.Size ||
		have.Nlink != uint32(st.Nlink) || have.UID != st.Uid || have.Mtime.Unix() != st.Mtim.Sec {
		t.Errorf("%s: have %+v, want %+v", name, have, st)
	}
	if have.Type != evidence.TypeFile {
		return nil
	}
	want, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r, err := f.Open(ino)
	if err != nil {
		return err
	}
	content := make([]byte, len(want))
	if _, err := io.ReadFull(r, content); err != nil && len(want) > 0 || !bytes.Equal(content, want) {
		t.Errorf("%s: other content, %v", name, err)
	}
	p := make([]byte, 5000)
	for off := int64(0); off < st.Size; off += 999_983 { // back and forth
		at := st.Size - 1 - off
		if n, _ := r.ReadAt(p, at); !bytes.Equal(p[:n], want[at:min(at+5000, st.Size)]) {
			t.Errorf("%s: other content at %d", name, at)
		}
	}
	return nil
}
