package analyzer

import (
	"strings"
	"testing"
	"time"

	"lagan/fixtures"
)

// slow is a disk each read of which takes its time.
type slow struct {
	faulty
	pause time.Duration
}

func (s *slow) ReadAt(p []byte, off int64) (int, error) {
	time.Sleep(s.pause)
	return s.faulty.ReadAt(p, off)
}

// TestTimeout gives up on a filesystem whose disk is too slow, and says so.
func TestTimeout(t *testing.T) {
	disk := &slow{faulty: faulty{data: fixtures.Unpack(t, "../evidence/btrfs/testdata/plain.img.zst"), at: -1}, pause: 5 * time.Millisecond}
	n, err := OpenImage(t.Context(), "disk", disk, Options{Timeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	said := false
	for _, g := range n.Gaps() {
		said = said || strings.Contains(g.Message, "given up after 1ms")
	}
	if !said {
		t.Errorf("no gap says that it was given up: %v", n.Gaps())
	}
	if disk.reads.Load() > 50 {
		t.Errorf("%d reads: the deadline stopped nothing", disk.reads.Load())
	}
}
