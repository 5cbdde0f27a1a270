package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"lagan/internal/needs"
)

// The limits of a command over a disk of traps.
const (
	trapSeconds = 10
	trapMiB     = 512
)

// trapDisk is one ext4 that holds every trap at once: a container with hostile
// names and links to the analyst's own files, a log with escape codes, a file
// of 2^60 bytes, a folder that holds itself, a layer's blob that unpacks
// without end, a lower file that leads out of the store, a meta.db with a page
// that points to itself.
func trapDisk(t *testing.T) string {
	needs.Tool(t, "mke2fs", "debugfs")
	root := hostileRoot(t)
	write := func(name string, content []byte) {
		t.Helper()
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, content, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	diff := filepath.Join(root, "var/lib/docker/overlay2", hostileID, "diff")
	for name, target := range map[string]string{"shadow": "/etc/shadow", "up": "../../../../../../../../../etc/shadow", "loop": "loop", "log": "/var/log"} {
		if err := os.Symlink(target, filepath.Join(diff, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("var/lib/docker/overlay2/"+hostileID+"/lower", []byte("l/ABCDEFGHIJKLMNOPQRSTUVWXYZ:../../../../etc:/etc:"+strings.Repeat("l/A:", 300)))
	for name, content := range logBombs(t) {
		write(name, content)
	}
	write("huge", []byte("x"))
	write("deep/a/b/c", []byte("x"))
	bombRoot(t, write)
	write("var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", selfPointing())
	image := filepath.Join(t.TempDir(), "trap.img")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum", "-d", root, image, "256M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	edit := exec.Command("debugfs", "-w", "-f", "-", image)
	edit.Stdin = strings.NewReader("sif /huge size 0x1000000000000000\nln /deep /deep/a/b/again\nln / /deep/a/root\n")
	if out, err := edit.CombinedOutput(); err != nil {
		t.Fatalf("debugfs: %v: %s", err, out)
	}
	return image
}

// bombRoot writes a containerd content store whose one blob is 1 GiB of zeros
// in 1 MiB, under its own digest.
func bombRoot(t *testing.T, write func(string, []byte)) {
	var bomb bytes.Buffer
	z, err := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(z, zeros{}, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write(fmt.Sprintf("var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/%x", sha256.Sum256(bomb.Bytes())), bomb.Bytes())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// selfPointing is a bolt file whose root is a branch that leads to itself.
func selfPointing() []byte {
	const page = 4096
	b := make([]byte, 8*page)
	for id := range 2 { // the meta pages: bbolt internal/common/meta.go
		p := b[id*page:]
		binary.LittleEndian.PutUint64(p, uint64(id))
		binary.LittleEndian.PutUint16(p[8:], 4)
		m := p[16:]
		binary.LittleEndian.PutUint32(m, 0xED0CDAED)
		binary.LittleEndian.PutUint32(m[4:], 2)
		binary.LittleEndian.PutUint32(m[8:], page)
		binary.LittleEndian.PutUint64(m[16:], 3)
		binary.LittleEndian.PutUint64(m[32:], 2)
		binary.LittleEndian.PutUint64(m[40:], 8)
		binary.LittleEndian.PutUint64(m[48:], uint64(id))
		sum := uint64(14695981039346656037) // FNV-1a
		for _, c := range m[:56] {
			sum = (sum ^ uint64(c)) * 1099511628211
		}
		binary.LittleEndian.PutUint64(m[56:], sum)
	}
	free := b[2*page:]
	binary.LittleEndian.PutUint64(free, 2)
	binary.LittleEndian.PutUint16(free[8:], 0x10)
	branch := b[3*page:]
	binary.LittleEndian.PutUint64(branch, 3)
	binary.LittleEndian.PutUint16(branch[8:], 1)
	binary.LittleEndian.PutUint16(branch[10:], 1)
	binary.LittleEndian.PutUint32(branch[16:], 16)
	binary.LittleEndian.PutUint32(branch[20:], 2)
	binary.LittleEndian.PutUint64(branch[24:], 3) // itself
	copy(branch[32:], "v1")
	return b
}

// TestTraps runs every command over the disk of traps, each in a process of
// its own, and asks of some that they name the trap.
func TestTraps(t *testing.T) {
	disk := trapDisk(t)
	before := fileSum(t, disk)
	id := hostileID[:12]
	out := t.TempDir()
	for _, c := range []struct {
		args []string
		says string // on standard error
	}{
		{[]string{"info", disk}, "meta.db"},
		{[]string{"containers", disk}, "page 3"},
		{[]string{"containers", disk, "--output", "jsonl"}, "lower"},
		{[]string{"images", disk}, ""}, {[]string{"pods", disk}, ""}, {[]string{"snapshots", disk}, ""}, {[]string{"contents", disk}, ""}, {[]string{"volumes", disk}, ""},
		{[]string{"networks", disk}, ""}, {[]string{"namespaces", disk}, ""}, {[]string{"tasks", disk}, ""}, {[]string{"inspect", disk, id}, ""},
		{[]string{"ls", disk, id, "-R"}, ""}, {[]string{"ls", disk, "@node", "-R"}, "again"}, {[]string{"ls", disk, "@node", "-R", "--hash"}, "huge"},
		{[]string{"cat", disk, id, "/shadow"}, "shadow"}, {[]string{"cat", disk, id, "/up"}, "does not exist"}, {[]string{"cat", disk, id, "/loop"}, "loop"},
		{[]string{"diff", disk, id}, ""}, {[]string{"logs", disk, id}, ""}, {[]string{"verify", disk}, ""}, {[]string{"recover", disk}, ""},
		{[]string{"timeline", disk, "-o", filepath.Join(out, "t.jsonl")}, ""}, {[]string{"timeline", disk, "--format", "bodyfile"}, ""},
		{[]string{"export", disk, id, "-o", filepath.Join(out, "c.tar")}, ""}, {[]string{"export", disk, id, "--format", "dir", "-o", filepath.Join(out, "dir")}, ""},
		{[]string{"findings", disk}, ""}, {[]string{"report", disk, "-o", filepath.Join(out, "r.html")}, ""}, {[]string{"find", disk, "@node", "-name", "*a*"}, ""},
		{[]string{"history", disk, id}, ""}, {[]string{"which", disk, "/var/lib/docker/overlay2/" + hostileID}, ""}, {[]string{"bundle", disk, id, "-o", filepath.Join(out, "bundle")}, ""},
		{[]string{"checkpoint", disk}, ""}, {[]string{"checkpoint", bombArchive(t)}, ""}, {[]string{"swarm", disk}, ""}, {[]string{"plugins", disk}, ""}, {[]string{"builds", disk}, ""},
		{[]string{"secrets", disk}, ""}, {[]string{"recover", disk, "--files"}, ""}, {[]string{"ce", "--image-root", disk, "list", "containers"}, ""}, {[]string{"de", "-r", disk, "list", "all_containers"}, ""},
		{[]string{"batch", manifestOf(t, disk), "-o", filepath.Join(out, "batch")}, ""}, {[]string{"info", bombDisk(t)}, "unpack"},
	} {
		t.Run(strings.Join(c.args[:1], " ")+" "+strings.Join(c.args[2:], " "), func(t *testing.T) { runTrapped(t, c.args, c.says) })
	}
	if fileSum(t, disk) != before {
		t.Error("the evidence was changed")
	}
}

func runTrapped(t *testing.T, args []string, says string) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Args[0] = "lagan" // TestMain runs the command by this name
	cmd.Env = append(os.Environ(), tellPeak+"=1")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	began := time.Now()
	timer := time.AfterFunc(12*trapSeconds*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	stdout, err := cmd.Output()
	took := time.Since(began)
	said := errs.String()
	switch code := cmd.ProcessState.ExitCode(); {
	case code != exitOK && code != exitFailed && code != exitPartial:
		t.Errorf("exit %d, %v: %s", code, err, said)
	case strings.Contains(said, "internal error") || strings.Contains(said, "goroutine "):
		t.Errorf("a panic: %s", said)
	}
	if !strings.Contains(said, says) {
		t.Errorf("%q isn't named in: %s", says, said)
	}
	if bytes.Contains(stdout, []byte("root:")) {
		t.Errorf("a file of this machine was printed: %q", stdout)
	}
	if user := cmd.ProcessState.UserTime(); user > trapSeconds*time.Second {
		t.Errorf("%s of the processor, %s in all", user, took)
	}
	var peak int
	if _, last, ok := strings.Cut("\n"+said, "\npeak "); ok {
		fmt.Sscan(last, &peak)
	}
	if peak > trapMiB<<10 {
		t.Errorf("%d MiB resident", peak>>10)
	} else if peak == 0 && runtime.GOOS == "linux" {
		t.Error("the largest size isn't known")
	}
	checkRecords(t, args, stdout)
}

// checkRecords checks that what claims to be JSON lines is.
func checkRecords(t *testing.T, args []string, stdout []byte) {
	if args[len(args)-1] != "jsonl" {
		return
	}
	for line := range bytes.Lines(stdout) {
		if !json.Valid(line) {
			t.Errorf("not JSON: %q", line)
		}
	}
}

func fileSum(t *testing.T, path string) [32]byte {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}
