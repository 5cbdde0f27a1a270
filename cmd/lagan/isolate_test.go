package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/fixtures"
	"lagan/internal/needs"
)

// misbehaving are decoders that no evidence should meet, by the magic of their
// format. Each is tried on a disk of its own beside a fixture's.
var misbehaving = map[string]func(r io.ReaderAt) error{
	"MAGIC-STACK":  func(io.ReaderAt) error { return endless([4096]byte{}) },
	"MAGIC-MEMORY": func(io.ReaderAt) error { return hungry() },
	"MAGIC-PANIC":  func(io.ReaderAt) error { go panic("nobody guards this"); select {} },
	"MAGIC-MAP":    racing,
	"MAGIC-KILL":   func(io.ReaderAt) error { p, err := os.FindProcess(os.Getpid()); return errors.Join(err, p.Kill()) },
	"MAGIC-EXIT":   func(io.ReaderAt) error { os.Exit(0); return nil },
	"MAGIC-ESCAPE": escape,
}

// magicMounted is what a disk begins with whose decoder tries to escape when a file is opened.
const magicMounted = "MAGIC-MOUNTED"

// escaping is a tree whose file is not read but led out of the evidence.
type escaping struct{ *memfs.FS }

func (escaping) Open(evidence.Ino) (*io.SectionReader, error) { return nil, escape(nil) }

func (escaping) Describe() evidence.Description { return evidence.Description{Type: "escaping"} }

func openMounted(r io.ReaderAt, _ int64, _ evidence.Options) (evidence.FS, error) {
	magic := make([]byte, len(magicMounted))
	if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != magicMounted {
		return nil, evidence.ErrFormat
	}
	fsys := memfs.New()
	fsys.File("etc/os-release", "")
	fsys.File("file", "content")
	return escaping{fsys}, nil
}

func registerMisbehaving() {
	for name, open := range misbehaving {
		filesystems = append(filesystems, analyzer.Opener{Name: name, Open: func(r io.ReaderAt, _ int64, _ evidence.Options) (evidence.FS, error) {
			magic := make([]byte, len(name))
			if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != name {
				return nil, evidence.ErrFormat
			}
			return nil, open(r)
		}})
	}
	filesystems = append(filesystems, analyzer.Opener{Name: magicMounted, Open: openMounted})
}

// endless overflows the stack without reading anything. Its frames are large: a
// crash walks all of them.
func endless(frame [4096]byte) error {
	frame[0]++
	//lint:ignore SA5007 that it never returns is what it is for
	if err := endless(frame); err != nil {
		return err
	}
	return errors.New(string(frame[:1]))
}

// hungry takes memory without reading anything.
func hungry() error {
	var kept [][]byte
	for {
		b := make([]byte, 8<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		//lint:ignore SA4010 that nobody uses it is what it is for
		kept = append(kept, b)
	}
}

// racing writes a map from two goroutines, which ends a Go program.
func racing(io.ReaderAt) error {
	m := map[int]int{}
	for range 4 {
		go func() {
			for i := 0; ; i++ {
				m[i%8]++
			}
		}()
	}
	select {}
}

// escape tries what a decoder that was led astray could, and tells what worked.
func escape(io.ReaderAt) error {
	var worked []string
	if f, err := os.Open("/etc/passwd"); err == nil {
		f.Close()
		worked = append(worked, "/etc/passwd was opened")
	}
	if exec.Command("/bin/true").Run() == nil {
		worked = append(worked, "a program was started")
	}
	if c, err := net.Dial("udp", "127.0.0.1:9"); err == nil {
		c.Close()
		worked = append(worked, "a socket was opened")
	}
	if f, err := os.Create("/var/tmp/lagan-escape"); err == nil {
		f.Close()
		os.Remove(f.Name())
		worked = append(worked, "a file was made")
	}
	return errors.New("tried to escape: [" + strings.Join(worked, ", ") + "]")
}

// badDisk is a disk that only a misbehaving decoder knows.
func badDisk(t *testing.T, magic string) string {
	path := filepath.Join(t.TempDir(), "bad.img")
	if err := os.WriteFile(path, append([]byte(magic), make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// separately runs the program in a process of its own.
func separately(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Args[0] = "lagan"
	cmd.Env = append(os.Environ(), tellMisbehaving+"=1", "GORACE=halt_on_error=0")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestIsolate has readers that no process survives: the process dies, and the
// next one does all but what killed it.
func TestIsolate(t *testing.T) {
	needs.Time(t)
	docker := fixtures.Disk(t, "docker-ext4")
	want, _, _ := separately(t, "containers", docker, "-O", "csv")
	for magic, why := range map[string]string{
		"MAGIC-STACK": "stack overflow", "MAGIC-MEMORY": "of memory", "MAGIC-PANIC": "nobody guards this", "MAGIC-MAP": "concurrent map", "MAGIC-KILL": "killed", "MAGIC-EXIT": "exit status 0",
	} {
		t.Run(magic, func(t *testing.T) {
			limit := map[bool]string{true: "400M", false: "4G"}[magic == "MAGIC-MEMORY"]
			got, said, code := separately(t, "containers", docker, "--disk", badDisk(t, magic), "-O", "csv", "--isolate", "--max-memory", limit)
			if code != exitPartial || got != want {
				t.Errorf("exit %d, the other disk's containers: %v", code, got == want)
			}
			if !strings.Contains(said, "its reader died: ") || !strings.Contains(said, why) {
				t.Errorf("no gap says %q: %s", why, said)
			}
		})
	}
}

// TestIsolateKeepsOutput runs what ends well in a child: the same bytes, the same status.
func TestIsolateKeepsOutput(t *testing.T) {
	needs.Time(t)
	docker := fixtures.Disk(t, "docker-ext4")
	for _, args := range [][]string{{"containers", docker, "-O", "json"}, {"cat", docker, "@node", "/none"}, {"ls", docker, "none"}, {"containers", docker, "--jobs", "-1"}} {
		want, wantSaid, wantCode := separately(t, args...)
		got, said, code := separately(t, append(args, "--isolate")...)
		if got != want || said != wantSaid || code != wantCode {
			t.Errorf("%v: exit %d, not %d; %q, not %q", args[0], code, wantCode, said, wantSaid)
		}
	}
	if _, said, code := separately(t, "mount", docker, "x", "/nowhere", "--isolate"); code != exitUsage {
		t.Errorf("mount: exit %d: %s", code, said)
	}
}

// TestDecoderEscapes has a decoder try to leave the evidence, in every way that
// evidence is opened.
func TestDecoderEscapes(t *testing.T) {
	needs.Time(t)
	bad := badDisk(t, "MAGIC-ESCAPE")
	for _, args := range [][]string{{"containers", bad, "--disk", fixtures.Disk(t, "docker-ext4")}, {"containers", bad, "--isolate", "--disk", fixtures.Disk(t, "docker-ext4")}, {"info", bad}} {
		if _, said, _ := separately(t, args...); !strings.Contains(said, "tried to escape: []") {
			t.Errorf("%v: %s", args, said)
		}
	}
}

func TestMaxMemoryFlag(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "4G": 4 << 30, "4GiB": 4 << 30, "512MB": 512 << 20, "77": 77, "x": -1, "-1": -1, "4X": -1, "9999999T": -1, "": int64(machineMemory() / 4 * 3)} {
		got, err := (&ui{maxMemory: text}).memoryLimit()
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, not %d", text, got, want)
		}
	}
}

// TestBatchIsolates has one snapshot's reader die: the rest of that snapshot and
// all of the others are done.
func TestBatchIsolates(t *testing.T) {
	needs.Time(t)
	docker := fixtures.Disk(t, "docker-ext4")
	dir := t.TempDir()
	manifest := filepath.Join(dir, "manifest.csv")
	text := fmt.Sprintf("evidence,name,disks,options\n%s,first,,\n%s,second,%s,\n%s,third,%s,\n", docker, docker, badDisk(t, "MAGIC-PANIC"), docker, badDisk(t, "MAGIC-ESCAPE"))
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	got, said, code := separately(t, "batch", manifest, "-o", out, "--tasks", "containers", "-v", "-O", "csv")
	if code != exitPartial || strings.Count(got, ",done,") != 3 {
		t.Errorf("exit %d: %s%s", code, got, said)
	}
	if !strings.Contains(said, "nobody guards this") || !strings.Contains(said, "tried to escape: []") {
		t.Errorf("said %s", said)
	}
	lines := func(name string) (n int) {
		b, err := os.ReadFile(filepath.Join(out, name, "containers.jsonl"))
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(b)) {
			if !strings.Contains(line, `"record":"warning"`) {
				n++
			}
		}
		return n
	}
	if first := lines("first"); first == 0 || lines("second") != first || lines("third") != first {
		t.Errorf("%d, %d and %d containers", first, lines("second"), lines("third"))
	}
}
