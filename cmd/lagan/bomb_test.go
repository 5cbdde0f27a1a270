package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// bombDisk is a packed disk that unpacks to 1 TiB of zeros: a zstd frame of
// blocks of 128 KiB, each one byte that is repeated (RFC 8878, 3.1.1.2.2).
func bombDisk(t *testing.T) string {
	const blockSize, blocks = 128 << 10, 8 << 20
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
