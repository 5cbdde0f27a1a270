// Package program finds the lagan that a script tries, or builds it.
package program

import (
	"os"
	"os/exec"
	"path/filepath"
)

// Path returns where the program is as a whole path: the one that is named, or
// one that is built into dir from the folder that the script runs in.
func Path(named, dir string) (string, error) {
	if named == "" {
		named = filepath.Join(dir, "lagan")
		build := exec.Command("go", "build", "-o", named, "./cmd/lagan")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return "", err
		}
	}
	return filepath.Abs(named)
}
