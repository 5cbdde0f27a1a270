//go:build linux

// Rows measures every row of the table of docs/performance.md in one run, side
// by side with what else would be used, and prints it as Markdown:
//
//	apt-get install sleuthkit xfsprogs e2fsprogs btrfs-progs strace
//	go build -o /tmp/lagan ./cmd/lagan
//	go run ./scripts/rows -lagan /tmp/lagan -ce /usr/local/bin/container-explorer -work /srv/rows > rows.md
//
// It needs root, for loop mounts and for dropping the page cache, and 25 GB; with
// -large, which adds the disks of one and of three million files, 40 GB. The disks
// are kept in the work folder and used again. Figures of one machine hold for
// that machine, and only when it does nothing else: quote the ratios.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// bench is what is measured with.
type bench struct {
	lagan, explorer string
	work, mnt       string
	files, runs     int
	large           bool
}

func main() {
	var b bench
	flag.StringVar(&b.lagan, "lagan", "", "the program that is measured")
	flag.StringVar(&b.explorer, "ce", "", "container-explorer, for the rows that it is compared in")
	flag.StringVar(&b.work, "work", "", "folder for disks and output")
	flag.IntVar(&b.files, "files", 290_000, "files of the first disks")
	flag.IntVar(&b.runs, "runs", 3, "runs of each command")
	flag.BoolVar(&b.large, "large", false, "the disks of one and three million files too")
	only := flag.String("only", "", "one part: disks, btrfs, containers, changes, large, sparse")
	flag.Parse()
	if b.lagan == "" || b.work == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	b.mnt = filepath.Join(b.work, "mnt")
	if err := b.all(*only); err != nil {
		fmt.Fprintln(os.Stderr, "rows:", err)
		os.Exit(1)
	}
}

func (b *bench) all(only string) error {
	if err := os.MkdirAll(b.mnt, 0o755); err != nil {
		return err
	}
	fmt.Printf("%s, %d runs of each, medians\n\n", time.Now().UTC().Format("2006-01-02"), b.runs)
	fmt.Println("| task | lagan | processor | most resident | beside | its | processor | ratio | of processor | wanted |\n|---|---|---|---|---|---|---|---|---|---|")
	for _, part := range []struct {
		name string
		run  func() error
	}{{"disks", b.disks}, {"btrfs", b.btrfs}, {"containers", b.containers}, {"changes", b.changes}, {"sparse", b.sparse}, {"large", b.million}} {
		if only != "" && only != part.name || part.name == "large" && !b.large && only == "" {
			continue
		}
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// figure is what one command took, at the median.
type figure struct {
	wall, cpu time.Duration
	resident  int64 // KiB, the most of all runs
}

// run measures commands in turns, so that what else the machine does falls on all
// of them; cold drops the page cache before each.
func (b *bench) run(cold bool, commands ...[]string) ([]figure, error) {
	walls, cpus := make([][]time.Duration, len(commands)), make([][]time.Duration, len(commands))
	out := make([]figure, len(commands))
	for range b.runs {
		for i, argv := range commands {
			syscall.Sync()
			if cold {
				if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
					return nil, err
				}
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			began := time.Now()
			text, err := cmd.CombinedOutput()
			walls[i] = append(walls[i], time.Since(began))
			if err != nil && cmd.ProcessState.ExitCode() != 3 { // 3: done, with gaps
				return nil, fmt.Errorf("%q: %w: %.300s", argv, err, text)
			}
			cpus[i] = append(cpus[i], cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
			if use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
				out[i].resident = max(out[i].resident, use.Maxrss)
			}
		}
	}
	for i := range commands {
		out[i].wall, out[i].cpu = median(walls[i]), median(cpus[i])
	}
	return out, nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// row measures one command beside another, which may be none, and prints the row.
func (b *bench) row(task string, cold bool, mine []string, name string, other []string, wanted string) error {
	commands := [][]string{mine}
	if other != nil {
		commands = append(commands, other)
	}
	f, err := b.run(cold, commands...)
	if err != nil {
		return err
	}
	m, o, ratio, of := f[0], "", "", ""
	cpu := ""
	if other != nil {
		o, cpu = seconds(f[1].wall), seconds(f[1].cpu)
		ratio = fmt.Sprintf("%.2f", m.wall.Seconds()/f[1].wall.Seconds())
		of = fmt.Sprintf("%.2f", m.cpu.Seconds()/max(f[1].cpu.Seconds(), 1e-9))
	}
	if cold {
		task += ", cold"
	}
	_, err = fmt.Printf("| %s | %s | %s | %d MiB | %s | %s | %s | %s | %s | %s |\n", task, seconds(m.wall), seconds(m.cpu), m.resident>>10, name, o, cpu, ratio, of, wanted)
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// shell is a command of the shell.
func shell(format string, args ...any) []string {
	return []string{"sh", "-c", fmt.Sprintf(format, args...)}
}

// do runs what prepares a disk.
func do(argv ...string) error {
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%q: %w: %s", argv, err, out)
	}
	return nil
}

// disk makes a disk unless it is there: a filesystem of a size that fill writes
// to, in its mount.
func (b *bench) disk(name, size string, mkfs []string, fill func(dir string) error) (string, error) {
	image := filepath.Join(b.work, name)
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	part := image + ".part"
	for _, argv := range [][]string{{"truncate", "-s", size, part}, append(mkfs, part), {"mount", "-o", "loop", part, b.mnt}} {
		if err := do(argv...); err != nil {
			return "", err
		}
	}
	if err := errors.Join(fill(b.mnt), do("umount", b.mnt)); err != nil {
		return "", err
	}
	return image, os.Rename(part, image)
}
