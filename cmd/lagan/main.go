// Command lagan reads the disk of a container node, without mounting it, and
// says what ran there, what it changed and when.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
)

// The exit statuses.
const (
	exitOK      = 0 // all was read
	exitFailed  = 1 // nothing could be done
	exitUsage   = 2 // wrong usage
	exitPartial = 3 // done, but some of the evidence could not be read
)

// softMemory is where the collector begins to work harder. What a command
// keeps is bounded; this bounds the garbage beside it. GOMEMLIMIT overrides it.
const softMemory = 380 << 20

// maxStack ends a program whose stack has no end before it took much memory.
// Readers are given up long before (analyzer's maxStacks).
const maxStack = 256 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
	debug.SetMaxStack(maxStack)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := runConfined(ctx, arguments(os.Args), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// dropIns are the names under which the program takes another one's command line.
var dropIns = map[string]string{"ce": "ce", "container-explorer": "ce", "de": "de", "de.py": "de"}

// arguments returns what the program was called with, the command first that its
// own name stands for.
func arguments(args []string) []string {
	if command, ok := dropIns[filepath.Base(args[0])]; ok {
		return append([]string{command}, args[1:]...)
	}
	return args[1:]
}
