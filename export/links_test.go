package export

import (
	"strings"
	"testing"

	"lagan/evidence"
)

// TestLinksBounded fills the table of hard links: it says so once, and what it knows stays known.
func TestLinksBounded(t *testing.T) {
	told := 0
	o := &Options{Guard: func(_ string, read func() error) {
		if read() != nil {
			told++
		}
	}}
	var l links
	info := evidence.Info{Type: evidence.TypeFile, Nlink: 2}
	path := strings.Repeat("p", 1<<20)
	for i := range evidence.Ino(100) {
		if first := l.of(item{path: path, ino: i, info: info}, o); first != "" {
			t.Fatalf("inode %d was never seen and is a link", i)
		}
	}
	if told != 1 || len(l.first) >= 64 {
		t.Errorf("told %d times, %d paths kept", told, len(l.first))
	}
	if l.of(item{path: "b", ino: 0, info: info}, o) != path || l.of(item{path: "b", ino: 99, info: info}, o) != "" {
		t.Error("what was kept isn't known any more, or what wasn't is")
	}
}
