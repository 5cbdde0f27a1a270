package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"lagan/analyzer"
	"lagan/checkpoint"
	"lagan/internal/text"
)

// checkpointTree prints a checkpoint for reading: what it is of, what to look at,
// the processes as a tree, mounts and changes.
func (u *ui) checkpointTree(w io.Writer, c *analyzer.Checkpoint, o analyzer.FindOptions, pid uint32) error {
	r, err := u.checkpointRecord(c, o, pid)
	if err != nil {
		return err
	}
	t := treePrinter{w: w}
	t.line(0, "%s", c.DisplayName())
	for _, x := range [...][2]string{
		{"archive", c.Name}, {"id", c.ID}, {"image", strings.TrimSpace(c.Image + "  " + c.ImageRef)}, {"runtime", strings.TrimSpace(c.Runtime + " " + c.Engine)}, {"created", formatTime(c.Created)},
		{"checkpointed", formatTime(c.Checkpointed)}, {"address", address(c)},
		{"size", fmt.Sprintf("%d bytes of images, of which %d are memory; %d of changed files", c.Size, c.PagesSize, c.DiffSize)},
	} {
		if x[1] != "" {
			t.line(1, "%-13s %s", x[0], x[1])
		}
	}
	for _, n := range c.Networks {
		t.line(1, "%-13s %s", "network", strings.Join(slices.Concat([]string{n.Name, n.Interface}, n.Addresses, []string{n.MAC}), " "))
	}
	if s := c.Stats; s != nil {
		us := func(n uint64) time.Duration { return time.Duration(min(n, 1<<50)) * time.Microsecond }
		t.line(1, "%-13s frozen for %s after %s; memory dumped in %s, written in %s; %d of %d pages written", "CRIU", us(s.Frozen), us(s.Freezing), us(s.Memdump), us(s.Memwrite), s.Written, s.Scanned)
	}
	if len(r.found) > 0 {
		t.line(0, "Findings")
		for _, f := range r.found {
			t.line(1, "%-8s %s", f.Severity, f.Title)
			for _, e := range f.Evidence {
				t.line(2, "%s  %s", e.Place, e.Value)
			}
		}
	}
	t.line(0, "Processes")
	t.processes(r.processes)
	if len(c.Mounts) > 0 {
		t.line(0, "Mounts")
		for _, m := range c.Mounts {
			t.line(1, "%s  %s from %s", m.Destination, m.Type, m.Source)
		}
	}
	if len(c.Changed)+len(c.Deleted) > 0 {
		t.line(0, "Changed files")
		for _, x := range c.Changed {
			t.line(1, "%s %04o %8d %s  %s", map[bool]string{true: "D", false: "C"}[x.Deleted], x.Mode&0o7777, x.Size, shortTime(formatTime(x.Mtime)), x.Path)
		}
		for _, d := range c.Deleted {
			t.line(1, "D %s", d)
		}
	}
	return t.err
}

// address is the container's address where no networks tell it.
func address(c *analyzer.Checkpoint) string {
	if len(c.Networks) > 0 {
		return ""
	}
	return strings.TrimSpace(c.IP + " " + c.MAC)
}

// treePrinter prints indented lines, safe for a terminal.
type treePrinter struct {
	w   io.Writer
	err error
}

func (t *treePrinter) line(depth int, format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, "%s%s\n", strings.Repeat("  ", depth), text.ForTerminal(fmt.Sprintf(format, args...)))
	}
}

// processes prints the processes below their parents; one whose parent is missing, or
// that is its own ancestor, at the top.
func (t *treePrinter) processes(ps []*checkpoint.Process) {
	children := make(map[uint32][]*checkpoint.Process)
	known := make(map[uint32]bool)
	for _, p := range ps {
		known[p.PID] = true
	}
	var top []*checkpoint.Process
	for _, p := range ps {
		if known[p.PPID] && p.PPID != p.PID {
			children[p.PPID] = append(children[p.PPID], p)
		} else {
			top = append(top, p)
		}
	}
	told := make(map[*checkpoint.Process]bool)
	const deepest = 64 // what is deeper is printed at that depth
	var walk func(p *checkpoint.Process, depth int)
	walk = func(p *checkpoint.Process, depth int) {
		if told[p] {
			return
		}
		told[p] = true
		t.process(p, min(depth, deepest))
		for _, c := range children[p.PID] {
			walk(c, depth+1)
		}
	}
	for _, p := range append(top, ps...) {
		walk(p, 1)
	}
}

// about is what is known of a process itself.
func about(p *checkpoint.Process, exe string) []string {
	var out []string
	if exe != "" {
		out = append(out, "exe "+exe)
	}
	if p.Cwd != "" {
		out = append(out, "cwd "+p.Cwd)
	}
	if p.Root != "" && p.Root != "/" {
		out = append(out, "root "+p.Root)
	}
	if p.HasCreds {
		out = append(out, fmt.Sprintf("uid %d", p.UID))
		if p.EUID != p.UID {
			out = append(out, fmt.Sprintf("euid %d", p.EUID))
		}
	}
	if p.State != "" {
		out = append(out, p.State)
	}
	out = append(out, fmt.Sprintf("%d bytes of memory", p.Memory))
	if p.Shared > 0 {
		out = append(out, fmt.Sprintf("%d shared", p.Shared))
	}
	return out
}

func (t *treePrinter) process(p *checkpoint.Process, depth int) {
	command := strings.Join(p.Cmdline, " ")
	if command == "" {
		command = "[" + p.Comm + "]"
	}
	t.line(depth, "%d %s", p.PID, command)
	exe := p.Exe
	if p.ExeDeleted {
		exe += "  (deleted)"
	}
	if p.ExeChanged {
		exe += "  (not the image's: in the upper layer)"
	}
	t.line(depth+1, "%s", strings.Join(about(p, exe), ", "))
	for _, f := range p.Files {
		deleted := ""
		if f.Deleted {
			deleted = "  (deleted)"
		}
		t.line(depth+1, "fd %s %s %s%s", f.FD, f.Type, f.Path, deleted)
	}
	sockets := slices.Clone(p.Sockets)
	slices.SortStableFunc(sockets, func(a, b checkpoint.Socket) int {
		return cmp.Or(strings.Compare(a.Remote, b.Remote), cmp.Compare(a.RemotePort, b.RemotePort))
	})
	for i := range sockets {
		t.line(depth+1, "fd %s %s", sockets[i].FD, socketText(&sockets[i]))
	}
	for _, e := range p.Env {
		t.line(depth+1, "env %s", e)
	}
}
