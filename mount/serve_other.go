//go:build !linux

package mount

import (
	"context"
	"fmt"
	"os"
	"runtime"
)

func serve(context.Context, string, []Tree, Options) error {
	return fmt.Errorf("%w: lagan mounts on Linux alone, and this is %s: `lagan export --format dir` writes the files into a folder", ErrNoFUSE, runtime.GOOS)
}

func keepMounted(ctx context.Context, folder string, o Options, _ func(*os.File) (*os.Process, error)) (*os.ProcessState, error) {
	return nil, serve(ctx, folder, nil, o)
}

func (k *Kept) say(what byte, more string) error {
	_, err := k.conn.Write(append([]byte{what}, more...))
	return err
}
