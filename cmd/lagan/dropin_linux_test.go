package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// TestDropInMounts mounts as container-explorer and docker-explorer do: the
// command returns, and the mount stays until it is unmounted.
func TestDropInMounts(t *testing.T) {
	needs.FUSE(t)
	needs.Root(t, "mounting for others to unmount")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for _, name := range []string{"ce", "de.py"} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	disk, folder := fixtures.Disk(t, "docker-ext4"), t.TempDir()
	for _, c := range []struct{ line, file string }{
		{"ce --docker-managed --image-root DISK mount tomcat-prod DIR", "usr/local/tomcat/webapps/shell.war"},
		{"ce --namespace default -docker-managed --docker-root DISK mount tomcat-prod DIR", "usr/local/tomcat/webapps/shell.war"},
		{"ce -i DISK -e docker mount --all DIR", "b631c6c93f3a1485e99e5515072023616fdf8842d1e341c0fa4ea0faa269b27e/usr/local/tomcat/webapps/shell.war"},
		{"de.py -r DISK mount b631c6 DIR", "usr/local/tomcat/webapps/shell.war"},
	} {
		words := strings.Fields(strings.NewReplacer("DISK", disk, "DIR", folder).Replace(c.line))
		cmd := exec.Command(filepath.Join(bin, words[0]), words[1:]...)
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil { // which waits for all who hold its output
			t.Errorf("%s: %v: %s", c.line, err, out)
			continue
		}
		if info, err := os.Stat(filepath.Join(folder, c.file)); err != nil || info.Size() != 405 {
			t.Errorf("%s: after %v: %v", c.line, time.Since(began), err)
		}
		if err := unix.Unmount(folder, 0); err != nil {
			t.Errorf("%s: %v", c.line, err)
		}
	}
	out, err := exec.Command(filepath.Join(bin, "ce"), "-i", disk, "mount", "none-such", folder).CombinedOutput()
	if err == nil || !strings.Contains(string(out), `no such container: "none-such"`) {
		t.Errorf("no such container: %v: %s", err, out)
	}
}
