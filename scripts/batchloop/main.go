//go:build linux

// Command batchloop ends `lagan batch`, or another command that writes, in every way that a process ends, at
// random moments, and checks that what it leaves is whole or absent, and that the
// next run ends as one that was never disturbed: kill -9, Ctrl-C, and (as root)
// a disk that is full.
//
//	go run ./scripts/batchloop -kill 100 -interrupt 20 -full 20 [EVIDENCE...]
//
// The evidence is two small fixtures where none is named: what is disturbed takes
// a second then, and the whole a few minutes. -run does the same to other commands
// that write, of the first evidence: -run 'export again --format dir'. -run writers is
// one command for each kind of file and folder that is written, over the first of the
// small fixtures.
package main

import (
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

	"lagan/scripts/internal/program"
)

// loop is one series of trials.
type loop struct {
	program, dir string
	what         string // the command
	evidence     []string
	rng          *rand.Rand
	want         map[string]string // the files of an undisturbed run
	size         int64             // of all of them
	took         time.Duration     // what an undisturbed run takes on this machine at present
}

// small is the evidence where none is named: of two runtimes.
var small = []string{"fixtures/docker-c8d.img.zst", "fixtures/podman-fuse.img.zst"}

func main() {
	log.SetFlags(0)
	kills := flag.Int("kill", 100, "how often to end it with SIGKILL")
	interrupts := flag.Int("interrupt", 20, "how often to end it with SIGINT")
	full := flag.Int("full", 20, "how often to let it fill a disk (root alone)")
	named := flag.String("lagan", "", "the program; built where it isn't named")
	what := flag.String("run", "batch", "batch, writers, or a command with its arguments after the evidence")
	seed := flag.Int64("seed", 1, "of the moments")
	flag.Parse()
	evidence := flag.Args()
	if len(evidence) == 0 {
		evidence = small
	}
	commands := []string{*what}
	if *what == "writers" {
		commands = writers
	}
	for i, what := range commands {
		share := func(all int) int { return all*(i+1)/len(commands) - all*i/len(commands) }
		if err := run(*named, what, evidence, *seed, share(*kills), share(*interrupts), share(*full)); err != nil {
			log.Fatalf("batchloop: %s: %v", what, err)
		}
	}
	fmt.Printf("%s: %d times kill -9, %d Ctrl-C, %d full disks: 0 differ\n", *what, *kills, *interrupts, *full)
}

// writers write each kind of file and folder there is; their container is one of small's.
var writers = []string{
	"timeline", "timeline --format plaso", "export again", "export again --format dir", "export again --format oci", "export again --format raw",
	"report", "bundle again", "recover --files",
}

func run(named, what string, evidence []string, seed int64, kills, interrupts, full int) error {
	dir, err := os.MkdirTemp("", "batchloop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tried, err := program.Path(named, dir)
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "temp"), 0o755); err != nil {
		return err
	}
	l := &loop{program: tried, what: what, dir: dir, evidence: evidence, rng: rand.New(rand.NewSource(seed))}
	if err := l.reference(); err != nil {
		return err
	}
	fmt.Printf("%s, undisturbed: %d files, %d bytes, %v\n", l.what, len(l.want), l.size, l.took.Round(time.Millisecond))
	for _, s := range []series{{"kill -9", syscall.SIGKILL, kills}, {"Ctrl-C", syscall.SIGINT, interrupts}} {
		if err := l.signals(s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
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

// temp is the folder for temporary files, of which none may stay.
func (l *loop) temp() string { return filepath.Join(l.dir, "temp") }

// command is what is disturbed, with its results in a folder.
func (l *loop) command(out string) *exec.Cmd {
	if l.what != "batch" {
		if err := os.MkdirAll(out, 0o755); err != nil {
			log.Fatal("batchloop: ", err)
		}
		words := strings.Fields(l.what)
		args := slices.Insert(words, 1, l.evidence[0])
		return exec.Command(l.program, append(args, "-o", filepath.Join(out, "result"), "-q", "--cache", l.dir, "--temp", l.temp())...)
	}
	return exec.Command(l.program, "batch", filepath.Join(l.dir, "manifest"), "-o", out, "--tasks", "containers,images,diff,timeline", "-q", "--allow-gaps", "--temp", l.temp())
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
	if l.size, err = stored(out); err != nil {
		return err
	}
	return os.RemoveAll(out)
}
