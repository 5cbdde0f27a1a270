package confine

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// escapes are what a decoder that was led astray could try. Each is done in a
// process of its own that was confined to a folder for reading and one for
// writing; it must fail with a refusal, and the two that are allowed must work.
var escapes = map[string]func(in, out string) error{
	"read passwd":         func(_, _ string) error { return open("/etc/passwd") },
	"list root":           func(_, _ string) error { _, err := os.ReadDir("/root"); return err },
	"read by a link":      func(in, _ string) error { return open(filepath.Join(in, "link")) },
	"write evidence":      func(in, _ string) error { return os.WriteFile(filepath.Join(in, "file"), nil, 0o600) },
	"make beside":         func(in, _ string) error { return os.WriteFile(filepath.Join(in, "..", "new"), nil, 0o600) },
	"remove evidence":     func(in, _ string) error { return os.Remove(filepath.Join(in, "file")) },
	"start a program":     func(_, _ string) error { return exec.Command("/bin/true").Run() },
	"start one it wrote":  startOwn,
	"connect":             func(_, _ string) error { _, err := net.Dial("tcp", "127.0.0.1:9"); return err },
	"datagram":            func(_, _ string) error { _, err := net.Dial("udp", "127.0.0.1:9"); return err },
	"local socket":        func(_, out string) error { _, err := net.Listen("unix", filepath.Join(out, "s")); return err },
	"mount":               func(_, out string) error { return syscall.Mount("none", out, "tmpfs", 0, "") },
	"look into a process": func(_, _ string) error { return syscall.PtraceAttach(os.Getppid()) },
	"new namespace":       func(_, _ string) error { return syscall.Unshare(syscall.CLONE_NEWUSER) },

	"client: connect elsewhere": func(_, _ string) error { return connect("LAGAN_TEST_OTHER") },
	"client: listen":            func(_, _ string) error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err },
	"client: start a program":   func(_, _ string) error { return exec.Command("/bin/true").Run() },
	"client: read passwd":       func(_, _ string) error { return open("/etc/passwd") },
	"allowed: client: connect":  func(_, _ string) error { return connect("LAGAN_TEST_PORT") },

	"allowed: read":  func(in, _ string) error { return open(filepath.Join(in, "file")) },
	"allowed: write": func(_, out string) error { return os.WriteFile(filepath.Join(out, "file"), []byte("x"), 0o600) },
}

func open(path string) error {
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return err
}

func connect(variable string) error {
	c, err := net.Dial("tcp", "127.0.0.1:"+os.Getenv(variable))
	if err == nil {
		c.Close()
	}
	return err
}

// listen listens on a port, and returns it.
func listen(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func startOwn(_, out string) error {
	program := filepath.Join(out, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		return errors.New("the folder for output can't be written")
	}
	return exec.Command(program).Run()
}

func TestMain(m *testing.M) {
	if name := os.Getenv("LAGAN_TEST_ESCAPE"); name != "" {
		os.Exit(escape(name, os.Getenv("LAGAN_TEST_IN"), os.Getenv("LAGAN_TEST_OUT")))
	}
	os.Exit(m.Run())
}

// The exit statuses of a confined child.
const (
	worked     = 10
	wasRefused = 11
	other      = 12
)

func escape(name, in, out string) int {
	a := Access{Read: []string{in}, Write: []string{out}}
	if strings.Contains(name, "client: ") {
		port, err := strconv.ParseUint(os.Getenv("LAGAN_TEST_PORT"), 10, 16)
		if err != nil {
			return other
		}
		a.Connect = []uint16{uint16(port)}
	}
	if _, err := Apply(a); err != nil {
		os.Stderr.WriteString(err.Error())
		return other
	}
	err := escapes[name](in, out)
	switch {
	case err == nil:
		return worked
	case errors.Is(err, os.ErrPermission):
		return wasRefused
	}
	os.Stderr.WriteString(err.Error())
	return other
}

func TestEscapes(t *testing.T) {
	if abi() < 1 {
		t.Skip("this kernel has no landlock")
	}
	port, elsewhere := listen(t), listen(t)
	for name := range escapes {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			in, out := filepath.Join(top, "in"), filepath.Join(top, "out")
			for _, d := range []string{in, out} {
				if err := os.Mkdir(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(in, "file"), []byte("evidence"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/etc/passwd", filepath.Join(in, "link")); err != nil {
				t.Fatal(err)
			}
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), "LAGAN_TEST_ESCAPE="+name, "LAGAN_TEST_IN="+in, "LAGAN_TEST_OUT="+out, "LAGAN_TEST_PORT="+port, "LAGAN_TEST_OTHER="+elsewhere)
			said, err := child.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("child: %v", err)
			}
			if name == "client: connect elsewhere" && abi() < 4 {
				t.Skip("this kernel's landlock knows no ports")
			}
			want := refusedOr(name)
			if exit.ExitCode() != want {
				t.Errorf("exit %d, want %d: %s", exit.ExitCode(), want, said)
			}
		})
	}
}

func refusedOr(name string) int {
	if strings.HasPrefix(name, "allowed") {
		return worked
	}
	return wasRefused
}
