package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// mountProcess is a mount that is served by processes of its own.
type mountProcess struct {
	cmd    *exec.Cmd
	folder string
	said   *bytes.Buffer // complete once it has ended
	copied chan struct{}
}

// startMount starts a mount and returns when it can be used.
func startMount(t *testing.T, evidence, tree string, flags ...string) *mountProcess {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	cmd := exec.Command(exe, append([]string{"mount", evidence, tree, folder}, flags...)...)
	cmd.Args[0] = "lagan"
	cmd.Env = append(os.Environ(), tellMisbehaving+"=1")
	return awaitMount(t, cmd, folder)
}

// awaitMount starts a command that mounts, and returns when the mount can be used.
func awaitMount(t *testing.T, cmd *exec.Cmd, folder string) *mountProcess {
	t.Helper()
	m := &mountProcess{cmd: cmd, folder: folder, said: &bytes.Buffer{}, copied: make(chan struct{})}
	errs, err := m.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.cmd.Process.Kill()
		unix.Unmount(m.folder, unix.MNT_DETACH)
	})
	lines := bufio.NewReader(errs)
	for {
		line, err := lines.ReadString('\n')
		m.said.WriteString(line)
		if strings.Contains(line, "mounted at") {
			break
		}
		if err != nil {
			t.Fatalf("no mount: %s", m.said)
		}
	}
	go func() {
		io.Copy(m.said, lines)
		close(m.copied)
	}()
	return m
}

// end waits for the end, and returns what was said and the exit status.
func (m *mountProcess) end() (said string, code int) {
	<-m.copied
	m.cmd.Wait()
	return m.said.String(), m.cmd.ProcessState.ExitCode()
}

// server returns the process that serves the mount: the child of the one that was started.
func (m *mountProcess) server(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.cmd.Process.Pid))
	pid := 0
	if fmt.Sscan(string(b), &pid); pid == 0 {
		all, _ := filepath.Glob("/proc/[0-9]*/stat") // a kernel without that file
		for _, f := range all {
			var ppid int
			b, _ := os.ReadFile(f)
			_, after, _ := strings.Cut(string(b), ") ")
			if fmt.Sscanf(after[min(len(after), 2):], "%d", &ppid); ppid == m.cmd.Process.Pid {
				fmt.Sscan(string(b), &pid)
			}
		}
	}
	if pid == 0 {
		t.Fatalf("no process serves the mount: %v", err)
	}
	return pid
}

func (m *mountProcess) mounted() bool {
	table, _ := os.ReadFile("/proc/self/mounts")
	return bytes.Contains(table, []byte(" "+m.folder+" "))
}

// TestMountConfined has decoders try to escape when a mount's evidence is opened
// and when a mounted file is.
func TestMountConfined(t *testing.T) {
	needs.FUSE(t)
	needs.Root(t, "unmounting")
	m := startMount(t, fixtures.Disk(t, "docker-ext4"), "tomcat-prod", "--disk", badDisk(t, "MAGIC-ESCAPE"))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.server(t)))
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1") || !strings.Contains(string(status), "Seccomp:\t2") {
		t.Errorf("the process that serves the mount is not confined: %v %s", err, status)
	}
	if err := unix.Unmount(m.folder, 0); err != nil {
		t.Fatal(err)
	}
	if said, code := m.end(); !strings.Contains(said, "tried to escape: []") || code != exitPartial {
		t.Errorf("exit %d: %s", code, said)
	}

	m = startMount(t, badDisk(t, magicMounted), "@node")
	if b, err := os.ReadFile(filepath.Join(m.folder, "file")); err == nil {
		t.Errorf("read %q", b)
	}
	if err := unix.Unmount(m.folder, 0); err != nil {
		t.Fatal(err)
	}
	if said, code := m.end(); !strings.Contains(said, `"/file": tried to escape: []`) || code != exitPartial {
		t.Errorf("exit %d: %s", code, said)
	}
}

// TestMountEnds ends a mount in each way: nothing stays mounted that nobody serves.
func TestMountEnds(t *testing.T) {
	needs.FUSE(t)
	needs.Root(t, "unmounting")
	docker := fixtures.Disk(t, "docker-ext4")
	for _, c := range []struct {
		name, says string
		end        func(m *mountProcess) error
		code       int
	}{
		{"unmounted", "", func(m *mountProcess) error { return unix.Unmount(m.folder, 0) }, exitOK},
		{"interrupted", "", func(m *mountProcess) error { return m.cmd.Process.Signal(os.Interrupt) }, exitOK},
		{"in use", "in use", func(m *mountProcess) error {
			f, err := os.Open(filepath.Join(m.folder, "etc"))
			t.Cleanup(func() { f.Close() })
			m.cmd.Process.Signal(os.Interrupt)
			return err
		}, exitOK},
		{"its server dies", "signal: killed", func(m *mountProcess) error { return syscall.Kill(m.server(t), syscall.SIGKILL) }, exitFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := startMount(t, docker, "tomcat-prod")
			if err := c.end(m); err != nil {
				t.Error(err)
			}
			if said, code := m.end(); code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("exit %d, want %d: %s", code, c.code, said)
			}
			if m.mounted() {
				t.Error("it is still mounted")
			}
		})
	}
	t.Run("its keeper dies", func(t *testing.T) {
		m := startMount(t, docker, "tomcat-prod")
		server := m.server(t)
		m.cmd.Process.Kill()
		m.end() // when the server has closed standard error, which a process does somewhat before its end
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", server))
			if err != nil || strings.Contains(string(b), ") Z") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %d serves on: %s", server, b)
			}
		}
	})
	t.Run("no mount", func(t *testing.T) {
		for _, args := range [][]string{{docker, "none", t.TempDir()}, {docker, "tomcat-prod", "/nowhere"}, {"/nowhere", "tomcat-prod", t.TempDir()}} {
			if _, said, code := separately(t, append([]string{"mount"}, args...)...); code != exitFailed || strings.Count(said, "\n") != 1 {
				t.Errorf("%v: exit %d: %s", args, code, said)
			}
		}
	})
}
