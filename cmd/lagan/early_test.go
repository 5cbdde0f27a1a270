package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestEarlyWriter(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := newEarlyWriter(f)
	var want bytes.Buffer
	for i := range 5 {
		b := bytes.Repeat([]byte{byte(i)}, earlyBytes/2+i)
		want.Write(b)
		if n, err := w.Write(b); n != len(b) || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	if w.asked == 0 {
		t.Error("nothing was asked for")
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("the file is not what was written: %d bytes, %v", len(got), err)
	}
}
