// Command coverage runs the tests of everything that decodes evidence and
// prints the share of statements that they reach, by package and in all. What
// one package's tests reach in another counts: fixtures are read by many.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
)

// decoders are the parts that read what an attacker may have written.
var decoders = []string{"./evidence/...", "./runtimes/...", "./artifacts/...", "./layers", "./overlay", "./internal/sqlite"}

func main() {
	least := flag.Float64("least", 0, "fail below this share in all, per cent")
	flag.Parse()
	all, err := measure()
	if err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
	var total share
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		fmt.Printf("%5.1f %%  %6d  %s\n", s.percent(), s.statements, name)
		total.statements += s.statements
		total.reached += s.reached
	}
	fmt.Printf("%5.1f %%  %6d  all decoders\n", total.percent(), total.statements)
	if total.percent() < *least {
		os.Exit(1)
	}
}

type share struct{ statements, reached int }

func (s share) percent() float64 { return 100 * float64(s.reached) / float64(max(s.statements, 1)) }

// measure returns the share of each package.
func measure() (map[string]share, error) {
	f, err := os.CreateTemp("", "coverage-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	args := []string{"test", "-coverprofile", f.Name(), "-coverpkg", strings.Join(decoders, ","), "./analyzer"}
	cmd := exec.Command("go", append(args, decoders...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	// A block stands once for each package whose tests could reach it.
	statements, reached := map[string]int{}, map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		block, counts, ok := strings.Cut(lines.Text(), " ")
		n, hits, ok2 := strings.Cut(counts, " ")
		if !ok || !ok2 || block == "mode:" {
			continue
		}
		if statements[block], err = strconv.Atoi(n); err != nil {
			return nil, err
		}
		if hits != "0" {
			reached[block] = true
		}
	}
	all := map[string]share{}
	for block, n := range statements {
		file, _, _ := strings.Cut(block, ":")
		s := all[path.Dir(file)]
		s.statements += n
		if reached[block] {
			s.reached += n
		}
		all[path.Dir(file)] = s
	}
	if len(all) == 0 {
		return nil, errors.New("nothing was measured")
	}
	return all, nil
}
