package ext4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/remains/remainstest"
	"lagan/internal/needs"
)

// deletions are the forms of filesystem and copy that TestRecovered goes through.
var deletions = []struct {
	name    string
	mkfs    []string
	mounted bool // copied while it was mounted
	again   bool // mounted a second time for the deletion
	most    int  // deleted files that need not be found whole
}{
	{"ext4-unmounted", []string{"-t", "ext4"}, false, false, 0},
	{"ext4-mounted", []string{"-t", "ext4"}, true, false, 0},
	{"ext4-remounted", []string{"-t", "ext4"}, false, true, 0},
	{"ext4-1k-nocsum", []string{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit"}, false, false, 0},
	{"ext3", []string{"-t", "ext3"}, false, false, 0},
}

// TestRecovered deletes 200 files a moment before the copy: all come back
// whole under their names, with the content that they had, and at least as many
// as extundelete and ext4magic bring back.
func TestRecovered(t *testing.T) {
	needs.Root(t, "a loop mount")
	needs.Tool(t, "mkfs.ext4")
	for _, d := range deletions {
		t.Run(d.name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(image, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(image, 96<<20); err != nil {
				t.Fatal(err)
			}
			sh(t, "mkfs.ext4", append(append([]string{"-q", "-F", "-E", "nodiscard"}, d.mkfs...), image)...)
			b, want := remainstest.DeleteMany(t, image, func() (string, func()) { return mounted(t, image, ",nodiscard") },
				[]int{0, 1, 59, 60, 100, 4095, 4096, 4097, 12 << 10, 49 << 10, 64<<10 + 3, 300 << 10}, remainstest.Copied{Mounted: d.mounted, Again: d.again})
			if err := os.WriteFile(image+".copy", b, 0o600); err != nil {
				t.Fatal(err)
			}
			whole := checkRecovered(t, b, want)
			if whole < len(want)-d.most {
				t.Errorf("%d of %d deleted files are whole", whole, len(want))
			}
			for _, r := range rivals {
				if r.program == "ext4magic" && d.name == "ext4-1k-nocsum" {
					continue // takes it half a minute
				}
				n := r.recover(t, image+".copy", want)
				t.Logf("whole: %d of %d; %s: %d", whole, len(want), r.program, n)
				if whole < n {
					t.Errorf("%d files whole, %s has %d", whole, r.program, n)
				}
			}
		})
	}
}

// checkRecovered counts the deleted files that are whole under their path; what
// is marked whole must have the content of the file.
func checkRecovered(t *testing.T, b []byte, want map[string]string) int {
	t.Helper()
	fs, err := Open(bytes.NewReader(b), int64(len(b)), evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	paths := dirPaths(t, fs)
	whole := 0
	for r, err := range fs.Recovered() {
		if err != nil {
			t.Fatal(err)
		}
		if r.Content == nil || len(r.Names) == 0 {
			continue
		}
		path := paths[r.Names[0].Dir] + r.Names[0].Name
		if want[path] == "" || r.State != evidence.ContentWhole {
			if r.State != evidence.ContentTimes || want[path] != "" {
				t.Logf("inode %d %q: %s, %s %s", r.Ino, path, r.State, r.Source, r.Note)
			}
			continue
		}
		h := sha256.New()
		if _, err := io.Copy(h, r.Content); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want[path] {
			t.Errorf("inode %d %q is marked whole and has %s, want %s (%s)", r.Ino, path, got, want[path], r.Source)
			continue
		}
		if r.Deleted.IsZero() && r.DeletedBy.IsZero() {
			t.Errorf("inode %d %q: no time of deletion", r.Ino, path)
		}
		whole++
	}
	return whole
}

func dirPaths(t *testing.T, fs *FS) map[evidence.Ino]string {
	t.Helper()
	paths := map[evidence.Ino]string{fs.Root(): ""}
	err := evidence.Walk(fs, fs.Root(), func(rel string, e evidence.Entry, info evidence.Info, err error) error {
		if err == nil && info.Type == evidence.TypeDir && rel != "" {
			paths[e.Ino] = rel + "/"
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// rivals are the programs that lagan is measured against, with their arguments
// before and behind the image. Each writes into the folder that it is started in.
var rivals = []rival{
	{"extundelete", []string{"--restore-all"}, nil},
	{"ext4magic", nil, []string{"-m", "-d", "."}},
}

type rival struct {
	program       string
	before, after []string
}

// recover returns how many files the rival brings back with their content; 0
// where it isn't there.
func (r rival) recover(t *testing.T, image string, want map[string]string) int {
	program, err := exec.LookPath(r.program)
	if err != nil {
		if needs.All() {
			t.Fatal("no ", r.program)
		}
		return 0
	}
	out := t.TempDir()
	cmd := exec.Command(program, slices.Concat(r.before, []string{image}, r.after)...)
	cmd.Dir, cmd.Stdin = out, strings.NewReader("y\n") // a dirty journal takes a word
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Logf("%s: %v: %s", r.program, err, bytes.TrimSpace(text[max(0, len(text)-200):]))
	}
	left := map[string]int{}
	for _, sum := range want {
		left[sum]++
	}
	n := 0
	filepath.WalkDir(out, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, _ := os.ReadFile(path)
			sum := sha256.Sum256(b)
			if h := hex.EncodeToString(sum[:]); left[h] > 0 {
				left[h]--
				n++
			}
		}
		return nil
	})
	return n
}
