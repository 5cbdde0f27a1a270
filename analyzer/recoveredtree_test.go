package analyzer

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
)

func deletedFile(ino uint64, path, content string, state evidence.ContentState) *RecoveredFile {
	f := &RecoveredFile{Volume: 1, Path: path}
	f.Ino, f.State, f.Source = evidence.Ino(ino), state, "journal, transaction 7"
	f.Info = evidence.Info{Inode: ino, Type: evidence.TypeFile, Perm: 0o4755, Size: int64(len(content))}
	if content != "" {
		f.Content = io.NewSectionReader(strings.NewReader(content), 0, int64(len(content)))
	}
	return f
}

// TestExtract writes deleted files whole and partly left, leaves out those of which
// only times are, and lets no name leave the folder.
func TestExtract(t *testing.T) {
	link := deletedFile(9, "/etc/link", "", evidence.ContentWhole)
	link.Info.Type, link.Target = evidence.TypeSymlink, "/etc/shadow"
	files := []*RecoveredFile{
		deletedFile(1, "/etc/whole", "whole", evidence.ContentWhole),
		deletedFile(2, "/etc/partly", "par\x00\x00\x00", evidence.ContentPartly),
		deletedFile(3, "/etc/times", "", evidence.ContentTimes),
		deletedFile(4, "/etc/whole", "another", evidence.ContentWhole),
		deletedFile(5, "", "nameless", evidence.ContentUnproven),
		deletedFile(6, "/../../up", "up", evidence.ContentWhole),
		deletedFile(7, "/etc/link/below", "below", evidence.ContentWhole), // a link that others lie below
		deletedFile(8, "/a\nb\x1b[31m\xff/c", "bytes", evidence.ContentWhole),
		link,
	}
	n := &Node{}
	tree := n.RecoveredTree(files)
	got := map[string]string{}
	err := evidence.Walk(tree.FS, tree.FS.Root(), func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		if err != nil || info.Type != evidence.TypeFile {
			return err
		}
		r, err := tree.FS.Open(e.Ino)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		got[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"etc/whole": "whole", "etc/whole (inode 4)": "another", "etc/partly": "par\x00\x00\x00", "nameless/volume-1/inode-5": "nameless",
		"etc/link/below": "below", "a\nb\x1b[31m\xff/c": "bytes"} {
		if got[name] != content {
			t.Errorf("%q: %q, want %q", name, got[name], content)
		}
		delete(got, name)
	}
	for name, content := range got { // the one that leads upwards
		if content != "up" || slices.Contains(strings.Split(name, "/"), "..") {
			t.Errorf("%q: %q", name, content)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	if err := n.ExportDir(context.Background(), tree, out, ExportOptions{Path: "/"}); err != nil {
		t.Fatal(err)
	}
	outside, err := os.ReadDir(filepath.Dir(out))
	if err != nil || len(outside) != 1 {
		t.Errorf("beside the folder: %v, %v", outside, err)
	}
	states := manifestStates(t, out)
	if states["whole"] < 5 || states["partly overwritten"] != 1 || states["unproven"] != 1 || states["times only"] != 0 {
		t.Errorf("the manifest has %v", states)
	}
	err = filepath.WalkDir(out, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type()&os.ModeSymlink != 0 {
			t.Errorf("%s is a symbolic link", path)
		}
		if info, failed := d.Info(); failed == nil && info.Mode()&os.ModeSetuid != 0 {
			t.Errorf("%s is setuid", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// manifestStates counts the states that an extraction's manifest tells.
func manifestStates(t *testing.T, out string) map[string]int {
	t.Helper()
	states := map[string]int{}
	names, _ := filepath.Glob(filepath.Join(out, "*.jsonl"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var r struct {
				Xattrs map[string][]byte `json:"xattrs"`
			}
			if json.Unmarshal([]byte(line), &r) == nil && r.Xattrs != nil {
				states[string(r.Xattrs["lagan.content"])]++
			}
		}
	}
	return states
}
