//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// series is one way to end it.
type series struct {
	name   string
	signal syscall.Signal
	times  int // that it shall be ended before it ends by itself
}

// maxLate is how many of the moments, for each that is wanted, may come after the end.
const maxLate = 3

// signals ends it at random moments, as often before its end as the series says.
func (l *loop) signals(s series) error {
	var moments []float64
	late := 0
	for len(moments) < s.times {
		moment, err := l.signalled(s.signal, len(moments)%2 == 1)
		if err != nil {
			return fmt.Errorf("trial %d: %w", len(moments)+late, err)
		}
		if moment >= 0 {
			moments = append(moments, moment)
		} else if late++; late > maxLate*s.times {
			return fmt.Errorf("%d of %d moments came after the end", late, late+len(moments))
		}
	}
	if slices.Sort(moments); len(moments) == 0 {
		return nil
	}
	at := func(share int) float64 { return 100 * moments[(len(moments)-1)*share/100] }
	fmt.Printf("%s: %d trials before the end (%d after it), from %.0f %% of the time that it takes, half before %.0f %%, to %.0f %%: whole or absent, and the next run as undisturbed\n",
		s.name, len(moments), late, at(0), at(50), at(100))
	return nil
}

// signalled starts it and ends it at a random moment, which it returns as a part
// of the time that it takes; -1 where it had ended by itself. Ctrl-C at a
// terminal is for all processes of a command (group).
func (l *loop) signalled(s syscall.Signal, group bool) (moment float64, err error) {
	out := filepath.Join(l.dir, "out")
	defer os.RemoveAll(out)
	cmd := l.command(out)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	moment = l.rng.Float64()
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	time.Sleep(time.Duration(moment * float64(l.took)))
	pid := cmd.Process.Pid
	if group && s != syscall.SIGKILL { // of kill -9 the other processes shall notice by themselves
		pid = -pid
	}
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return 0, err
	}
	if cmd.Wait() == nil {
		l.measured(time.Since(began))
		moment = -1
	}
	if err := l.wholeOrAbsent(out, s != syscall.SIGKILL); err != nil {
		return moment, err
	}
	begun, _ := os.ReadDir(out)
	began = time.Now()
	if err := l.again(out); err != nil {
		return moment, err
	}
	if len(begun) == 0 {
		l.measured(time.Since(began)) // it was all done by this run
	}
	return moment, l.nothingLeft()
}

// measured is told what a whole run took just now: other programs may have
// begun or ended since the first was measured.
func (l *loop) measured(d time.Duration) { l.took = (l.took + d) / 2 }

// endOfChildren is how long processes may outlive the one that started them.
const endOfChildren = 5 * time.Second

// nothingLeft checks that no process of a trial lives on, and that no temporary
// file is left.
func (l *loop) nothingLeft() error {
	if list, err := os.ReadDir(l.temp()); err != nil || len(list) > 0 {
		return fmt.Errorf("temporary files were left: %v %w", list, err)
	}
	for deadline := time.Now().Add(endOfChildren); ; time.Sleep(10 * time.Millisecond) {
		all, err := filepath.Glob("/proc/[0-9]*/exe")
		if err != nil {
			return err
		}
		lives := slices.IndexFunc(all, func(p string) bool { exe, err := os.Readlink(p); return err == nil && exe == l.program })
		switch {
		case lives < 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("a process lives on: %s", filepath.Dir(all[lives]))
		}
	}
}

// filled lets it run into the end of a disk that holds a part of the results.
func (l *loop) filled(i, of int) error {
	disk := filepath.Join(l.dir, "disk")
	if err := os.MkdirAll(disk, 0o755); err != nil {
		return err
	}
	size := l.size*int64(i+1)/int64(of+1) + min(64<<10, l.size/64)
	if err := unix.Mount("batchloop", disk, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return err
	}
	defer unix.Unmount(disk, unix.MNT_DETACH)
	out := filepath.Join(disk, "out")
	if l.command(out).Run() == nil {
		return fmt.Errorf("%d bytes of disk were enough for %d", size, l.size)
	}
	if err := l.wholeOrAbsent(out, true); err != nil {
		return err
	}
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", 4*l.size+64<<20)); err != nil {
		return err
	}
	if err := l.again(out); err != nil {
		return err
	}
	return l.nothingLeft()
}
