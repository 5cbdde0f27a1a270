package analyzer

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/internal/needs"
)

// TestVerifyIntact: every image of every fixture is what its digests promise, or
// it is said that nothing is left to compare with.
func TestVerifyIntact(t *testing.T) {
	for name, unverifiable := range map[string]int{"docker-ext4": 0, "podman-ext4": 0, "podman-chunked5": 0, "eks-xfs": 7} {
		t.Run(name, func(t *testing.T) {
			n := openFixture(t, name, Options{})
			folders := 0
			for _, v := range verdicts(t, n, "") {
				switch {
				case v.Finding():
					t.Errorf("%+v", v)
				case v.Result == ResultUnverifiable && v.Check == CheckFolder:
					unverifiable--
				case v.Check == CheckFolder || v.Check == CheckTarSplit:
					folders++
				}
			}
			if unverifiable != 0 || folders == 0 {
				t.Errorf("%d more layers than expected with nothing left, %d compared", -unverifiable, folders)
			}
			noGaps(t, n)
		})
	}
}

func verdicts(t *testing.T, n *Node, image string) []Verdict {
	t.Helper()
	var images []*Image
	if image != "" {
		i, err := n.FindImage(image)
		if err != nil {
			t.Fatal(err)
		}
		images = []*Image{i}
	}
	var out []Verdict
	if err := n.Verify(t.Context(), images, func(v Verdict) error { out = append(out, v); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// tampered shows a tree with changes that nobody made on the disk.
type tampered struct {
	evidence.FS
	info   map[evidence.Ino]func(*evidence.Info)
	data   map[evidence.Ino]func([]byte) []byte
	target map[evidence.Ino]string
	xattrs map[evidence.Ino]func(map[string][]byte)
	names  map[evidence.Ino]map[string]evidence.Entry // of directories: a zero entry is gone
	made   *memfs.FS
}

// ofMade marks inodes of tampered.made.
const ofMade = 1 << 62

func newTampered(fsys evidence.FS) *tampered {
	return &tampered{FS: fsys, info: map[evidence.Ino]func(*evidence.Info){}, data: map[evidence.Ino]func([]byte) []byte{},
		target: map[evidence.Ino]string{}, xattrs: map[evidence.Ino]func(map[string][]byte){}, names: map[evidence.Ino]map[string]evidence.Entry{}, made: memfs.New()}
}

func (f *tampered) Stat(ino evidence.Ino) (evidence.Info, error) {
	if ino&ofMade != 0 {
		return f.made.Stat(ino &^ ofMade)
	}
	i, err := f.FS.Stat(ino)
	if c := f.info[ino]; c != nil {
		c(&i)
	}
	if c := f.data[ino]; c != nil {
		r, err := f.FS.Open(ino)
		if err != nil {
			return i, err
		}
		b, err := io.ReadAll(r)
		i.Size = int64(len(c(b)))
		return i, err
	}
	return i, err
}

func (f *tampered) ReadDir(ino evidence.Ino) iter.Seq2[evidence.Entry, error] {
	return func(yield func(evidence.Entry, error) bool) {
		changes := f.names[ino]
		for e, err := range f.FS.ReadDir(ino) {
			if _, ok := changes[e.Name]; ok && err == nil {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(changes)) {
			if e := changes[name]; e.Ino != 0 && !yield(e, nil) {
				return
			}
		}
	}
}

func (f *tampered) ReadLink(ino evidence.Ino) (string, error) {
	if ino&ofMade != 0 {
		return f.made.ReadLink(ino &^ ofMade)
	}
	if s, ok := f.target[ino]; ok {
		return s, nil
	}
	return f.FS.ReadLink(ino)
}

func (f *tampered) Xattrs(ino evidence.Ino) (map[string][]byte, error) {
	if ino&ofMade != 0 {
		return f.made.Xattrs(ino &^ ofMade)
	}
	x, err := f.FS.Xattrs(ino)
	if c := f.xattrs[ino]; c != nil {
		if x == nil {
			x = map[string][]byte{}
		}
		c(x)
	}
	return x, err
}

func (f *tampered) Open(ino evidence.Ino) (*io.SectionReader, error) {
	if ino&ofMade != 0 {
		return f.made.Open(ino &^ ofMade)
	}
	r, err := f.FS.Open(ino)
	if c := f.data[ino]; c != nil && err == nil {
		b, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		b = c(b)
		return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))), nil
	}
	return r, err
}

func (f *tampered) at(t *testing.T, path string) evidence.Ino {
	t.Helper()
	ino, err := evidence.Resolve(f.FS, f.Root(), path, false)
	if err != nil {
		t.Fatal(err)
	}
	return ino
}

// name puts e, zero for nothing, in the place of path.
func (f *tampered) name(t *testing.T, path string, e evidence.Entry) {
	dir, name := path[:strings.LastIndexByte(path, '/')], path[strings.LastIndexByte(path, '/')+1:]
	ino := f.at(t, dir)
	if f.names[ino] == nil {
		f.names[ino] = map[string]evidence.Entry{}
	}
	e.Name = name
	f.names[ino][name] = e
	f.info[ino] = func(i *evidence.Info) { i.Mtime = i.Mtime.Add(time.Hour) } // as the kernel would
}

func (f *tampered) add(t *testing.T, path string, n *memfs.Node) {
	f.name(t, path, evidence.Entry{Ino: n.Ino | ofMade, Type: n.Info.Type})
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		out := bytes.Clone(b)
		out[at%len(out)] ^= 1
		return out
	}
}

// tampering is one change, and what is to be named for it.
type tampering struct {
	name  string
	layer int // of features:1, from below
	path  string
	do    func(t *testing.T, f *tampered, path string)
	want  []string // "result path field"
}

var tamperings = []tampering{
	{"a byte, time kept", 0, "/bin/busybox", func(t *testing.T, f *tampered, p string) { f.data[f.at(t, p)] = flip(700_000) }, []string{"changed /bin/busybox content"}},
	{"content of the same size", 0, "/etc/passwd", func(t *testing.T, f *tampered, p string) {
		f.data[f.at(t, p)] = func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }
	}, []string{"changed /etc/passwd content"}},
	{"longer", 0, "/etc/passwd", func(t *testing.T, f *tampered, p string) {
		f.data[f.at(t, p)] = func(b []byte) []byte { return append(bytes.Clone(b), "evil::0:0::/:/bin/sh\n"...) }
	}, []string{"changed /etc/passwd size"}},
	{"emptied", 0, "/etc/group", func(t *testing.T, f *tampered, p string) { f.data[f.at(t, p)] = func([]byte) []byte { return nil } }, []string{"changed /etc/group size"}},
	{"mode", 0, "/bin/bash", func(t *testing.T, f *tampered, p string) {
		f.info[f.at(t, p)] = func(i *evidence.Info) { i.Perm = 0o4755 }
	}, []string{"changed /bin/bash mode"}},
	{"owner", 0, "/etc/shadow", func(t *testing.T, f *tampered, p string) {
		f.info[f.at(t, p)] = func(i *evidence.Info) { i.UID = 1000 }
	}, []string{"changed /etc/shadow owner"}},
	{"group", 0, "/etc/shadow", func(t *testing.T, f *tampered, p string) {
		f.info[f.at(t, p)] = func(i *evidence.Info) { i.GID = 4 }
	}, []string{"changed /etc/shadow owner"}},
	{"time of modification", 0, "/etc/os-release", func(t *testing.T, f *tampered, p string) {
		f.info[f.at(t, p)] = func(i *evidence.Info) { i.Mtime = i.Mtime.Add(time.Second) }
	}, []string{"changed /etc/os-release mtime"}},
	{"nanoseconds of a time", 0, "/etc/os-release", func(t *testing.T, f *tampered, p string) {
		f.info[f.at(t, p)] = func(i *evidence.Info) { i.Mtime = i.Mtime.Add(17) }
	}, []string{"changed /etc/os-release mtime"}},
	{"time of a folder", 0, "/etc/skel", func(t *testing.T, f *tampered, p string) {
		f.info[f.at(t, p)] = func(i *evidence.Info) { i.Mtime = i.Mtime.Add(-time.Hour) }
	}, []string{"changed /etc/skel mtime"}},
	{"a file added", 0, "/etc/ld.so.preload", func(t *testing.T, f *tampered, p string) { f.add(t, p, f.made.File("a", "/lib/evil.so")) }, []string{"added /etc/ld.so.preload file"}},
	{"a folder added", 0, "/opt/.x", func(t *testing.T, f *tampered, p string) { f.add(t, p, f.made.Dir("d")) }, []string{"added /opt/.x dir"}},
	{"a file removed", 0, "/etc/debian_version", func(t *testing.T, f *tampered, p string) { f.name(t, p, evidence.Entry{}) }, []string{"missing /etc/debian_version file"}},
	{"a folder removed", 0, "/etc/skel", func(t *testing.T, f *tampered, p string) { f.name(t, p, evidence.Entry{}) },
		[]string{"missing /etc/skel dir", "missing /etc/skel/.bashrc file"}},
	{"a symbolic link turned", 1, "/bin/cat", func(t *testing.T, f *tampered, p string) { f.target[f.at(t, p)] = "/tmp/evil" }, []string{"changed /bin/cat target"}},
	{"a file for a link", 1, "/bin/cat", func(t *testing.T, f *tampered, p string) { f.add(t, p, f.made.File("a", "x")) }, []string{"changed /bin/cat type"}},
	{"an attribute", 0, "/bin/bash", func(t *testing.T, f *tampered, p string) {
		f.xattrs[f.at(t, p)] = func(x map[string][]byte) {
			x["security.capability"] = []byte("\x01\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00")
		}
	}, []string{"changed /bin/bash xattr security.capability"}},
	{"a whiteout added", 0, "/bin/bash", func(t *testing.T, f *tampered, p string) {
		f.add(t, p, f.made.Device("w", evidence.TypeChar, 0, 0))
	}, []string{"changed /bin/bash type"}},
	{"a folder made opaque", 1, "/bin", func(t *testing.T, f *tampered, p string) {
		f.xattrs[f.at(t, p)] = func(x map[string][]byte) { x["trusted.overlay.opaque"] = []byte("y") }
	}, []string{"changed /bin opaque"}},
	{"a folder redirected", 1, "/bin", func(t *testing.T, f *tampered, p string) {
		f.xattrs[f.at(t, p)] = func(x map[string][]byte) { x["trusted.overlay.redirect"] = []byte("/tmp") }
	}, []string{"changed /bin xattr trusted.overlay.redirect"}},
	{"a hard link broken", 3, "/f/hard2", func(t *testing.T, f *tampered, p string) {
		n := f.made.File("a", "hard")
		i, err := f.Stat(f.at(t, p))
		if err != nil {
			t.Fatal(err)
		}
		n.Info.Mtime, n.Info.Perm = i.Mtime, i.Perm
		f.add(t, p, n)
	}, []string{"changed /f/hard2 link"}},
	{"a whiteout removed", 4, "/f/gone", func(t *testing.T, f *tampered, p string) { f.name(t, p, evidence.Entry{}) }, []string{"missing /f/gone whiteout"}},
	{"an opaque folder opened", 4, "/f/opq", func(t *testing.T, f *tampered, p string) {
		f.xattrs[f.at(t, p)] = func(x map[string][]byte) { delete(x, "trusted.overlay.opaque") }
	}, []string{"changed /f/opq opaque"}},
	{"a name that isn't UTF-8", 3, "/f/latin1-\xe9\xe8", func(t *testing.T, f *tampered, p string) { f.data[f.at(t, p)] = flip(0) }, []string{"changed /f/latin1-\xe9\xe8 content"}},
	{"a device added", 0, "/dev/.kmem", func(t *testing.T, f *tampered, p string) {
		f.add(t, p, f.made.Device("d", evidence.TypeBlock, 8, 0))
	}, []string{"added /dev/.kmem block"}},
	{"a FIFO removed", 3, "/f/fifo", func(t *testing.T, f *tampered, p string) { f.name(t, p, evidence.Entry{}) }, []string{"missing /f/fifo fifo"}},
}

// TestVerifyTampered changes one thing at a time of what each fixture shows, and
// takes exactly that to be named.
func TestVerifyTampered(t *testing.T) {
	needs.Time(t)
	for name, proven := range map[string]int{"docker-ext4": 6, "podman-ext4": 6, "eks-xfs": 2} {
		n := openFixture(t, name, Options{})
		clean := n.Tree
		dirs := map[int]string{}
		i, err := n.FindImage("features:1")
		if err != nil {
			t.Fatal(err)
		}
		for k, l := range i.Rootfs.Lower {
			dirs[len(i.Rootfs.Lower)-1-k] = l.Dir
		}
		for _, c := range tamperings {
			if c.layer >= proven {
				continue // its blob was discarded
			}
			t.Run(name+"/"+c.name, func(t *testing.T) {
				f := newTampered(clean)
				c.do(t, f, dirs[c.layer]+c.path)
				check(t, n, f, dirs[c.layer], c.want)
			})
		}
	}
}

// check verifies features:1 of a tree, and compares what is found below dir.
func check(t *testing.T, n *Node, f evidence.FS, dir string, want []string) {
	t.Helper()
	i, err := n.FindImage("features:1")
	if err != nil {
		t.Fatal(err)
	}
	i.store.Tree = f
	n.layerRoots = map[layerKey]layerRoot{}
	var have []string
	for _, v := range verdicts(t, n, "features:1") {
		switch {
		case v.Check == CheckImage && v.Result != ResultChanged:
			t.Errorf("the image is %s", v.Result)
		case v.Finding() && v.Check != CheckImage:
			have = append(have, strings.TrimSpace(fmt.Sprint(v.Result, " ", v.Path, " ", v.Field)))
			if v.Object != dir {
				t.Errorf("object %s, not %s", v.Object, dir)
			}
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("have %q\nwant %q", have, want)
	}
}

// TestVerifyObjects flips what a layer is compared with: the object is named, and
// no file of the layer.
func TestVerifyObjects(t *testing.T) {
	needs.Time(t)
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	for _, c := range []struct{ disk, object, want string }{
		{"docker-ext4", "tar-split cut", "changed  "},
		{"podman-ext4", "tar-split cut", "changed  "},
		{"eks-xfs", "blob cut", "changed  digest"},
		{"docker-ext4", "tar-split", "changed  "},
		{"docker-ext4", "config", "changed  digest"},
		{"podman-ext4", "tar-split", "changed  "},
		{"podman-ext4", "manifest", "changed  digest"},
		{"podman-ext4", "config", "changed  digest"},
		{"eks-xfs", "blob", "changed  digest"},
		{"eks-xfs", "manifest", "changed  digest"},
		{"eks-xfs", "config", "changed  digest"},
	} {
		t.Run(c.disk+"/"+c.object, func(t *testing.T) {
			n := openFixture(t, c.disk, Options{})
			i, err := n.FindImage("features:1")
			if err != nil {
				t.Fatal(err)
			}
			path := ""
			object, short := strings.CutSuffix(c.object, " cut")
			switch object {
			case "tar-split":
				path = i.Rootfs.Lower[2].TarSplit
			case "blob":
				path = i.Blobs[0].Path
			}
			for _, d := range i.Documents {
				if d.Kind == c.object {
					path = d.Path
				}
			}
			f := newTampered(n.Tree)
			f.data[f.at(t, path)] = flip(200)
			if short {
				f.data[f.at(t, path)] = cut
			}
			check(t, n, f, path, []string{strings.TrimSpace(c.want)})
		})
	}
}

// TestVerifyCopies: with its blob spoiled, a layer is still compared with another folder of it.
func TestVerifyCopies(t *testing.T) {
	n := openFixture(t, "eks-xfs", Options{})
	i, err := n.FindImage("features:1")
	if err != nil {
		t.Fatal(err)
	}
	f := newTampered(n.Tree)
	f.data[f.at(t, i.Blobs[0].Path)] = flip(200)
	dir := i.Rootfs.Lower[5].Dir
	f.info[f.at(t, dir+"/etc/shadow")] = func(i *evidence.Info) { i.Perm = 0o666 }
	i.store.Tree = f
	n.layerRoots = map[layerKey]layerRoot{}
	var have []string
	for _, v := range verdicts(t, n, "features:1") {
		if v.Finding() && v.Check != CheckImage {
			have = append(have, fmt.Sprint(v.Check, " ", v.Path, " ", v.Field, " ", v.Want, " ", v.Got))
		}
	}
	if len(have) != 2 || !strings.HasPrefix(have[0], "blob  digest") || have[1] != "copy /etc/shadow mode 0640 0666" {
		t.Errorf("%q", have)
	}
}

// TestVerifyCtime: where nothing is left to compare with, the kernel's time of an inode's change tells.
func TestVerifyCtime(t *testing.T) {
	n := openFixture(t, "eks-xfs", Options{})
	i, err := n.FindImage("features:1")
	if err != nil {
		t.Fatal(err)
	}
	dir := i.Rootfs.Lower[2].Dir
	f := newTampered(n.Tree)
	f.info[f.at(t, dir+"/f/gone")] = func(i *evidence.Info) { i.Ctime = i.Ctime.Add(time.Hour) }
	check(t, n, f, dir, []string{"changed /f/gone ctime"})
}
