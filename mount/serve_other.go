//go:build !linux

package mount

import (
	"context"
	"fmt"
	"runtime"
)

func serve(context.Context, string, []Tree, Options) error {
	return fmt.Errorf("%w: lagan mounts on Linux alone, and this is %s: `lagan export --format dir` writes the files into a folder", ErrNoFUSE, runtime.GOOS)
}
