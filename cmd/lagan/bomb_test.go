package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// bombDisk is a packed disk that unpacks to 1 TiB of zeros.
func bombDisk(t *testing.T) string { return zstdBomb(t, 1<<40) }

// layerBomb is a layer's tar whose first file is as it should be; of the second, 1 TiB
// of zeros follow.
func layerBomb(t *testing.T) string {
	var head bytes.Buffer
	z, err := zstd.NewWriter(&head)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	first := bytes.Repeat([]byte("a layer like others\n"), 1000)
	err = w.WriteHeader(&tar.Header{Name: "first", Mode: 0o644, Size: int64(len(first))})
	_, written := w.Write(first)
	if err := errors.Join(err, written, w.WriteHeader(&tar.Header{Name: "second", Mode: 0o644, Size: 1 << 40}), z.Close()); err != nil {
		t.Fatal(err)
	}
	path := zstdBomb(t, 1<<40)
	rest, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(head.Bytes(), rest...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// zstdBomb is a zstd frame of blocks of 128 KiB, each one byte that is repeated
// (RFC 8878, 3.1.1.2.2).
func zstdBomb(t *testing.T, size int64) string {
	const blockSize = 128 << 10
	blocks := size / blockSize
	path := filepath.Join(t.TempDir(), "bomb.img.zst")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	w.Write([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3}) // a window of 1 MiB
	var block [4]byte
	for i := range blocks {
		head := uint32(blockSize<<3 | 1<<1)
		if i == blocks-1 {
			head |= 1 // the last
		}
		binary.LittleEndian.PutUint32(block[:], head)
		block[3] = 0
		w.Write(block[:])
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// repeated is a file of a packed piece of zeros, times over: each packer's streams
// may follow each other.
func repeated(t *testing.T, times int, packer string, args ...string) string {
	const piece = 32 << 20
	cmd := exec.Command(needs.Tool(t, packer), args...)
	cmd.Stdin = io.LimitReader(zeros{}, piece)
	packed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bomb."+packer)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for range times {
		w.Write(packed)
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPackedBombs opens zeros without end in each packer's form, by every way to
// name evidence. Only bzip2 and zstd make 1 TiB a small file.
func TestPackedBombs(t *testing.T) {
	needs.Time(t)
	docker := fixtures.Disk(t, "docker-c8d")
	for packer, bomb := range map[string]string{
		"zstd": bombDisk(t), "bzip2": repeated(t, 1<<15, "bzip2"), "gzip": repeated(t, 1<<8, "gzip"),
		"xz": repeated(t, 1<<8, "xz", "-1"), "lz4": repeated(t, 1<<6, "lz4"),
	} {
		t.Run(packer, func(t *testing.T) {
			runTrapped(t, []string{"info", bomb}, "unpacking stopped")
			runTrapped(t, []string{"containers", docker, "--disk", bomb, "-O", "jsonl"}, "unpacking stopped")
		})
	}
}

// TestLayerBombs has a bomb in place of every blob of a layer, and runs what reads blobs.
func TestLayerBombs(t *testing.T) {
	needs.Time(t)
	needs.Tool(t, "debugfs")
	for name, bomb := range map[string]string{"zstd behind a valid head": layerBomb(t), "gzip": repeated(t, 128, "gzip")} {
		t.Run(name, func(t *testing.T) {
			const says = "as a bomb does"
			disk := withLayerBombs(t, bomb)
			out := t.TempDir()
			verdicts, said, code := separately(t, "verify", disk, "-O", "jsonl")
			if code != exitPartial || !strings.Contains(said, says) || !strings.Contains(verdicts, `"result":"changed","check":"blob"`) {
				t.Errorf("verify: exit %d: %s%s", code, verdicts, said)
			}
			runTrapped(t, []string{"verify", disk}, says)
			for _, args := range [][]string{{"ls", disk, "@image:web:1", "-R"}, {"history", disk, "web:1"}, {"timeline", disk, "-o", filepath.Join(out, "t")}, {"contents", disk}, {"recover", disk}} {
				runTrapped(t, args, "")
			}
			runTrapped(t, []string{"export", disk, "@image:web:1", "--format", "oci", "-o", filepath.Join(out, "oci")}, "")
		})
	}
}

// withLayerBombs is a disk of Docker's on containerd's store.
func withLayerBombs(t *testing.T, bomb string) string {
	content, err := os.ReadFile(fixtures.Disk(t, "docker-c8d"))
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(disk, content, 0o600); err != nil {
		t.Fatal(err)
	}
	listed, said, _ := separately(t, "contents", disk, "-O", "jsonl")
	var edit strings.Builder
	for line := range strings.Lines(listed) {
		var c struct {
			Path string
			Type string `json:"media_type"`
		}
		if json.Unmarshal([]byte(line), &c) == nil && strings.Contains(c.Type, "layer") || strings.Contains(c.Type, "diff.tar") {
			fmt.Fprintf(&edit, "rm %s\nwrite %s %[1]s\n", c.Path, bomb)
			break // one: the same on the disk many times over is no more of a trap
		}
	}
	if edit.Len() == 0 {
		t.Fatalf("no layer was found: %s", said)
	}
	cmd := exec.Command("debugfs", "-w", "-f", "-", disk)
	cmd.Stdin = strings.NewReader(edit.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("debugfs: %v: %s", err, out)
	}
	return disk
}

// bombArchive is a checkpoint whose images are 1 GiB of zeros each, packed.
func bombArchive(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "bomb.tar.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for _, name := range []string{"config.dump", "checkpoint/pstree.img"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: 1 << 30}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, 1<<30); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func manifestOf(t *testing.T, disk string) string {
	path := filepath.Join(t.TempDir(), "manifest")
	if err := os.WriteFile(path, []byte(disk+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// logBombs are logs of a container of which a reader would take too much: one
// line of 64 MiB, a JSON value as deep, a line that unpacks without end.
func logBombs(t *testing.T) map[string][]byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.CopyN(z, zeros{}, 256<<20); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	line := bytes.Repeat([]byte("x"), 16<<20)
	return map[string][]byte{
		"var/log/syslog":                                 line,
		"var/log/audit/audit.log":                        append([]byte("type=SYSCALL msg=audit(1700000000.123:42): a="), line...),
		"var/log/kubernetes/audit/a.log":                 bytes.Repeat([]byte("["), 1<<20),
		"var/log/auth.log.1.gz":                          packed.Bytes(),
		"root/.bash_history":                             line,
		"etc/crontab":                                    line,
		"var/log/nginx/access.log":                       line,
		"var/log/wtmp":                                   bytes.Repeat([]byte{0xff}, 384*1000),
		"var/log/containers/x_y_z-" + hostileID + ".log": line,
	}
}
