package analyzer

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

// fiwalk is what The Sleuth Kit's fiwalk says of an image.
type fiwalk struct {
	Volume struct {
		Files []struct {
			Name      string `xml:"filename"`
			Kind      string `xml:"name_type"`
			Size      int64  `xml:"filesize"`
			Inode     uint64 `xml:"inode"`
			Mode      uint16 `xml:"mode"`
			Nlink     uint32 `xml:"nlink"`
			UID       uint32 `xml:"uid"`
			Mtime     string `xml:"mtime"`
			Allocated int    `xml:"alloc_name"`
			Digests   []struct {
				Type  string `xml:"type,attr"`
				Value string `xml:",chardata"`
			} `xml:"hashdigest"`
		} `xml:"fileobject"`
	} `xml:"volume"`
}

// corpora opens an image of another project's, or skips the test.
func corpora(t *testing.T, name string) *Node {
	t.Helper()
	n, err := Open(context.Background(), filepath.Join(needs.Corpora(t), name), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	for _, g := range n.Gaps() {
		t.Errorf("%s: %s", name, g)
	}
	return n
}

// TestAgainstFiwalk reads one filesystem out of four containers and compares with
// what fiwalk says of it.
func TestAgainstFiwalk(t *testing.T) {
	for _, image := range []string{"image.dd", "image.E01", "image.qcow", "image.vmdk"} {
		t.Run(image, func(t *testing.T) {
			n := corpora(t, "sleuthkit/data/"+image)
			b, err := os.ReadFile(filepath.Join(needs.Corpora(t), "sleuthkit/fiwalk/image_dd.xml"))
			if err != nil {
				t.Fatal(err)
			}
			var want fiwalk
			if err := xml.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			compared := 0
			for _, f := range want.Volume.Files {
				if f.Allocated != 1 || f.Name == "" || f.Name[0] == '$' || f.Name == ".." || f.Kind == "v" {
					continue
				}
				ino, err := evidence.Resolve(n.Tree, n.Tree.Root(), f.Name, false)
				if err != nil {
					t.Error(err)
					continue
				}
				i, err := n.Tree.Stat(ino)
				if err != nil || i.Size != f.Size || i.Inode != f.Inode || i.Perm != f.Mode&0o7777 || i.Nlink != f.Nlink || i.UID != f.UID || i.Mtime.Format(time.RFC3339) != f.Mtime {
					t.Errorf("%+v, %v; want %+v", i, err, f)
				}
				compared++
				if i.Type != evidence.TypeFile {
					continue
				}
				r, err := n.Tree.Open(ino)
				if err != nil {
					t.Error(err)
					continue
				}
				sum := md5.New()
				io.Copy(sum, r)
				for _, d := range f.Digests {
					if d.Type == "md5" && d.Value != hex.EncodeToString(sum.Sum(nil)) {
						t.Errorf("%s: another MD5", f.Name)
					}
				}
			}
			if compared < 5 {
				t.Errorf("only %d files were compared", compared)
			}
		})
	}
}

// TestAgainstDfvfs reads the filesystem that dfvfs's tests have in several
// containers, and compares with what these tests expect of it.
func TestAgainstDfvfs(t *testing.T) {
	for _, image := range []string{"ext2.E01", "ext2.qcow2", "ext2.vmdk"} {
		t.Run(image, func(t *testing.T) {
			n := corpora(t, "dfvfs/"+image)
			want, err := os.ReadFile(filepath.Join(needs.Corpora(t), "dfvfs/another_file"))
			if err != nil {
				t.Fatal(err)
			}
			if b, err := evidence.ReadFile(n.Tree, n.Tree.Root(), "a_directory/another_file", 1<<10); string(b) != string(want) {
				t.Errorf("another_file is %q, %v", b, err)
			}
			for name, inode := range map[string]uint64{"a_directory": 12, "passwords.txt": 14, "a_directory/another_file": 15} {
				ino, err := evidence.Resolve(n.Tree, n.Tree.Root(), name, false)
				if err != nil {
					t.Error(err)
					continue
				}
				if i, err := n.Tree.Stat(ino); err != nil || i.Inode != inode {
					t.Errorf("%s is inode %d, %v; want %d", name, i.Inode, err, inode)
				}
			}
			if h, err := n.Hash(t.Context(), n.Evidence[0]); err != nil || h.MD5 != "196066add11fb71c4c49cf1bb50d6d24" { // as ext2.E01 stores it
				t.Errorf("%+v, %v", h, err)
			}
		})
	}
}
