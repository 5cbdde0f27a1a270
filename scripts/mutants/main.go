// Command mutants damages the formats that lagan decodes, many thousand times
// in ways that a number decides, and reads each mutant to its end. Readers run
// in child processes with limits on time and memory: what kills or hangs one is
// named, kept as a file and counted, and the rest goes on.
//
//	go run ./scripts/mutants -n 5000               every format, 5,000 mutants each
//	go run ./scripts/mutants -run ext4,bolt -n 100
//	go run ./scripts/mutants -run ext4 -from 1234 -n 1 -v
//
// The last line is "N mutants, M findings"; the exit status is 1 with findings.
// Tools that make some of the seeds: qemu-utils ewf-tools sqlite3 fdisk tar xz-utils bzip2 lz4 zstd, and as root xfsprogs.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The limits of one mutant: RELIABILITY's promise for a damaged image.
const (
	maxSeconds = 10
	maxMiB     = 512
)

var (
	count   = flag.Uint64("n", 1000, "mutants of each format")
	from    = flag.Uint64("from", 0, "the first mutant's number")
	only    = flag.String("run", "", "only these formats, separated by commas")
	keep    = flag.String("keep", "", "folder for the mutants that were found")
	verbose = flag.Bool("v", false, "print what readers say of each mutant, and the stack of a panic")
	child   = flag.String("child", "", "read mutants of this format, for the parent")
)

func main() {
	flag.Parse()
	all := formats()
	if *child != "" {
		i := slices.IndexFunc(all, func(f format) bool { return f.name == *child })
		debug.SetMemoryLimit(maxMiB / 2 << 20)
		readMutants(all[i])
		return
	}
	var total uint64
	found := 0
	for _, f := range all {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), f.name) {
			continue
		}
		if _, err := f.seeds(); err != nil {
			fmt.Printf("%-14s no seed: %v\n", f.name, err)
			found++
			continue
		}
		began := time.Now()
		n := supervise(f.name)
		fmt.Printf("%-14s %d mutants, %d findings, %.0f s\n", f.name, *count, n, time.Since(began).Seconds())
		total += *count
		found += n
	}
	fmt.Printf("%d mutants, %d findings\n", total, found)
	if found > 0 {
		os.Exit(1)
	}
}

// readMutants is the child: it says the number of each mutant before it reads
// it, and what it caught.
func readMutants(f format) {
	seeds, err := f.seeds()
	if err != nil {
		fmt.Println("! no seed:", err)
		os.Exit(1)
	}
	for n := *from; n < *from+*count; n++ {
		fmt.Println(n)
		m := seeds[n%uint64(len(seeds))].mutate(n)
		if problem := readOne(f, m); problem != "" {
			fmt.Printf("! %s\n", strings.ReplaceAll(problem, "\n", "\n! "))
			saveMutant(f.name, n, m)
		}
	}
}

func readOne(f format, m *mutant) (problem string) {
	defer func() {
		if r := recover(); r != nil {
			problem = fmt.Sprintf("panic: %v", r)
			if *verbose {
				problem += "\n" + string(debug.Stack())
			}
		}
	}()
	told := func(err error) {
		if err == nil {
			return
		}
		if *verbose {
			fmt.Printf("  %v\n", err)
		}
		if strings.Contains(err.Error(), "internal error, please report") { // a panic that was caught
			problem = err.Error()
		}
	}
	f.read(m, told)
	return problem
}

func saveMutant(name string, n uint64, m *mutant) {
	if *keep == "" {
		return
	}
	file := filepath.Join(*keep, fmt.Sprintf("%s-%d", name, n))
	if err := os.WriteFile(file, m.bytes(), 0o600); err != nil {
		fmt.Println("!", err)
	}
}

// supervise runs children until every mutant of the format was read, and
// returns how many were findings.
func supervise(name string) int {
	found := 0
	for next, end := *from, *from+*count; next < end; {
		last, problems, why := runChild(name, next, end-next)
		found += problems
		if why == "" {
			break
		}
		found++
		fmt.Printf("%s: mutant %d: %s\n", name, last, why)
		next = last + 1
	}
	return found
}

// runChild reads mutants in a child. It returns the last number that the child
// began, how many problems it told, and why it ended before its time.
func runChild(name string, first, n uint64) (last uint64, problems int, why string) {
	cmd := exec.Command(os.Args[0], "-child", name, "-from", fmt.Sprint(first), "-n", fmt.Sprint(n), "-keep", *keep, fmt.Sprintf("-v=%v", *verbose))
	var crash strings.Builder
	cmd.Stderr = &crash
	out, err := cmd.StdoutPipe()
	if err != nil {
		return first, 0, err.Error()
	}
	if err := cmd.Start(); err != nil {
		return first, 0, err.Error()
	}
	w := newWatchdog(cmd.Process)
	last = first
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		w.alive()
		if number, err := strconv.ParseUint(line, 10, 64); err == nil {
			last = number
			continue
		}
		if text, ok := strings.CutPrefix(line, "! "); ok {
			problems++
			fmt.Printf("%s: mutant %d: %s\n", name, last, text)
		} else if *verbose {
			fmt.Println(line)
		}
	}
	err = cmd.Wait()
	if why = w.stop(); why == "" && err != nil {
		why = firstLine(crash.String(), err)
	}
	return last, problems, why
}

func firstLine(said string, err error) string {
	line, _, _ := strings.Cut(said, "\n")
	return fmt.Sprintf("%v: %s", err, line)
}
