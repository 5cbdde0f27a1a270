package volume

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/internal/needs"
)

// f2fsImage has a superblock at each of the places.
func f2fsImage(places ...int64) []byte {
	b := make([]byte, 0x4000)
	for _, off := range places {
		s := b[off:]
		le := binary.LittleEndian
		le.PutUint32(s, f2fsMagic)
		le.PutUint32(s[f2fsLogBlock:], 12)
		le.PutUint64(s[f2fsBlocks:], 1000)
		copy(s[f2fsUUID:], "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef")
		copy(s[f2fsName:], "d\x00\xe4\x00\x00\x00x\x00")
		le.PutUint32(s[f2fsFeature:], 0x401)
	}
	return b
}

func TestF2FS(t *testing.T) {
	for _, places := range [][]int64{{0x400, 0x1400}, {0x1400}} {
		d := Describe(bytes.NewReader(f2fsImage(places...)), "f2fs")
		if d.Type != "f2fs" || d.UUID != "01234567-89ab-cdef-0123-456789abcdef" || d.Label != "dä" || d.Size != 4096000 || d.BlockSize != 4096 || !slices.Equal(d.Features, []string{"encrypt", "verity"}) {
			t.Errorf("%x: %+v", places, d)
		}
	}
	wrong := f2fsImage(0x400)
	wrong[0x400+f2fsLogBlock] = 99
	for _, b := range [][]byte{wrong, wrong[:0x500], nil, make([]byte, 0x4000)} {
		if d := Describe(bytes.NewReader(b), "f2fs"); d.Type != "" {
			t.Errorf("%d bytes: %+v", len(b), d)
		}
	}
}

// TestAgainstMkfsF2FS compares with what mkfs.f2fs was told and blkid reads.
func TestAgainstMkfsF2FS(t *testing.T) {
	needs.Tool(t, "mkfs.f2fs", "blkid")
	path := filepath.Join(t.TempDir(), "x.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(needs.Tool(t, "mkfs.f2fs"), "-q", "-l", "été", "-O", "extra_attr,inode_checksum,sb_checksum", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := Identify(f)
	d := Describe(f, name)
	uuid, err := exec.Command(needs.Tool(t, "blkid"), "-p", "-o", "value", "-s", "UUID", path).Output()
	if err != nil || name != "f2fs" || d.Label != "été" || d.UUID != strings.TrimSpace(string(uuid)) || d.Size != 64<<20 || !slices.Equal(d.Features, []string{"extra_attr", "inode_checksum", "sb_checksum"}) {
		t.Errorf("%s: %+v; blkid says %s, %v", name, d, uuid, err)
	}
}

func FuzzF2FS(f *testing.F) {
	f.Add(f2fsImage(0x400))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d := Describe(bytes.NewReader(b), "f2fs"); d.Size < 0 || len(d.Label) > 3*f2fsNameUnits {
			t.Errorf("%+v", d)
		}
	})
}
