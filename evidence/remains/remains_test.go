package remains

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"lagan/internal/needs"
)

func TestReader(t *testing.T) {
	disk := bytes.NewReader([]byte("0123456789abcdefghij"))
	for _, c := range []struct {
		name   string
		pieces []Piece
		size   int64
		want   string
		fails  bool
	}{
		{"nothing", nil, 4, "\x00\x00\x00\x00", false},
		{"in the order of the disk", []Piece{{0, 10, 3}, {3, 0, 2}}, 5, "abc01", false},
		{"out of order, with a hole", []Piece{{4, 0, 2}, {0, 16, 2}}, 6, "gh\x00\x0001", false},
		{"longer than the file", []Piece{{0, 0, 20}}, 3, "012", false},
		{"behind the disk", []Piece{{0, 18, 8}}, 8, "", true},
	} {
		b, err := io.ReadAll(NewReader(disk, c.pieces, c.size))
		if (err != nil) != c.fails || !c.fails && string(b) != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, b, err, c.want)
		}
	}
	if b := make([]byte, 2); func() error { _, err := NewReader(disk, []Piece{{0, 0, 4}}, 4).ReadAt(b, 2); return err }() != nil || string(b) != "23" {
		t.Errorf("from the middle: %q", b)
	}
}

func TestOverlay(t *testing.T) {
	over := make([]bool, 4)
	Overlay([]Claim{
		{10, 20, 1, &over[0]}, // the second had its last block later
		{19, 25, 2, &over[1]},
		{25, 30, 9, &over[2]}, // touches nothing
		{40, 50, 3, &over[3]}, // two pieces of one file
		{40, 45, 3, &over[3]},
	})
	if want := []bool{true, false, false, false}; !slices.Equal(over, want) {
		t.Errorf("overlaid %v, want %v", over, want)
	}
}

// TestOverlayIsBounded: a disk on which every deleted file claims the same blocks
// ends in time, and nothing of it stays unmarked past the bound.
func TestOverlayIsBounded(t *testing.T) {
	over := make([]bool, needs.Rounds(20_000, 4000))
	claims := make([]Claim, len(over))
	for i := range claims {
		claims[i] = Claim{0, 1 << 40, 7, &over[i]}
	}
	Overlay(claims)
	if n := len(over) - len(slices.DeleteFunc(over, func(b bool) bool { return b })); n < len(claims)-1 {
		t.Errorf("%d of %d are marked", n, len(claims))
	}
}
