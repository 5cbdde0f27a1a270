// Command batchloop ends `lagan batch`, or another command that writes, in every way that a process ends, at
// random moments, and checks that what it leaves is whole or absent, and that the
// next run ends as one that was never disturbed: kill -9, Ctrl-C, and (as root)
// a disk that is full.
//
//	go run ./scripts/batchloop -kill 100 -interrupt 20 -full 20 EVIDENCE...
//
// -run timeline and -run export:CONTAINER do the same to those commands, which
// write one file of the first evidence.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loop is one series of trials.
type loop struct {
	program, dir string
	what         string // the command
	evidence     []string
	rng          *rand.Rand
	want         map[string]string // the files of an undisturbed run
	size         int64             // of all of them
	took         time.Duration
}

func main() {
	log.SetFlags(0)
	kills := flag.Int("kill", 100, "how often to end it with SIGKILL")
	interrupts := flag.Int("interrupt", 20, "how often to end it with SIGINT")
	full := flag.Int("full", 20, "how often to let it fill a disk (root alone)")
	program := flag.String("lagan", "", "the program; built where it isn't named")
	what := flag.String("run", "batch", "batch, timeline or export:CONTAINER")
	seed := flag.Int64("seed", 1, "of the moments")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: batchloop [FLAG...] EVIDENCE...")
	}
	if err := run(*program, *what, flag.Args(), *seed, *kills, *interrupts, *full); err != nil {
		log.Fatal("batchloop: ", err)
	}
}

func run(program, what string, evidence []string, seed int64, kills, interrupts, full int) error {
	dir, err := os.MkdirTemp("", "batchloop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if program == "" {
		program = filepath.Join(dir, "lagan")
		build := exec.Command("go", "build", "-o", program, "./cmd/lagan")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return err
		}
	}
	l := &loop{program: program, what: what, dir: dir, evidence: evidence, rng: rand.New(rand.NewSource(seed))}
	if err := l.reference(); err != nil {
		return err
	}
	fmt.Printf("undisturbed: %d files, %d bytes, %v\n", len(l.want), l.size, l.took.Round(time.Millisecond))
	for _, s := range []struct {
		name   string
		signal syscall.Signal
		times  int
	}{{"kill -9", syscall.SIGKILL, kills}, {"Ctrl-C", syscall.SIGINT, interrupts}} {
		early := 0
		for i := range s.times {
			disturbed, err := l.signalled(s.signal)
			if err != nil {
				return fmt.Errorf("%s, trial %d: %w", s.name, i, err)
			}
			if disturbed {
				early++
			}
		}
		fmt.Printf("%s: %d trials, %d before the end: whole or absent, and the next run as undisturbed\n", s.name, s.times, early)
	}
	if full == 0 || os.Getuid() != 0 {
		return nil
	}
	for i := range full {
		if err := l.filled(i, full); err != nil {
			return fmt.Errorf("full disk, trial %d: %w", i, err)
		}
	}
	fmt.Printf("full disk: %d trials: whole or absent, and the next run as undisturbed\n", full)
	return nil
}

// command is what is disturbed, with its results in a folder.
func (l *loop) command(out string) *exec.Cmd {
	if command, container, _ := strings.Cut(l.what, ":"); command != "batch" {
		if err := os.MkdirAll(out, 0o755); err != nil {
			log.Fatal("batchloop: ", err)
		}
		args := []string{command, l.evidence[0]}
		if container != "" {
			args = append(args, container)
		}
		return exec.Command(l.program, append(args, "-o", filepath.Join(out, "result"), "-q", "--cache", l.dir, "--temp", l.dir)...)
	}
	return exec.Command(l.program, "batch", filepath.Join(l.dir, "manifest"), "-o", out, "--tasks", "containers,images,diff,timeline", "-q", "--allow-gaps", "--temp", l.dir)
}

func (l *loop) reference() error {
	var lines []string
	for _, e := range l.evidence {
		path, err := filepath.Abs(e)
		if err != nil {
			return err
		}
		lines = append(lines, path)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "manifest"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	out := filepath.Join(l.dir, "want")
	if err := l.command(out).Run(); err != nil { // unpacks the evidence, which the next ones find unpacked
		return fmt.Errorf("undisturbed: %w", err)
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	began := time.Now()
	if b, err := l.command(out).CombinedOutput(); err != nil {
		return fmt.Errorf("undisturbed: %w: %s", err, b)
	}
	l.took = time.Since(began)
	var err error
	if l.want, err = files(out); err != nil {
		return err
	}
	for _, content := range l.want {
		l.size += int64(len(content))
	}
	return os.RemoveAll(out)
}

// files returns the files below a folder with their content; of run.json, which
// has times, only that it is there.
func files(dir string) (map[string]string, error) {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || d.Name() == "run.json" {
			all[rel] = "times"
			return err
		}
		b, err := os.ReadFile(path)
		all[rel] = string(b)
		return err
	})
	return all, err
}

// signalled starts a batch and ends it at a random moment.
func (l *loop) signalled(s syscall.Signal) (disturbed bool, err error) {
	out := filepath.Join(l.dir, "out")
	defer os.RemoveAll(out)
	cmd := l.command(out)
	if err := cmd.Start(); err != nil {
		return false, err
	}
	time.Sleep(time.Duration(l.rng.Int63n(int64(l.took) * 11 / 10)))
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false, err
	}
	disturbed = cmd.Wait() != nil
	if err := l.wholeOrAbsent(out, s != syscall.SIGKILL); err != nil {
		return disturbed, err
	}
	return disturbed, l.again(out)
}

// filled lets a batch run into the end of a disk that holds a part of the results.
func (l *loop) filled(i, of int) error {
	disk := filepath.Join(l.dir, "disk")
	if err := os.MkdirAll(disk, 0o755); err != nil {
		return err
	}
	size := l.size*int64(i+1)/int64(of+1) + 64<<10
	if err := unix.Mount("batchloop", disk, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return err
	}
	defer unix.Unmount(disk, unix.MNT_DETACH)
	out := filepath.Join(disk, "out")
	if l.command(out).Run() == nil {
		return fmt.Errorf("%d bytes of disk were enough for %d", size, l.size)
	}
	if err := l.wholeOrAbsent(out, true); err != nil {
		return err
	}
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", 4*l.size+64<<20)); err != nil {
		return err
	}
	return l.again(out)
}

// wholeOrAbsent checks what is there. clean: nothing half-written is hidden either.
func (l *loop) wholeOrAbsent(out string, clean bool) error {
	list, err := os.ReadDir(out)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		switch {
		case strings.HasPrefix(e.Name(), "."):
			if clean {
				return fmt.Errorf("left behind: %s", e.Name())
			}
		case strings.HasSuffix(e.Name(), ".failed.json"):
		default:
			got, err := files(filepath.Join(out, e.Name()))
			if err != nil {
				return err
			}
			for path, content := range l.want {
				if path == e.Name() && got["."] != content {
					return fmt.Errorf("%s is not whole", path)
				}
				if rest, ok := strings.CutPrefix(path, e.Name()+"/"); ok && got[rest] != content {
					return fmt.Errorf("%s is not whole", path)
				}
			}
		}
	}
	return nil
}

// again runs the batch to its end, and compares with the undisturbed run.
func (l *loop) again(out string) error {
	if b, err := l.command(out).CombinedOutput(); err != nil {
		return fmt.Errorf("the next run: %w: %s", err, b)
	}
	got, err := files(out)
	if err != nil {
		return err
	}
	var differ []string
	for path, content := range l.want {
		if got[path] != content {
			differ = append(differ, path)
		}
	}
	for path := range got {
		if strings.HasPrefix(path, ".") && l.what != "batch" {
			continue // half of a file under another name: kill -9 leaves it
		}
		if _, ok := l.want[path]; !ok {
			differ = append(differ, path)
		}
	}
	if slices.Sort(differ); len(differ) > 0 {
		return fmt.Errorf("the next run differs in %q", differ)
	}
	return nil
}
