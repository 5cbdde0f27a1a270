package durable

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFolder gives folders their names: what is in them, and what is in the way.
func TestFolder(t *testing.T) {
	for _, c := range []struct {
		name   string
		fill   func(root *os.Root) error
		there  func(path string) error
		failed bool
	}{
		{"empty", func(*os.Root) error { return nil }, nil, false},
		{"few", files(3, 0o600), nil, false},
		{"many", files(3*fewFiles, 0o600), nil, false},
		{"closed to its owner", files(3, 0), nil, false},
		{"deeper than a path is long", deep, nil, false},
		{"link to nothing", func(r *os.Root) error { return r.Symlink("/nowhere", "link") }, nil, false},
		{"an empty folder is there", files(3, 0o600), func(path string) error { return os.Mkdir(path, 0o700) }, false},
		{"a folder is there", files(3, 0o600), func(path string) error { return os.MkdirAll(path+"/old", 0o700) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			tmp, path := filepath.Join(dir, ".tmp"), filepath.Join(dir, "out")
			if err := os.Mkdir(tmp, 0o700); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(tmp)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if err := c.fill(root); err != nil {
				t.Fatal(err)
			}
			if c.there != nil {
				if err := c.there(path); err != nil {
					t.Fatal(err)
				}
			}
			err = Folder(tmp, path)
			_, old := os.Lstat(tmp)
			if (err != nil) != c.failed || (old == nil) != c.failed {
				t.Errorf("%v; the folder has its old name: %v", err, old == nil)
			}
			if c.failed {
				return
			}
			if st, err := os.Stat(path); err != nil || !st.IsDir() {
				t.Error(err)
			}
		})
	}
}

func files(n int, mode os.FileMode) func(*os.Root) error {
	return func(r *os.Root) error {
		for i := range n {
			if err := r.WriteFile(fmt.Sprint(i), []byte("x"), mode); err != nil {
				return err
			}
		}
		return nil
	}
}

func deep(r *os.Root) error {
	for range 20 {
		name := strings.Repeat("d", 250)
		if err := r.Mkdir(name, 0o700); err != nil {
			return err
		}
		in, err := r.OpenRoot(name)
		if err != nil {
			return err
		}
		defer in.Close()
		r = in
	}
	return r.WriteFile("file", []byte("x"), 0o600)
}
