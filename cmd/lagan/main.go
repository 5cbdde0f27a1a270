// Command lagan reads the disk of a container node, without mounting it, and
// says what ran there, what it changed and when.
package main

import (
	"context"
	"os"
	"os/signal"
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
const softMemory = 400 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := runConfined(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
