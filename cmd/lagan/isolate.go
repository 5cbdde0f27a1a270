package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/internal/isolate"
)

// filesystems are further kinds of filesystems. Tests bring some that misbehave.
var filesystems []analyzer.Opener

// ended is how another process ended that did the whole command, messages included.
type ended int

// Error implements error.
func (e ended) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// attach makes this process a child, where it was started as one.
func (u *ui) attach() (detach func(code int), err error) {
	if u.child, err = isolate.Attach(); err != nil || u.child == nil {
		return func(int) {}, err
	}
	return u.child.Done, nil
}

// begin is told of each object that is read; nil where nobody wants to know.
func (u *ui) begin() func(object string) (func(), error) {
	if u.child == nil {
		return nil
	}
	return u.child.Begin
}

// inChild does the command in a process of its own (--isolate). What it prints
// comes at its end, that of the last try alone.
func (u *ui) inChild(cmd *cobra.Command) error {
	switch {
	case !u.isolate || u.child != nil || !u.sandbox || cmd.Name() == "batch":
		return nil // a batch does so for each snapshot
	case cmd.Name() == "mount":
		return usageError{errors.New("--isolate is for commands that end: a mount can't be served again from its beginning")}
	case runtime.GOOS == "windows":
		return usageError{errors.New("--isolate needs a system on which a process can be handed open files")}
	}
	limit, err := u.memoryLimit()
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(u.spoolDir(), "lagan-output-*")
	if err != nil {
		return err
	}
	os.Remove(out.Name())
	defer out.Close()
	end, err := isolate.Run(u.ctx, isolate.Job{
		Args: os.Args[1:], Request: isTerminal(u.stdout), Stdout: out, Memory: limit + limit/8,
		Died: func(d isolate.Death) { u.say("the reader of %s died: %s; again without it", d.Object, d.Why) },
	})
	if err != nil {
		return err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(u.stdout, out); err != nil {
		return err
	}
	u.stderr.Write(end.Said)
	return ended(end.Code)
}

// onTerminal says whether standard output is a terminal; that of a child is what
// its parent's is, which prints it.
func (u *ui) onTerminal() bool {
	if u.child == nil {
		return isTerminal(u.stdout)
	}
	var on bool
	return json.Unmarshal(u.child.Request, &on) == nil && on
}

// memoryLimit is --max-memory in bytes: three quarters of what the machine has,
// where the flag isn't given and the system tells.
func (u *ui) memoryLimit() (int64, error) {
	if u.maxMemory == "" {
		return int64(machineMemory() / 4 * 3), nil
	}
	digits := strings.TrimRight(u.maxMemory, "KMGTiB")
	n, err := strconv.ParseInt(digits, 10, 40)
	shift, ok := map[string]int{"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}[strings.TrimSuffix(strings.TrimSuffix(u.maxMemory[len(digits):], "iB"), "B")]
	if err != nil || n < 0 || !ok || n > 1<<62>>shift {
		return 0, usageError{fmt.Errorf("--max-memory takes a size such as 4GiB, not %q", u.maxMemory)}
	}
	return n << shift, nil
}
