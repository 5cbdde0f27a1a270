// Command determinism runs every command that prints records over the fixtures,
// several times in processes of their own whose --jobs, processors, time zone,
// language and folder differ, and compares the bytes.
//
//	go run ./scripts/determinism -runs 10
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"

	"lagan/fixtures"
	"lagan/scripts/internal/program"
)

// commands are arguments after the evidence; C stands for a container's id.
var commands = [][]string{
	{"info"}, {"containers", "-O", "json"}, {"images", "-O", "json"}, {"pods", "-O", "jsonl"}, {"snapshots", "-O", "jsonl"}, {"contents", "-O", "jsonl"},
	{"volumes", "-O", "jsonl"}, {"networks", "-O", "jsonl"}, {"tasks", "-O", "jsonl"}, {"recover", "-O", "jsonl"}, {"findings", "-O", "jsonl"}, {"verify", "-O", "jsonl"},
	{"timeline"}, {"timeline", "--format", "bodyfile"}, {"timeline", "--format", "csv"}, {"ls", "C", "-R", "--hash", "-O", "jsonl"}, {"diff", "C", "-O", "jsonl"},
	{"logs", "C"}, {"export", "C"}, {"inspect", "C"},
}

var (
	zones     = []string{"UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Chatham"}
	languages = []string{"C", "de_DE.UTF-8", "tr_TR.UTF-8"}
)

func main() {
	log.SetFlags(0)
	runs := flag.Int("runs", 10, "how often each command runs")
	named := flag.String("lagan", "", "the program; built where it isn't named")
	flag.Parse()
	if err := check(*named, *runs); err != nil {
		log.Fatal("determinism: ", err)
	}
}

func check(named string, runs int) error {
	dir, err := os.MkdirTemp("", "determinism-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tried, err := program.Path(named, dir)
	if err != nil {
		return err
	}
	total, differ := 0, 0
	for _, name := range fixtures.Names {
		disk := fixtures.Path(name + ".img.zst")
		base := run{program: tried, cache: dir, dir: dir}
		list, _, err := base.output([]string{"containers", disk, "-O", "csv"})
		if err != nil {
			return err
		}
		id := firstID(string(list))
		for _, c := range commands {
			args := []string{c[0], disk}
			for _, a := range c[1:] {
				args = append(args, map[bool]string{true: id, false: a}[a == "C"])
			}
			sums := map[string]bool{}
			for i := range runs {
				r := run{tried, dir, []string{dir, "/"}[i%2], 1 + i%2, 1 + i/2%2, zones[i%len(zones)], languages[i%len(languages)]}
				out, code, err := r.output(args)
				if err != nil {
					return fmt.Errorf("%v: %w", args, err)
				}
				sums[fmt.Sprintf("%d %x", code, sha256.Sum256(out))] = true
				total++
			}
			if len(sums) > 1 {
				differ++
				fmt.Printf("%s %v: %d different outputs\n", name, c, len(sums))
			}
		}
	}
	fmt.Printf("%d runs, %d commands over %d disks: %d differ\n", total, len(commands), len(fixtures.Names), differ)
	if differ > 0 {
		return fmt.Errorf("%d commands differ", differ)
	}
	return nil
}

// firstID is the first container's id in a CSV whose header has "id".
func firstID(csv string) string {
	lines := strings.Split(csv, "\n")
	if len(lines) < 2 {
		return ""
	}
	for i, column := range strings.Split(lines[0], ",") {
		if column == "id" {
			return strings.Split(lines[1], ",")[i]
		}
	}
	return ""
}

// run is one way to run the program.
type run struct {
	program, cache, dir string
	jobs, processors    int
	zone, language      string
}

func (r run) output(args []string) (out []byte, code int, err error) {
	cmd := exec.Command(r.program, append(args, "--cache", r.cache, "--jobs", fmt.Sprint(max(r.jobs, 1)), "-q")...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "TZ="+r.zone, "LANG="+r.language, "LC_ALL="+r.language, fmt.Sprintf("GOMAXPROCS=%d", max(r.processors, 1)))
	out, err = cmd.Output()
	code = cmd.ProcessState.ExitCode()
	if code == 0 || code == 3 || code == 1 {
		err = nil // nothing to say of such a disk is an answer too
	}
	return out, code, err
}
