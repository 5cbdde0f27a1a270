package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lagan/fixtures"
	"lagan/internal/needs"
)

var (
	syncCall   = regexp.MustCompile(`\b(?:fsync|fdatasync|syncfs)\(\d+<([^>]*)>\) += 0`)
	renameCall = regexp.MustCompile(`\brename(?:at2?)?\((?:AT_FDCWD[^,]*, )?"([^"]*)", (?:AT_FDCWD[^,]*, )?"([^"]*)".*\) += 0`)
)

// TestKeptBeforeNamed follows what writes folders and files call by call: all is
// synced before it gets its name, and the name afterwards; and where syncing
// fails, the command fails and leaves nothing.
func TestKeptBeforeNamed(t *testing.T) {
	needs.Tool(t, "strace")
	dir := t.TempDir()
	program, disk := builtProgram(t, dir), fixtures.Disk(t, "docker-ext4")
	for _, c := range []struct {
		name string
		call string // that keeps what is in it
		args []string
	}{
		{"a folder of many files", "syncfs", []string{"export", disk, "tomcat-prod", "--format", "dir", "--preserve"}},
		{"a folder of few", "fsync", []string{"bundle", disk, "tomcat-prod"}},
		{"an image", "fsync", []string{"export", disk, "feat", "--format", "oci"}},
		{"a file", "fsync", []string{"containers", disk}},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, trace := t.TempDir(), filepath.Join(dir, "trace")
			out := filepath.Join(base, "out")
			straced := func(more ...string) (int, string) {
				args := append([]string{"-f", "-qq", "-y", "-s", "4096", "-e", "signal=none", "-e", "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2", "-o", trace}, more...)
				cmd := exec.Command("strace", append(append(args, program), append(c.args, "-o", out)...)...)
				b, _ := cmd.CombinedOutput()
				if strings.Contains(string(b), "ptrace") {
					t.Skipf("no process can be traced here: %s", b)
				}
				return cmd.ProcessState.ExitCode(), string(b)
			}
			if code, text := straced(); code != exitOK && code != exitPartial {
				t.Fatalf("%d: %s", code, text)
			}
			checkKept(t, trace, out, c.call)
			if err := os.RemoveAll(out); err != nil {
				t.Fatal(err)
			}
			if code, text := straced("-e", "inject="+c.call+":error=EIO"); code != exitFailed || !strings.Contains(text, "input/output error") {
				t.Errorf("a disk that fails: %d: %s", code, text)
			}
			if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
		})
	}
}

// checkKept takes a trace to keep all that was written before the name, and the name.
func checkKept(t *testing.T, trace, out, call string) {
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	synced, tmp, named := map[string]bool{}, "", false
	for _, line := range calls(string(b)) {
		if m := syncCall.FindStringSubmatch(line); m != nil {
			synced[m[1]] = true
			named = named || tmp != "" && m[1] == filepath.Dir(out)
		}
		if m := renameCall.FindStringSubmatch(line); m != nil && m[2] == out {
			if tmp = m[1]; !synced[tmp] {
				t.Errorf("renamed before it was synced: %s", line)
			}
		}
	}
	if tmp == "" || !named {
		t.Fatalf("the name was given: %v, and kept: %v:\n%s", tmp != "", named, b)
	}
	if call == "syncfs" {
		return // of the whole filesystem
	}
	err = filepath.WalkDir(out, func(path string, _ os.DirEntry, err error) error {
		if was := tmp + strings.TrimPrefix(path, out); !synced[was] {
			t.Errorf("not synced: %s", was)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
