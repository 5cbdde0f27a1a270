package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// The calls of a trace, as strace writes them.
var (
	openCall = regexp.MustCompile(`open(?:at2?)?\((?:(?:AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"([^"]*)", (?:\{flags=)?([A-Z_|]+)`)
	network  = regexp.MustCompile(`\b(socket|socketpair|connect|bind|listen|accept4?|sendto|sendmsg|recvfrom|recvmsg)\(`)
	execCall = regexp.MustCompile(`\bexecve(at)?\(`)
	changes  = regexp.MustCompile(`\b(?:unlink|unlinkat|rename|renameat2?|mkdir|mkdirat|link|linkat|symlink|symlinkat|chmod|fchmodat2?|chown|lchown|fchownat|truncate|utimensat|setxattr)\(.*`)
)

// ofRuntime are the files that Go's own runtime looks at when a program begins,
// and what the confinement asks of the kernel.
var ofRuntime = []string{"/sys/kernel/mm/transparent_hugepage/", "/sys/fs/cgroup/", "/proc/self/", "/proc/sys/", "/etc/localtime", "/usr/share/zoneinfo/", "/dev/null"}

// builtProgram builds the program as it is given out: a build with cgo opens its libraries.
func builtProgram(t *testing.T, dir string) string {
	t.Helper()
	program := filepath.Join(dir, "lagan")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, b)
	}
	return program
}

// TestSystemCalls follows every command call by call: the evidence is opened for
// reading alone, nothing is started, nothing is sent, and nothing is opened or
// changed but evidence, output, spool and what Go's runtime looks at.
func TestSystemCalls(t *testing.T) {
	needs.Tool(t, "strace")
	dir := t.TempDir()
	program, trace, spool, out := builtProgram(t, dir), filepath.Join(dir, "trace"), filepath.Join(dir, "spool"), filepath.Join(dir, "out")
	for _, d := range []string{spool, out} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	raw, packed := fixtures.Disk(t, "docker-ext4"), fixtures.Path("podman-ext4.img.zst")
	archive, file := checkpointArchive(t), filepath.Join(out, "file")
	for _, args := range [][]string{
		{"timeline", raw, "-o", file}, {"timeline", packed, "-o", file},
		{"info", raw}, {"containers", raw}, {"images", raw}, {"pods", raw}, {"snapshots", raw}, {"contents", raw}, {"volumes", raw}, {"networks", raw}, {"namespaces", raw}, {"tasks", raw},
		{"inspect", raw, "tomcat-prod"}, {"history", raw, "tomcat:8.5.19"}, {"ls", raw, "@node", "-R"}, {"cat", raw, "tomcat-prod", "/etc/passwd"}, {"find", raw, "@node", "-name", "*.jsp"},
		{"diff", raw, "tomcat-prod"}, {"logs", raw, "tomcat-prod"}, {"verify", raw}, {"recover", raw}, {"findings", raw}, {"which", raw, "/var/lib/docker"},
		{"report", raw, "-o", file}, {"export", raw, "tomcat-prod", "-o", file}, {"export", raw, "tomcat-prod", "--format", "dir", "-o", filepath.Join(out, "dir")},
		{"bundle", raw, "tomcat-prod", "-o", filepath.Join(out, "bundle")}, {"builds", raw}, {"plugins", raw}, {"secrets", raw}, {"swarm", raw},
		{"checkpoint", archive}, {"checkpoint", archive, "--search", "gate.php"}, {"checkpoint", archive, "--pid", "31", "--memory", "-o", file},
	} {
		t.Run(strings.Join(append(args[:1:1], args[2:]...), " "), func(t *testing.T) {
			cmd := straced(trace, append([]string{program}, append(args, "--temp", spool)...))
			b, err := cmd.CombinedOutput()
			if strings.Contains(string(b), "ptrace") {
				t.Skipf("no process can be traced here: %s", b)
			}
			if code := cmd.ProcessState.ExitCode(); code != exitOK && code != exitPartial {
				t.Fatalf("%v: %s", err, b)
			}
			checkTrace(t, trace, args[1], allowed{writable: []string{spool, out}, programs: 1})
		})
	}
	t.Run("mount", func(t *testing.T) {
		needs.FUSE(t)
		needs.Root(t, "unmounting")
		folder := filepath.Join(out, "folder")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		m := awaitMount(t, straced(trace, []string{program, "mount", raw, "tomcat-prod", folder, "--temp", spool}), folder)
		if b, err := os.ReadFile(filepath.Join(folder, "etc/passwd")); err != nil || len(b) == 0 {
			t.Errorf("reading a mounted file: %v", err)
		}
		if err := unix.Unmount(folder, 0); err != nil {
			t.Fatal(err)
		}
		if said, code := m.end(); code != exitOK && code != exitPartial {
			t.Errorf("exit %d: %s", code, said)
		}
		// Two processes, with a connection between them.
		checkTrace(t, trace, raw, allowed{writable: []string{spool, out}, programs: 2, devices: []string{"/dev/fuse"}, calls: []string{"socketpair", "sendmsg", "recvmsg"}})
	})
}

// checkpointArchive is the archive of a checkpoint, in a folder of its own.
func checkpointArchive(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../checkpoint/testdata/web.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "web.tar.gz")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// straced is a command that strace follows into a file.
func straced(trace string, command []string) *exec.Cmd {
	return exec.Command("strace", append([]string{"-f", "-qq", "-y", "-s", "4096", "-e", "signal=none", "-e", "trace=%file,%network,%process", "-o", trace}, command...)...)
}

// calls are the lines of a trace, of which strace splits those during which
// another thread was seen: such a call is put together, where it ended.
func calls(trace string) (all []string) {
	const unfinished, resumed = " <unfinished ...>", " resumed>"
	begun := map[string]string{} // by thread
	for line := range strings.Lines(trace) {
		thread, call, _ := strings.Cut(line, " ")
		if before, ok := strings.CutSuffix(strings.TrimRight(line, "\n"), unfinished); ok {
			begun[thread] = before
			continue
		}
		if strings.HasPrefix(strings.TrimLeft(call, " "), "<... ") {
			_, after, _ := strings.Cut(call, resumed)
			line = begun[thread] + after
			delete(begun, thread)
		}
		all = append(all, line)
	}
	for _, line := range begun { // that never ended
		all = append(all, line)
	}
	return all
}

// allowed is what a trace may show.
type allowed struct {
	writable []string // folders
	devices  []string // that are opened to be written to
	calls    []string // of a network, that stay on this machine
	programs int
}

// checkTrace looks at each call of a trace.
func checkTrace(t *testing.T, trace, disk string, a allowed) {
	t.Helper()
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	writable := a.writable
	execs, opened := 0, false
	for _, line := range calls(string(b)) {
		refused := strings.Contains(line, " = -1 ")
		if execCall.MatchString(line) && !refused {
			execs++
		}
		if m := network.FindStringSubmatch(line); m != nil && !slices.Contains(a.calls, m[1]) {
			t.Errorf("a network call: %s", line)
		}
		if m := changes.FindString(line); m != "" && !refused && !below(m, writable) {
			t.Errorf("a change elsewhere: %s", line)
		}
		m := openCall.FindStringSubmatch(line)
		if m == nil || refused {
			continue
		}
		path, writes := m[2], strings.Contains(m[3], "O_WRONLY") || strings.Contains(m[3], "O_RDWR") || strings.Contains(m[3], "O_CREAT")
		if !filepath.IsAbs(path) { // from an open folder
			path = filepath.Join(m[1], path)
		}
		switch {
		case path == disk:
			opened = true
			if writes {
				t.Errorf("the evidence was opened for writing: %s", line)
			}
		case strings.Contains(m[3], "O_PATH") && !writes: // a rule of Landlock: the file isn't opened
		case below(path, writable), slices.Contains(a.devices, path):
		case (path == filepath.Dir(disk) || below(path, ofRuntime)) && !writes: // the folder: what else the evidence may be made of
		default:
			t.Errorf("opened: %s", line)
		}
	}
	if execs != a.programs || !opened {
		t.Errorf("%d programs were started, the evidence was opened: %v", execs, opened)
	}
}

// below says whether text names something in one of the folders.
func below(text string, dirs []string) bool {
	for _, d := range dirs {
		if strings.HasPrefix(text, d) || strings.Contains(text, `"`+d) || strings.Contains(text, "<"+d) {
			return true
		}
	}
	return false
}
