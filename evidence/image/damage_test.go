package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"lagan/evidence"
	"lagan/evidence/image/imagetest"
)

// packed makes a container of a disk with the real tools and returns its path.
func packed(t *testing.T, form string, disk []byte) string {
	raw := imagetest.Write(t, "disk.raw", disk)
	out := filepath.Join(t.TempDir(), "disk")
	switch form {
	case "ewf":
		imagetest.Run(t, "ewfacquire", "-u", "-q", "-t", out, "-f", "encase6", "-c", "deflate:fast", raw)
		return out + ".E01"
	case "stream":
		imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, out)
	case "packed qcow2":
		imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, out)
	default:
		imagetest.Run(t, "qemu-img", "convert", "-f", "raw", "-O", form, raw, out)
	}
	return out
}

// TestCut cuts each kind of container at several places: what is read is right,
// what is lost is an error that says so, and some of it is read.
func TestCut(t *testing.T) {
	disk := imagetest.Disk(4 << 20)
	for i := range disk { // so that nothing is zeros, which need no place
		disk[i] ^= byte(i>>9) | 1
	}
	for _, form := range []string{"ewf", "stream", "qcow2", "packed qcow2", "vmdk", "vhdx", "vpc", "vdi"} {
		t.Run(form, func(t *testing.T) {
			path := packed(t, form, disk)
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, keep := range []int64{95, 70, 40} {
				if err := os.Truncate(path, st.Size()*keep/100); err != nil {
					t.Fatal(err)
				}
				cut(t, fmt.Sprintf("%d %% left", keep), path, disk, keep)
			}
		})
	}
}

func cut(t *testing.T, name, path string, disk []byte, keep int64) {
	t.Helper()
	warned := 0
	im, err := Open(context.Background(), path, Options{Warn: func(error) { warned++ }})
	if err != nil {
		if !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: not opened: %v", name, err)
		return
	}
	defer im.Close()
	read, lost, zero := 0, 0, 0
	b := make([]byte, 4096)
	for off := 0; off < len(disk); off += len(b) {
		n, err := im.ReadAt(b, int64(off))
		switch want := disk[off : off+len(b)]; {
		case n == len(b) && bytes.Equal(b, want):
			read++
		case n == len(b) && (err == nil || err == io.EOF) && allZero(b[common(b, want):]):
			zero++ // the end of the last cluster of a qcow2, which QEMU doesn't always write out
		case err == nil || !errors.Is(err, evidence.ErrCorrupt):
			t.Fatalf("%s: offset %#x: %d bytes, %v, or other ones", name, off, n, err)
		default:
			lost++
		}
	}
	blocks := len(disk) / 4096
	if filepath.Ext(path) == ".E01" && read*100 < int(keep-5)*blocks || keep == 95 && read*100 < 60*blocks || lost == 0 && read < blocks || zero > 16 {
		t.Errorf("%s: %d blocks read, %d lost, %d zeros", name, read, lost, zero)
	}
	if lost > 0 && warned == 0 {
		t.Logf("%s: %d blocks are lost, which their readers are told", name, lost)
	}
}

// common returns how many bytes are the same at the beginning of both.
func common(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// TestClaims opens small files that say that they are disks of terabytes, and
// reads at their ends: neither time nor memory goes by what they say.
func TestClaims(t *testing.T) {
	for form, size := range map[string]string{"qcow2": "200T", "vmdk": "4T", "vhdx": "60T", "vpc": "2000G", "vdi": "10T"} {
		t.Run(form, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			imagetest.Run(t, "qemu-img", "create", "-q", "-f", form, path, size)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			im, err := Open(context.Background(), path, Options{Warn: func(err error) { t.Error(err) }})
			if err != nil {
				t.Fatal(err)
			}
			defer im.Close()
			b := make([]byte, 1<<20)
			for _, off := range []int64{0, im.Size() / 2, im.Size() - int64(len(b))} {
				if n, err := im.ReadAt(b, off); n != len(b) || err != nil && err != io.EOF || !allZero(b) {
					t.Errorf("%d bytes at %#x, %v", n, off, err)
				}
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 || im.Size() < 1<<40 {
				t.Errorf("%d MiB were allocated for a disk of %#x", used>>20, im.Size())
			}
		})
	}
}
