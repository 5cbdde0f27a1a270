package ext4

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/internal/needs"
)

// fixtureOffsets are where the filesystems begin on the disks of real nodes.
var fixtureOffsets = map[string]int64{"docker-ext4": 2048 * 512, "podman-ext4": 0}

// fixture opens the filesystem of a node.
func fixture(t testing.TB, name string) *FS {
	t.Helper()
	f, err := os.Open(fixtures.Disk(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	size := st.Size() - fixtureOffsets[name]
	fs, err := Open(io.NewSectionReader(f, fixtureOffsets[name], size), size, evidence.Options{Warn: func(err error) { t.Errorf("warning: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// TestFixtures compares whole nodes with what the kernel showed of them.
func TestFixtures(t *testing.T) {
	needs.Time(t)
	for name := range fixtureOffsets {
		t.Run(name, func(t *testing.T) {
			fs := fixture(t, name)
			var truth struct {
				NodeFS struct{ Files []nodeFile } `json:"node_fs"`
			}
			fixtures.Truth(t, name, &truth)
			if len(truth.NodeFS.Files) < 1000 {
				t.Fatalf("truth of %d files", len(truth.NodeFS.Files))
			}
			want := map[string]string{}
			for _, f := range truth.NodeFS.Files {
				want[f.Path] = f.String()
			}
			compare(t, want, nodeList(t, fs))
			crossCheck(t, fs)
		})
	}
}

// nodeFile is a record of the truth.
type nodeFile struct {
	Path   string            `json:"path"`
	Type   string            `json:"type"`
	Mode   string            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Mtime  int64             `json:"mtime_ns"`
	Size   int64             `json:"size"`
	SHA256 string            `json:"sha256"`
	Target string            `json:"target"`
	Rdev   []uint32          `json:"rdev"`
	Xattrs map[string]string `json:"xattrs_hex"`
}

// maxSummed bounds the files whose content is compared: a sparse one of 5 GiB takes too long.
const maxSummed = 64 << 20

func (f nodeFile) String() string {
	if f.Size > maxSummed {
		f.SHA256 = ""
	}
	return fmt.Sprint(f.Type, f.Mode, " ", f.UID, f.GID, f.Mtime, f.Size, f.SHA256, f.Target, f.Rdev, f.Xattrs)
}

// nodeList lists a filesystem in the words of the truth.
func nodeList(t *testing.T, fs *FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	letters := map[evidence.Type]string{evidence.TypeFile: "f", evidence.TypeDir: "d", evidence.TypeSymlink: "l",
		evidence.TypeChar: "c", evidence.TypeBlock: "b", evidence.TypeFIFO: "p", evidence.TypeSocket: "s"}
	evidence.Walk(fs, fs.Root(), func(path string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			t.Error(err)
			return nil
		}
		f := nodeFile{Type: letters[info.Type], Mode: fmt.Sprintf("%04o", info.Perm), UID: info.UID, GID: info.GID, Mtime: info.Mtime.UnixNano()}
		xattrs, failed := fs.Xattrs(e.Ino)
		for k, v := range xattrs {
			if f.Xattrs == nil {
				f.Xattrs = map[string]string{}
			}
			f.Xattrs[k] = hex.EncodeToString(v)
		}
		switch info.Type {
		case evidence.TypeFile:
			if f.Size = info.Size; f.Size <= maxSummed {
				f.SHA256, err = sum(fs, e.Ino)
			}
		case evidence.TypeSymlink:
			f.Target, err = fs.ReadLink(e.Ino)
		case evidence.TypeChar, evidence.TypeBlock:
			f.Rdev = []uint32{info.Major, info.Minor}
		}
		if err := errors.Join(err, failed); err != nil {
			t.Errorf("/%s: %v", path, err)
		}
		out["/"+escaped(path)] = f.String()
		return nil
	})
	return out
}

// escaped writes bytes that are no UTF-8 as the truth does.
func escaped(s string) string {
	var out []byte
	for i, r := range s {
		if r == 0xfffd && s[i] != 0xef {
			out = fmt.Appendf(out, `\x%02x`, s[i])
		} else {
			out = append(out, string(r)...)
		}
	}
	return string(out)
}
