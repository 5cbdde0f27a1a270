package jbd2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/internal/needs"
)

// output runs a program and returns what it prints.
func output(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, b, stderr.Bytes())
	}
	return string(b)
}

// compareWithDebugfs replays an image's journal and compares every block with
// what journal_run of debugfs, which does nothing else, makes of a copy. It returns the log and how many blocks it replaced.
func compareWithDebugfs(t *testing.T, image string) *Log {
	t.Helper()
	dir := t.TempDir()
	journal, scratch := filepath.Join(dir, "journal"), filepath.Join(dir, "scratch")
	output(t, "", "debugfs", "-c", "-R", "dump <8> "+journal, image)
	own := map[int64]bool{}
	for _, b := range strings.Fields(output(t, "", "debugfs", "-c", "-R", "blocks <8>", image)) {
		n, err := strconv.ParseInt(b, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		own[n] = true
	}
	output(t, "", "cp", "--sparse=always", image, scratch)
	output(t, "", "debugfs", "-n", "-w", "-R", "journal_run", scratch)
	want, err := os.Open(scratch)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	disk, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	j, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	log, err := Read(bytes.NewReader(j), int64(len(j)), evidence.Options{Warn: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	compareDisks(t, log, log.Overlay(disk), want, own)
	return log
}

func compareDisks(t *testing.T, log *Log, got interface {
	ReadAt([]byte, int64) (int, error)
}, want *os.File, own map[int64]bool) {
	t.Helper()
	st, err := want.Stat()
	if err != nil {
		t.Fatal(err)
	}
	bs := int64(log.BlockSize)
	g, w := make([]byte, 64*bs), make([]byte, 64*bs)
	wrong := 0
	for off := int64(0); off < st.Size(); off += 64 * bs {
		n, _ := got.ReadAt(g, off)
		m, _ := want.ReadAt(w, off)
		if n != m {
			t.Fatalf("read %d of %d at %#x", n, m, off)
		}
		if off == 0 {
			// debugfs clears needs_recovery in the superblock and dates it.
			copy(g[1024:2048], w[1024:2048])
		}
		for b := int64(0); b*bs < int64(n); b++ {
			if !own[off/bs+b] && !bytes.Equal(g[b*bs:(b+1)*bs], w[b*bs:(b+1)*bs]) {
				if wrong++; wrong < 10 {
					t.Errorf("block %d differs from debugfs's", off/bs+b)
				}
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d blocks differ of %d replaced", wrong, log.Replaced)
	}
}

// TestDebugfs compares the replay of journals that debugfs wrote with its own.
func TestDebugfs(t *testing.T) {
	needs.Tool(t, "mkfs.ext4", "debugfs", "cp")
	for _, c := range []struct{ name, mkfs, open string }{
		{"plain", "-O ^metadata_csum,^64bit -b 1024", ""},
		{"64-bit", "-O ^metadata_csum,64bit -b 1024", ""},
		{"checksum v3", "-O metadata_csum,64bit -b 4096", "-c"},
		{"checksum v3, 32-bit", "-O metadata_csum,^64bit -b 1024", "-c"},
		{"checksum v2", "-O metadata_csum,^64bit -b 1024", "-c -v 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			image := filepath.Join(dir, "image")
			args := append(strings.Fields("mkfs.ext4 -q -F -J size=4 "+c.mkfs), image, "32M")
			output(t, "", args...)
			escaped := bytes.Repeat([]byte{7}, 4096*20)
			binary.BigEndian.PutUint32(escaped, magic)
			data := filepath.Join(dir, "data")
			if err := os.WriteFile(data, escaped, 0o600); err != nil {
				t.Fatal(err)
			}
			var script strings.Builder
			for i := range 40 {
				fmt.Fprintf(&script, "jo %s\njw -b %d,%d,%d %s\njw -b %d -r %d,%d %s\njc\n", c.open,
					5000+i*3, 5100+i, 5200, data, 5000+i%7, 5001+i, 5300, data)
			}
			output(t, script.String(), "debugfs", "-w", "-f", "/dev/stdin", image)
			log := compareWithDebugfs(t, image)
			if log.Replaced < 50 || log.Revoked == 0 {
				t.Errorf("%d blocks replaced, %d revoked", log.Replaced, log.Revoked)
			}
		})
	}
}

// TestCorpora compares the replay of the journals in e2fsprogs' own test images
// with debugfs's. Those whose journal is damaged it may refuse.
func TestCorpora(t *testing.T) {
	top := needs.Corpora(t)
	needs.Tool(t, "debugfs", "dumpe2fs", "gzip", "bzip2", "cp")
	packed, err := filepath.Glob(filepath.Join(top, "e2fsprogs", "j_*", "image.*z*"))
	if err != nil || len(packed) == 0 {
		t.Skip("no images of e2fsprogs")
	}
	replayed := 0
	for _, p := range packed {
		t.Run(filepath.Base(filepath.Dir(p)), func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			unpack := map[string]string{".gz": "gzip", ".bz2": "bzip2"}[filepath.Ext(p)]
			if unpack == "" {
				t.Skip("packed otherwise")
			}
			b, err := exec.Command(unpack, "-dc", p).Output()
			if err != nil {
				t.Skip(err)
			}
			if err := os.WriteFile(image, b, 0o600); err != nil {
				t.Fatal(err)
			}
			head, _ := exec.Command("dumpe2fs", "-h", image).Output()
			if !strings.Contains(string(head), "needs_recovery") || !strings.Contains(string(head), "Journal inode:            8") {
				t.Skip("nothing to replay")
			}
			if out, err := exec.Command("debugfs", "-n", "-w", "-R", "journal_run", copyOf(t, image)).CombinedOutput(); err != nil || strings.Contains(string(out), "journal_run:") {
				t.Skipf("debugfs refuses: %s", out)
			}
			log := compareWithDebugfs(t, image)
			t.Logf("%d transactions, %d blocks, %d revoked; %s", len(log.Transactions), log.Replaced, log.Revoked, log.Note)
			replayed++
		})
	}
	t.Logf("%d journals compared", replayed)
}

func copyOf(t *testing.T, image string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	output(t, "", "cp", image, to)
	return to
}
