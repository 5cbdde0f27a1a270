package layers_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/evidence/packtest"
	"lagan/layers"
)

// splitLine is what tar-split writes: tar/storage/entry.go.
type splitLine struct {
	Type     int    `json:"type"`
	Name     string `json:"name,omitempty"`
	NameRaw  []byte `json:"name_raw,omitempty"`
	Size     int64  `json:"size,omitempty"`
	Payload  []byte `json:"payload"`
	Position int    `json:"position"`
}

// split takes a tar apart as tar-split does.
func split(tb testing.TB, b []byte) []splitLine {
	tb.Helper()
	var out []splitLine
	in := bytes.NewReader(b)
	r := tar.NewReader(struct{ io.Reader }{in})
	at := 0
	segment := func(end int) {
		out = append(out, splitLine{Type: 2, Payload: b[at:end], Position: len(out)})
		at = end
	}
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		start := len(b) - in.Len()
		segment(start)
		l := splitLine{Type: 1, Name: h.Name, Size: h.Size, Position: len(out)}
		if h.Size > 0 {
			content, err := io.ReadAll(r)
			if err != nil {
				tb.Fatal(err)
			}
			l.Payload = crc(content)
			at += len(content)
		}
		out = append(out, l)
	}
	segment(len(b))
	return out
}

func crc(b []byte) []byte {
	h := crc64.New(crc64.MakeTable(crc64.ISO))
	h.Write(b)
	return h.Sum(nil)
}

func splitFile(tb testing.TB, lines []splitLine) []byte {
	tb.Helper()
	var b bytes.Buffer
	for _, l := range lines {
		j, err := json.Marshal(l)
		if err != nil {
			tb.Fatal(err)
		}
		b.Write(append(j, '\n'))
	}
	return packed(tb, layers.Gzip, b.Bytes())
}

// layerTar is a small layer, and layerFolder what a runtime unpacks it to.
func layerTar(tb testing.TB) []byte {
	return packtest.Tar(tb, dir("etc"), file("etc/passwd", "root:x:0:0\n"), file("etc/shadow", "root:*:\n"), link(tar.TypeLink, "etc/passwd-", "etc/passwd"),
		link(tar.TypeSymlink, "bin", "usr/bin"), file("usr/bin/sh", "shell"), file("empty", ""), file(".wh.gone", ""), dir("o"), file("o/.wh..wh..opq", ""))
}

func layerFolder() *memfs.FS {
	f := memfs.New()
	made := func(n *memfs.Node, perm uint16) *memfs.Node {
		n.Info.Mtime, n.Info.Perm = epoch, perm
		return n
	}
	made(f.Dir("etc"), 0o755)
	f.Link("etc/passwd-", made(f.File("etc/passwd", "root:x:0:0\n"), 0o644))
	made(f.File("etc/shadow", "root:*:\n"), 0o644)
	made(f.Symlink("bin", "usr/bin"), 0o777)
	made(f.File("usr/bin/sh", "shell"), 0o644)
	made(f.File("empty", ""), 0o644)
	f.Device("gone", evidence.TypeChar, 0, 0)
	made(f.Dir("o"), 0o755).Set("trusted.overlay.opaque", "y")
	return f
}

func found(list []layers.Difference) []string {
	var out []string
	for _, d := range list {
		if d.Err != nil {
			out = append(out, "error "+d.Path)
			continue
		}
		out = append(out, fmt.Sprintf("%s %s %s", d.Kind, d.Path, d.Field))
	}
	return out
}

func TestCompare(t *testing.T) {
	bad := errors.New("bad sector")
	for _, c := range []struct {
		name   string
		change func(f *memfs.FS)
		o      layers.CompareOptions
		want   []string
	}{
		{"nothing", func(*memfs.FS) {}, layers.CompareOptions{}, nil},
		{"a content", func(f *memfs.FS) { f.At("etc/shadow").Data = []byte("root::::\n") }, layers.CompareOptions{}, []string{"modified /etc/shadow content"}},
		{"a content under two names", func(f *memfs.FS) { f.At("etc/passwd").Data = []byte("evil:x:0:0\n") }, layers.CompareOptions{}, []string{"modified /etc/passwd content"}},
		{"an attribute that can't be seen", func(f *memfs.FS) { delete(f.At("o").X, "trusted.overlay.opaque") }, layers.CompareOptions{NoTrusted: true}, nil},
		{"an opaque folder opened", func(f *memfs.FS) { delete(f.At("o").X, "trusted.overlay.opaque") }, layers.CompareOptions{}, []string{"modified /o opaque"}},
		{"labels", func(f *memfs.FS) {
			f.At("etc/shadow").Set("security.selinux", "system_u").Set("trusted.overlay.origin", "x")
		}, layers.CompareOptions{}, nil},
		{"owner", func(f *memfs.FS) { f.At("etc/shadow").Info.GID = 42 }, layers.CompareOptions{}, []string{"modified /etc/shadow owner"}},
		{"owners shifted", func(f *memfs.FS) { f.At("etc/shadow").Info.UID = 0 }, layers.CompareOptions{MapUID: shift}, []string{
			"modified /bin owner", "modified /empty owner", "modified /etc owner", "modified /etc/passwd owner", "modified /etc/shadow owner", "modified /o owner", "modified /usr/bin/sh owner"}},
		{"owners not known", func(*memfs.FS) {}, layers.CompareOptions{MapUID: func(uint32) (uint32, bool) { return 0, false }}, nil},
		{"a file that can't be read", func(f *memfs.FS) { f.At("etc/shadow").Err = bad }, layers.CompareOptions{}, []string{"error /etc/shadow"}},
		{"a folder inside itself", func(f *memfs.FS) { f.Link("etc/again", f.At("etc")) }, layers.CompareOptions{}, nil},
		{"whiteouts as fuse-overlayfs keeps them", func(f *memfs.FS) {
			n := f.At("")
			n.Entries = slices.DeleteFunc(n.Entries, func(e evidence.Entry) bool { return e.Name == "gone" })
			f.File(".wh.gone", "")
			delete(f.At("o").X, "trusted.overlay.opaque")
			f.File("o/.wh..wh..opq", "")
		}, layers.CompareOptions{}, nil},
		{"built here: nanoseconds throughout", func(f *memfs.FS) {
			for _, p := range []string{"etc", "etc/passwd", "etc/shadow", "bin", "usr/bin/sh", "empty", "o"} {
				f.At(p).Info.Mtime = epoch.Add(5)
			}
		}, layers.CompareOptions{}, nil},
		{"built here, and one time changed", func(f *memfs.FS) {
			for _, p := range []string{"etc", "etc/passwd", "etc/shadow", "bin", "usr/bin/sh", "empty", "o"} {
				f.At(p).Info.Mtime = epoch.Add(5)
			}
			f.At("empty").Info.Mtime = epoch.Add(time.Second)
		}, layers.CompareOptions{}, []string{"modified /empty mtime"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := layerFolder()
			c.change(f)
			whole := layerTar(t)
			got, err := layers.CompareTar(bytes.NewReader(whole), f, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "a folder inside itself" {
				if len(got.Differences) == 0 || len(got.Differences) > 100_000 {
					t.Errorf("%d differences", len(got.Differences))
				}
				return
			}
			if have := found(got.Differences); !slices.Equal(have, c.want) {
				t.Errorf("tar: have %q\nwant %q", have, c.want)
			}
			s, err := layers.CompareSplit(bytes.NewReader(splitFile(t, split(t, whole))), f, layers.DigestOf(whole), c.o)
			if err != nil {
				t.Fatal(err)
			}
			if have := found(s.Differences); !slices.Equal(have, c.want) {
				t.Errorf("tar-split: have %q\nwant %q", have, c.want)
			}
			table, err := layers.CompareTable(bytes.NewReader(tableOf(t, whole)), f, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if have := found(table.Differences); !slices.Equal(have, c.want) {
				t.Errorf("table: have %q\nwant %q", have, c.want)
			}
			content := strings.Contains(strings.Join(c.want, " "), "content") || strings.Contains(c.name, "can't be read")
			if s.Agree == content || (s.DiffID == layers.DigestOf(whole)) == content || s.Size != int64(len(whole)) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func shift(id uint32) (uint32, bool) { return id + 100_000, true }

// TestCompareValues: both values of what differs are told.
func TestCompareValues(t *testing.T) {
	f := layerFolder()
	f.At("etc/shadow").Data = []byte("root::::\n")
	got, err := layers.CompareTar(bytes.NewReader(layerTar(t)), f, layers.CompareOptions{})
	if err != nil || len(got.Differences) != 1 {
		t.Fatal(got, err)
	}
	if d := got.Differences[0]; d.Want != "8 bytes" || d.Got != "9 bytes" { // the inode's size disagrees with the content
		t.Errorf("%+v", d)
	}
	f = layerFolder()
	f.At("etc/shadow").Data = []byte("root:x:\n")
	got, err = layers.CompareTar(bytes.NewReader(layerTar(t)), f, layers.CompareOptions{})
	if err != nil || len(got.Differences) != 1 {
		t.Fatal(got, err)
	}
	if d := got.Differences[0]; d.Want != layers.DigestOf([]byte("root:*:\n")).String() || d.Got != layers.DigestOf([]byte("root:x:\n")).String() || d.Info.Inode == 0 {
		t.Errorf("%+v", d)
	}
}

// TestSplitChanged: whoever rewrites a tar-split is found out by the diff id.
func TestSplitChanged(t *testing.T) {
	whole := layerTar(t)
	want := layers.DigestOf(whole)
	compare := func(lines []splitLine) *layers.Split {
		t.Helper()
		s, err := layers.CompareSplit(bytes.NewReader(splitFile(t, lines)), layerFolder(), want, layers.CompareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	lines := split(t, whole)
	i := slices.IndexFunc(lines, func(l splitLine) bool { return l.Name == "etc/shadow" })
	lines[i].Payload = crc([]byte("other"))
	if s := compare(lines); s.DiffID != want || !slices.Equal(s.Checksums, []string{"/etc/shadow"}) || len(s.Differences) > 0 {
		t.Errorf("a checksum: %+v", s)
	}
	lines = split(t, whole)
	lines[i-1].Payload = bytes.Clone(lines[i-1].Payload)
	header := lines[i-1].Payload[len(lines[i-1].Payload)-512:]
	copy(header[100:], "0004755\x00") // the mode, and the header's own checksum
	sum := 0
	for k, b := range header {
		if k >= 148 && k < 156 {
			b = ' '
		}
		sum += int(b)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	if s := compare(lines); s.DiffID == want || !s.Agree || !slices.Equal(found(s.Differences), []string{"modified /etc/shadow mode"}) {
		t.Errorf("a header: %+v", s)
	}
	for name, b := range map[string][]byte{
		"no gzip":        []byte("tar-split"),
		"no JSON":        packed(t, layers.Gzip, []byte("{")),
		"another type":   packed(t, layers.Gzip, []byte("{\"type\":3}")),
		"negative":       packed(t, layers.Gzip, []byte("{\"type\":1,\"size\":-1}")),
		"cut":            splitFile(t, split(t, whole))[:200],
		"a header is no": splitFile(t, []splitLine{{Type: 2, Payload: bytes.Repeat([]byte("x"), 512)}}),
	} {
		s, err := layers.CompareSplit(bytes.NewReader(b), layerFolder(), want, layers.CompareOptions{})
		if !errors.Is(err, evidence.ErrCorrupt) || len(s.Differences) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	huge := splitFile(t, []splitLine{{Type: 1, Name: "a", Size: 1 << 60}})
	if _, err := layers.CompareSplit(bytes.NewReader(huge), layerFolder(), want, layers.CompareOptions{}); !errors.Is(err, evidence.ErrUnsupported) {
		t.Errorf("huge: %v", err)
	}
}

func TestParseManifest(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	m, err := layers.ParseManifest([]byte(`{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"digest":"` + digest + `"},"layers":[{"digest":"` + digest + `"}]}`))
	if err != nil || m.Config.String() != digest || len(m.Layers) != 1 {
		t.Errorf("%+v %v", m, err)
	}
	for s, want := range map[string]error{"{": evidence.ErrCorrupt, "{}": evidence.ErrUnsupported, `{"config":{"digest":"x"}}`: evidence.ErrCorrupt} {
		if _, err := layers.ParseManifest([]byte(s)); !errors.Is(err, want) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func FuzzCompareSplit(f *testing.F) {
	whole := layerTar(f)
	var plain bytes.Buffer
	for _, l := range split(f, whole) {
		j, err := json.Marshal(l)
		if err != nil {
			f.Fatal(err)
		}
		plain.Write(append(j, '\n'))
	}
	f.Add(plain.Bytes())
	folder := layerFolder()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := layers.CompareSplit(bytes.NewReader(packed(t, layers.Gzip, b)), folder, layers.DigestOf(whole), layers.CompareOptions{})
		if err != nil && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
			t.Fatal(err)
		}
		if err == nil && s.DiffID == layers.DigestOf(whole) && len(s.Differences) > 0 {
			t.Fatalf("the right tar, and %q", found(s.Differences))
		}
	})
}

func FuzzReadBlob(f *testing.F) {
	whole := layerTar(f)
	for _, kind := range []layers.Compression{layers.Uncompressed, layers.Gzip, layers.Zstd} {
		f.Add(packed(f, kind, whole))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := layers.ReadBlob(bytes.NewReader(b), layers.Digest{}, -1, func(r io.Reader) error {
			_, err := layers.CompareTar(r, memfs.New(), layers.CompareOptions{})
			return err
		})
		if err != nil && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
			t.Fatal(err)
		}
		if s.Size != int64(len(b)) || s.Digest != layers.DigestOf(b) {
			t.Fatalf("%+v", s)
		}
	})
}
