// Package needs says what a test asks of the machine that runs it. It is what
// tells the rings of tests apart: a test that calls nothing here takes Go alone
// and runs always; one that compares with a real program or with the kernel calls
// [Tool] or [Root], and one that reads a whole node disk calls [Time].
//
// go test -short leaves the last two out, and repeats less where a test calls [Rounds]. Elsewhere what is missing skips the test
// with the reason, and fails it where CI_REQUIRE_TOOLS is 1, so that a green run of
// CI means that nothing went untested.
package needs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// All tells whether nothing may be missing, as in CI.
func All() bool { return os.Getenv("CI_REQUIRE_TOOLS") == "1" }

// Lack ends a test for want of something: skipped, or failed where nothing may be missing.
func Lack(t testing.TB, format string, args ...any) {
	t.Helper()
	if All() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Time ends a test that takes long where short ones are asked for.
func Time(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: -short leaves it out")
	}
}

// Corpora is for a test that reads what other projects made for their own tests.
// LAGAN_CORPORA names the folder; none of it comes with this project.
func Corpora(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("LAGAN_CORPORA")
	if folder == "" {
		t.Skip("LAGAN_CORPORA is not set")
	}
	return folder
}

// Rounds is how often a test repeats what it does at random or with growing
// sizes: as often as it should, or as few times as do where short ones are asked for.
func Rounds(whole, short int) int {
	if testing.Short() {
		return short
	}
	return whole
}

// Tool is for a test that has real programs make or judge something. It returns
// where the first is.
func Tool(t testing.TB, names ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("runs %s: -short leaves it out", names[0])
	}
	first := ""
	for _, name := range names {
		path, err := look(name)
		if err != nil {
			Lack(t, "%s is missing", name)
		}
		if first == "" {
			first = path
		}
	}
	return first
}

// look finds a program also where ordinary users' PATH has no folders of the system's.
func look(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil && !filepath.IsAbs(name) {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	return path, err
}

// Root is for a test that has the kernel do what only root may: mount, make
// devices, set owners. It says what.
func Root(t testing.TB, what string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("%s: -short leaves it out", what)
	}
	if os.Getuid() != 0 {
		Lack(t, "%s takes root", what)
	}
}

// FUSE is for a test that mounts as ordinary users may.
func FUSE(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("mounts: -short leaves it out")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		Lack(t, "this machine has no /dev/fuse")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil && os.Getuid() != 0 {
		Lack(t, "fusermount3 is missing")
	}
}

// Condition serves scripts of the command line as their [tool:NAME]: whether a
// program is there and wanted; one that is missing where nothing may be is an error.
func Condition(cond string) (bool, error) {
	name, ok := strings.CutPrefix(cond, "tool:")
	if !ok {
		return false, fmt.Errorf("no condition is called %q", cond)
	}
	if testing.Short() {
		return false, nil
	}
	_, err := look(name)
	if !All() {
		return err == nil, nil
	}
	return err == nil, err
}
