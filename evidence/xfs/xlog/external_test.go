package xlog

import (
	"bytes"
	"io"
	"testing"

	"lagan/evidence"
)

// TestExternalLog replays logs from a device of their own, with the same result.
func TestExternalLog(t *testing.T) {
	for name, b := range crashes(t) {
		d, g, err := newCrashDisk(b)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Replay(d, d.size, g, nil)
		if err != nil {
			t.Fatal(err)
		}
		size := int64(g.LogBlocks) * int64(g.BlockSize)
		log := make([]byte, size)
		if _, err := d.ReadAt(log, d.start); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		device := evidence.Device{ReaderAt: bytes.NewReader(log), Size: size}
		if !HoldsLog(device, g.UUID) || HoldsLog(device, [16]byte{1}) || HoldsLog(evidence.Device{ReaderAt: d, Size: d.size}, g.UUID) {
			t.Errorf("%s: the log's device is not told from others", name)
		}
		g.LogStart = 0
		if r, err := Replay(d, d.size, g, nil); err != nil || r.State != evidence.JournalExternal {
			t.Errorf("%s: without its device: %+v, %v", name, r, err)
		}
		g.External = &device
		if dirty, _, err := Check(d, d.size, g); err != nil || !dirty {
			t.Errorf("%s: dirty %v, %v", name, dirty, err)
		}
		got, err := Replay(d, d.size, g, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Transactions != want.Transactions || got.Objects != want.Objects || got.Transactions == 0 {
			t.Errorf("%s: %d transactions of %d objects, want %d of %d", name, got.Transactions, got.Objects, want.Transactions, want.Objects)
		}
		x, y := make([]byte, 1<<20), make([]byte, 1<<20)
		for off := int64(0); off < d.size; off += 1 << 20 {
			n, _ := got.Image.ReadAt(x, off)
			m, _ := want.Image.ReadAt(y, off)
			if !bytes.Equal(x[:n], y[:m]) {
				t.Fatalf("%s: images differ at %#x", name, off)
			}
		}
	}
}
