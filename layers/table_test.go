package layers_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/layers"
)

// tableEntry is what containers/storage writes: pkg/chunked/internal, FileMetadata.
type tableEntry struct {
	Type     string            `json:"type"`
	Name     string            `json:"name"`
	Linkname string            `json:"linkName,omitempty"`
	Mode     int64             `json:"mode,omitempty"`
	Size     int64             `json:"size,omitempty"`
	UID      int               `json:"uid,omitempty"`
	GID      int               `json:"gid,omitempty"`
	ModTime  time.Time         `json:"modtime"`
	Xattrs   map[string][]byte `json:"xattrs,omitempty"`
	Digest   string            `json:"digest,omitempty"`
}

// tableOf is the table of contents of a tar.
func tableOf(tb testing.TB, whole []byte) []byte {
	tb.Helper()
	types := map[byte]string{tar.TypeReg: "reg", tar.TypeDir: "dir", tar.TypeLink: "hardlink", tar.TypeSymlink: "symlink"}
	var entries []tableEntry
	for r := tar.NewReader(bytes.NewReader(whole)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		e := tableEntry{Type: types[h.Typeflag], Name: h.Name, Linkname: h.Linkname, Mode: h.Mode, Size: h.Size, UID: h.Uid, GID: h.Gid, ModTime: h.ModTime}
		if h.Size > 0 {
			b, err := io.ReadAll(r)
			if err != nil {
				tb.Fatal(err)
			}
			e.Digest = layers.DigestOf(b).String()
		}
		entries = append(entries, e)
		if h.Size > 6 {
			entries = append(entries, tableEntry{Type: "chunk", Name: h.Name})
		}
	}
	b, err := json.Marshal(map[string]any{"version": 1, "entries": entries, "tarSplitDigest": "sha256:00"})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestTablePulled: what pulling file by file loses is allowed for, and nothing more.
func TestTablePulled(t *testing.T) {
	table := bytes.ReplaceAll(tableOf(t, layerTar(t)), []byte(`"name":"etc/shadow"`), []byte(`"uid":7,"name":"etc/shadow"`))
	made := []string{"etc", "etc/passwd", "etc/shadow", "bin", "usr/bin/sh", "empty", "o"}
	pulled := epoch.Add(time.Hour)
	now := layers.CompareOptions{Pulled: pulled}
	before := layers.CompareOptions{Pulled: pulled, Lost: true}
	for _, c := range []struct {
		name   string
		o      layers.CompareOptions
		change func(f *memfs.FS)
		want   string
	}{
		{"not pulled", layers.CompareOptions{}, func(f *memfs.FS) { f.At("etc/shadow").Info.UID = 7 },
			"modified /bin mtime; modified /empty mtime; modified /etc mtime; modified /etc/passwd mtime; modified /etc/shadow mtime; modified /o mtime; modified /usr/bin/sh mtime"},
		{"directories and links", now, func(f *memfs.FS) {
			for _, p := range made {
				if f.At(p).Info.Type == evidence.TypeFile {
					f.At(p).Info.Mtime = epoch
				}
			}
			f.At("etc/shadow").Info.UID = 7
		}, ""},
		{"files", now, func(f *memfs.FS) { f.At("etc/shadow").Info.UID = 7 },
			"modified /empty mtime; modified /etc/passwd mtime; modified /etc/shadow mtime; modified /usr/bin/sh mtime"},
		{"files and owners", before, func(*memfs.FS) {}, ""},
		{"a directory later", before, func(f *memfs.FS) { f.At("etc").Info.Mtime = pulled.Add(1) }, "modified /etc mtime"},
		{"a file long before", before, func(f *memfs.FS) { f.At("empty").Info.Mtime = pulled.Add(-25 * time.Hour) }, "modified /empty mtime"},
		{"a time was set", before, func(f *memfs.FS) { f.At("bin").Info.Mtime = epoch }, "modified /etc/shadow owner"},
		{"another owner", before, func(f *memfs.FS) { f.At("etc/shadow").Info.UID = 8 }, "modified /etc/shadow owner"},
		{"a mode", before, func(f *memfs.FS) { f.At("etc/shadow").Info.Perm = 0o666 }, "modified /etc/shadow mode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := layerFolder()
			for _, p := range made {
				f.At(p).Info.Mtime = pulled.Add(-time.Second)
			}
			c.change(f)
			got, err := layers.CompareTable(bytes.NewReader(table), f, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if have := strings.Join(found(got.Differences), "; "); have != c.want {
				t.Errorf("have %q\nwant %q", have, c.want)
			}
		})
	}
}

// TestTableXattrs: attributes, devices and pipes are in a table too.
func TestTableXattrs(t *testing.T) {
	table := `{"entries":[{"type":"char","name":"null","mode":438,"devMajor":1,"devMinor":3},{"type":"fifo","name":"pipe","mode":420},
		{"type":"reg","name":"ping","mode":493,"xattrs":{"security.capability":"AQID"}}]}`
	f := memfs.New()
	f.Device("null", evidence.TypeChar, 1, 5).Info.Perm = 0o666
	f.Device("pipe", evidence.TypeFIFO, 0, 0).Info.Perm = 0o644
	f.File("ping", "").Set("security.capability", "\x01\x02\x04").Info.Perm = 0o755
	for _, p := range []string{"null", "pipe", "ping"} {
		f.At(p).Info.Mtime = epoch
	}
	got, err := layers.CompareTable(strings.NewReader(table), f, layers.CompareOptions{Pulled: epoch, Lost: true})
	if err != nil {
		t.Fatal(err)
	}
	if have := found(got.Differences); !slices.Equal(have, []string{"modified /null device", "modified /ping xattr security.capability"}) || got.Entries != 3 {
		t.Errorf("%d entries: %q", got.Entries, have)
	}
}

// TestTableStargz: eStargz adds files that nobody unpacks, and leaves out the epoch.
func TestTableStargz(t *testing.T) {
	table := `{"version":1,"entries":[{"name":".no.prefetch.landmark","type":"reg","size":1,"digest":"` + layers.DigestOf([]byte{0xf}).String() + `"},
		{"name":"a","type":"reg","size":1,"mode":420,"digest":"` + layers.DigestOf([]byte("a")).String() + `","chunkDigest":"sha256:00"},{"name":"b","type":"reg","mode":420,"modtime":"2024-05-06T07:08:09Z"}]}`
	f := memfs.New()
	for name, content := range map[string]string{"a": "a", "b": ""} {
		f.File(name, content).Info.Perm = 0o644
		f.At(name).Info.Mtime = epoch.Add(time.Hour)
	}
	got, err := layers.CompareTable(strings.NewReader(table), f, layers.CompareOptions{Pulled: epoch.Add(time.Hour)})
	if err != nil || !slices.Equal(found(got.Differences), []string{"modified /b mtime"}) {
		t.Errorf("%q, %v", found(got.Differences), err)
	}
	f.File(".no.prefetch.landmark", "\x0f").Info.Perm = 0o755 // as zstd:chunked would unpack it
	got, err = layers.CompareTable(strings.NewReader(table), f, layers.CompareOptions{Pulled: epoch.Add(time.Hour)})
	if err != nil || !slices.Equal(found(got.Differences), []string{"modified /.no.prefetch.landmark mode", "modified /b mtime"}) {
		t.Errorf("%q, %v", found(got.Differences), err)
	}
}

func TestTableErrors(t *testing.T) {
	for name, c := range map[string]struct {
		table string
		want  error
	}{
		"nothing":            {"", evidence.ErrCorrupt},
		"no object":          {"[]", evidence.ErrCorrupt},
		"no entries":         {`{"version":1}`, evidence.ErrCorrupt},
		"no list":            {`{"entries":{}}`, evidence.ErrCorrupt},
		"two lists":          {`{"entries":[],"entries":[]}`, evidence.ErrCorrupt},
		"cut":                {`{"entries":[{"type":"dir","name":"a"}`, evidence.ErrCorrupt},
		"cut behind":         {`{"entries":[]`, evidence.ErrCorrupt},
		"no name of a type":  {`{"entries":[{"type":"door","name":"a"}]}`, evidence.ErrUnsupported},
		"no digest":          {`{"entries":[{"type":"reg","name":"a","size":1}]}`, evidence.ErrCorrupt},
		"a link to nothing":  {`{"entries":[{"type":"hardlink","name":"a","linkName":"b"}]}`, evidence.ErrCorrupt},
		"not base64":         {`{"entries":[{"type":"reg","name":"a","xattrs":{"user.a":"!"}}]}`, evidence.ErrCorrupt},
		"a table of no end":  {`{"version":"` + strings.Repeat("x", 64<<20), evidence.ErrUnsupported},
		"entries of a whole": {`{"entries":[7]}`, evidence.ErrCorrupt},
	} {
		got, err := layers.CompareTable(strings.NewReader(c.table), layerFolder(), layers.CompareOptions{})
		if !errors.Is(err, c.want) || len(got.Differences) > 0 {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
}

func FuzzCompareTable(f *testing.F) {
	f.Add(tableOf(f, layerTar(f)))
	f.Add([]byte(`{"entries":[{"type":"char","name":"a/../b","devMajor":1},{"type":"reg","name":".wh.c"},{"type":"reg","name":"o/.wh..wh..opq"},{"type":"symlink","name":"l","linkName":"l"},{"type":"hardlink","name":"l/m","linkName":"l"}]}`))
	folder := layerFolder()
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := layers.CompareTable(bytes.NewReader(b), folder, layers.CompareOptions{Pulled: epoch.Add(time.Hour), Lost: len(b)%2 == 0})
		if err != nil && !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
			t.Fatal(err)
		}
		if err != nil && got.Differences != nil {
			t.Fatal(fmt.Sprint("an error, and ", found(got.Differences)))
		}
	})
}
