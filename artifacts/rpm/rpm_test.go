package rpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/internal/sqlite"
)

// The files of testdata hold two packages that rpmbuild 4.18 made of specs of
// this project: rpmdb.sqlite as rpm --justdb wrote it, and the same headers in a
// hash that db5.3_load made. rpm said of them:
//
//	rpm -qa --qf '%{nevra} %{installtime} %{buildtime}\n'
var want = []string{
	"hello-1:1.0-1.noarch 1795767720 1795767719",
	"libssl-2:3.2.1-4.el9.noarch 1795767720 1795767720",
}

func unpacked(t testing.TB, name string) []byte {
	t.Helper()
	return fixtures.Unpack(t, filepath.Join("testdata", name))
}

func say(p *Package) string {
	return fmt.Sprintf("%s %d %d", p.NEVRA(), p.Installed.Unix(), p.Built.Unix())
}

// headers are the blobs of the SQLite database.
func headers(t testing.TB) [][]byte {
	t.Helper()
	db, err := sqlite.Open(bytes.NewReader(unpacked(t, "sqlite.gz")), nil, nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for r, err := range db.Rows("Packages") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, []byte(r.Text("blob")))
	}
	return out
}

func TestHeaders(t *testing.T) {
	var got []string
	for _, h := range headers(t) {
		p, err := ParseHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if p.Vendor != "Nobody" || p.Summary != "A package for a test" || !strings.HasSuffix(p.SourceRPM, ".src.rpm") {
			t.Errorf("%+v", p)
		}
		got = append(got, say(&p))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func all(t *testing.T, b []byte) []string {
	t.Helper()
	packages, err := Packages(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for p, err := range packages {
		if err != nil {
			if !errors.Is(err, evidence.ErrCorrupt) {
				t.Error(err)
			}
			got = append(got, "error")
			continue
		}
		got = append(got, say(&p))
	}
	slices.Sort(got)
	return got
}

func TestBerkeleyDB(t *testing.T) {
	b := unpacked(t, "bdb.gz")
	if got := all(t, b); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	// Pages that lead back to themselves, and a file that was cut.
	for n := 1; n < len(b)/4096; n++ {
		if b[n*4096+bdbType] == bdbOverflow {
			loop := bytes.Clone(b)
			binary.LittleEndian.PutUint32(loop[n*4096+bdbNextPage:], uint32(n))
			if got := all(t, loop); !slices.Contains(got, "error") {
				t.Errorf("page %d: %q", n, got)
			}
			break
		}
	}
	all(t, b[:len(b)/2])
}

// buildNDB writes blobs as rpmpkg.c does.
func buildNDB(blobs [][]byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, ndbSlotPage)
	for i, v := range []uint32{ndbMagic, ndbVersion, 7, 1, uint32(len(blobs) + 1)} {
		le.PutUint32(b[4*i:], v)
	}
	for at := ndbHeader; at < ndbSlotPage; at += ndbSlotSize {
		le.PutUint32(b[at:], ndbSlot)
	}
	for i, blob := range blobs {
		size := (ndbBlobHead + len(blob) + ndbBlobTail + ndbBlock - 1) / ndbBlock * ndbBlock
		slot := b[ndbHeader+i*ndbSlotSize:]
		le.PutUint32(slot[4:], uint32(i+1))
		le.PutUint32(slot[8:], uint32(len(b)/ndbBlock))
		le.PutUint32(slot[12:], uint32(size/ndbBlock))
		at := len(b)
		b = append(b, make([]byte, size)...)
		for k, v := range []uint32{ndbBlob, uint32(i + 1), 7, uint32(len(blob))} {
			le.PutUint32(b[at+4*k:], v)
		}
		copy(b[at+ndbBlobHead:], blob)
		tail := len(b) - ndbBlobTail
		for k, v := range []uint32{adler32.Checksum(b[at:tail]), uint32(len(blob)), ndbBlobEnd} {
			le.PutUint32(b[tail+4*k:], v)
		}
	}
	return b
}

func TestNDB(t *testing.T) {
	b := buildNDB(headers(t))
	if got := all(t, b); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for name, at := range map[string]int{"magic": 0, "length": 12, "a byte of the header": ndbBlobHead + 300} {
		bad := slices.Clone(b)
		bad[ndbSlotPage+at] ^= 1 // of the first blob
		if got := all(t, bad); len(got) != 2 || !slices.Contains(got, "error") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestOther(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 10_000), []byte("SQLite format 3\x00")} {
		if _, err := Packages(bytes.NewReader(b), int64(len(b))); !errors.Is(err, evidence.ErrFormat) {
			t.Error(err)
		}
	}
}

func FuzzPackages(f *testing.F) {
	f.Add(unpacked(f, "bdb.gz"))
	f.Add(buildNDB(headers(f)))
	f.Add(headers(f)[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseHeader(b)
		if err == nil && p.Name == "" {
			t.Error("no name")
		}
		for file, err := range p.Files() {
			if err == nil && file.Path == "" {
				t.Error("no path")
			}
		}
		packages, err := Packages(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for p, err := range packages {
			if err == nil && p.Name == "" {
				t.Error("no name")
			}
		}
	})
}

// TestFiles reads lists of files in both of rpm's forms, and with folders and texts missing.
func TestFiles(t *testing.T) {
	list := func(all ...string) []byte { return []byte(strings.Join(all, "\x00") + "\x00") }
	words := func(all ...uint32) []byte {
		var b []byte
		for _, n := range all {
			b = binary.BigEndian.AppendUint32(b, n)
		}
		return b
	}
	name := tagged{tagName, typeString, 1, list("p")}
	for _, c := range []struct {
		name    string
		entries []tagged
		want    string
	}{
		{"folders", []tagged{name, {tagBaseNames, typeStringArray, 2, list("ls", "a.conf")}, {tagDirNames, typeStringArray, 2, list("/usr/bin/", "/etc/")}, {tagDirIndexes, typeInt32, 2, words(0, 1)},
			{tagFileDigests, typeStringArray, 2, list("aa", "bb")}, {tagFileFlags, typeInt32, 2, words(0, 1)}}, "/usr/bin/ls aa false|/etc/a.conf bb true"},
		{"old", []tagged{name, {tagOldFileNames, typeStringArray, 1, list("/bin/sh")}}, "/bin/sh  false"},
		{"no folder", []tagged{name, {tagBaseNames, typeStringArray, 1, list("ls")}, {tagDirNames, typeStringArray, 1, list("/")}, {tagDirIndexes, typeInt32, 1, words(7)}}, "corrupt"},
		{"count of a liar", []tagged{name, {tagOldFileNames, typeStringArray, 1 << 31, list("/a")}}, "/a  false"},
		{"wrong type", []tagged{name, {tagBaseNames, typeInt32, 4, words(1, 2, 3, 4)}}, ""},
		{"none", []tagged{name}, ""},
	} {
		p, err := ParseHeader(headerOf(c.entries...))
		if err != nil {
			t.Fatal(c.name, err)
		}
		var got []string
		for f, err := range p.Files() {
			if errors.Is(err, evidence.ErrCorrupt) {
				got = append(got, "corrupt")
				continue
			}
			got = append(got, fmt.Sprintf("%s %s %v", f.Path, f.Digest, f.Config))
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s: %q, want %q", c.name, s, c.want)
		}
	}
}

type tagged struct {
	tag, typ, count uint32
	data            []byte
}

func headerOf(entries ...tagged) []byte {
	var index, data []byte
	for _, e := range entries {
		for len(data)%4 != 0 {
			data = append(data, 0)
		}
		for _, n := range []uint32{e.tag, e.typ, uint32(len(data)), e.count} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		data = append(data, e.data...)
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(len(entries)))
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	return append(append(out, index...), data...)
}
