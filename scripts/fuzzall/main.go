// Command fuzzall runs every fuzz target of the module, one after the other,
// for a time each, and says which of them found something.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func main() {
	length := flag.String("time", "60s", "how long each target runs")
	only := flag.String("run", "", "only targets whose package or name contains this")
	flag.Parse()
	found := 0
	for _, t := range targets() {
		if !strings.Contains(t.pkg+" "+t.name, *only) {
			continue
		}
		fmt.Printf("%s %s\n", t.pkg, t.name)
		cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", *length, t.pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			found++
			fmt.Printf("%s\n", out)
		}
	}
	if found > 0 {
		fmt.Printf("%d targets found something\n", found)
		os.Exit(1)
	}
}

type target struct{ pkg, name string }

// targets asks each package's tests for the names of its fuzz targets.
func targets() []target {
	out, err := exec.Command("go", "test", "-list", "^Fuzz", "./...").Output()
	if err != nil {
		fmt.Fprintf(os.Stderr, "fuzzall: listing targets: %v\n", err)
		os.Exit(1)
	}
	var all []target
	var names []string
	s := bufio.NewScanner(bytes.NewReader(out))
	for s.Scan() {
		line := s.Text()
		if strings.HasPrefix(line, "Fuzz") {
			names = append(names, line)
			continue
		}
		if f := strings.Fields(line); len(f) > 1 && f[0] == "ok" {
			for _, n := range names {
				all = append(all, target{f[1], n})
			}
			names = nil
		}
	}
	return all
}
