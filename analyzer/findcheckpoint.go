package analyzer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"lagan/checkpoint"
	"lagan/evidence"
	"lagan/findings"
)

// CheckpointFindings holds a checkpoint's processes and changes against rules.
func CheckpointFindings(ctx context.Context, c *Checkpoint, o FindOptions) ([]*findings.Finding, error) {
	f, err := newFinder(newNode(ctx, Options{}), ctx, o)
	if err != nil {
		return nil, err
	}
	f.checkpoint(c)
	return f.all.Findings(), nil
}

// checkpoint looks at the processes of a checkpoint.
func (f *finder) checkpoint(c *Checkpoint) {
	of := f.containerOf(c.Container)
	if of == nil {
		of = &findings.Container{ID: c.ID, Name: c.DisplayName(), Runtime: c.Runtime, Image: c.Image, Pod: c.Pod, Namespace: c.Namespace}
	}
	byPID := make(map[uint32]*checkpoint.Process)
	for _, p := range c.Processes {
		byPID[p.PID] = p
	}
	for i := range c.Changed {
		f.checkpointChange(c, of, &c.Changed[i])
	}
	for _, name := range c.Deleted {
		f.checkpointChange(c, of, &checkpoint.Changed{Path: path.Clean("/" + name), Deleted: true})
	}
	for _, p := range c.Processes {
		s := findings.NewSubject(findings.KindProcess)
		s.Set("command", strings.Join(p.Cmdline, " "))
		s.Set("program", p.Exe)
		s.Set("executable", p.Exe)
		s.Set("name", p.Comm)
		s.Set("path", p.Exe)
		s.Set("uid", fmt.Sprint(p.UID))
		s.Set("via", "checkpoint")
		s.List("env", p.Env)
		s.Flag("deleted", p.ExeDeleted)
		s.Flag("upper", p.ExeChanged)
		s.Flag("hidden", isHidden(p.Exe))
		s.Flag("in_temp", temporary.MatchString(p.Exe))
		if parent := byPID[p.PPID]; parent != nil {
			s.Set("parent", parent.Exe)
		}
		e := findings.Evidence{
			Place: fmt.Sprintf("CHECKPOINT:%s:process %d %s", c.DisplayName(), p.PID, p.Comm), Path: p.Exe, Container: of, Time: c.Checkpointed, TimeOf: "checkpointed", Offset: -1,
		}
		addresses, ports := remotes(p)
		s.List("remote_address", addresses)
		s.List("remote_port", ports)
		s.List("sockets", socketKinds(p))
		s.Flag("kernel_name", kernelThread.MatchString(firstOf(strings.Join(p.Cmdline, " "), "["+p.Comm+"]")) && p.Exe != "")
		f.matchProcess(s, e)
	}
}

// kernelThread is how ps shows a thread of the kernel, which has no executable.
var kernelThread = regexp.MustCompile(`^\[[a-z][\w./:-]*\]$`)

// matchProcess holds a process against all rules. That it is so says what it is: its
// executable stands as the value where the field is only true or false.
func (f *finder) matchProcess(s *findings.Subject, e findings.Evidence) {
	e.Kind = s.Kind
	for _, m := range f.set.Match(s) {
		found := e
		found.Field, found.Value = m.Field, m.Value
		if m.Value == "true" {
			found.Value = firstOf(e.Path, s.First("command"))
		}
		f.all.Add(m.Rule, "", found)
	}
	f.indicators(s, e)
}

// socketKinds are the kinds of sockets that a process has, each once.
func socketKinds(p *checkpoint.Process) []string {
	var out []string
	for _, s := range p.Sockets {
		if k := s.Type + " " + s.Protocol; !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// checkpointChange looks at a file that the container had changed when it was
// checkpointed. An archive doesn't tell whether the image has it too: it counts as
// added, but for the lines that every list of accounts has.
func (f *finder) checkpointChange(c *Checkpoint, of *findings.Container, ch *checkpoint.Changed) {
	info := evidence.Info{Type: tarTypes[ch.Type], Perm: uint16(ch.Mode & 0o7777), UID: uint32(ch.UID), GID: uint32(ch.GID), Size: ch.Size, Mtime: ch.Mtime, Major: ch.Major, Minor: ch.Minor}
	s := fileSubject("container", ch.Path, &info, ch.Target)
	change := "added"
	if ch.Deleted {
		change = "deleted"
	}
	s.Set("change", change)
	s.Flag("recent", !ch.Deleted)
	e := findings.Evidence{Place: "CHECKPOINT:" + c.DisplayName() + ":" + ch.Path, Path: ch.Path, Container: of, Offset: -1, Time: ch.Mtime, TimeOf: "modified"}
	if ch.Deleted || ch.Mtime.Unix() == 0 {
		e.Time, e.TimeOf = c.Checkpointed, "checkpointed"
	}
	if !ch.Deleted {
		e.File = fileEvidence(&info, change, ch.Target)
	}
	if info.Type == evidence.TypeFile && !ch.Deleted {
		head := func() (*io.SectionReader, error) {
			return io.NewSectionReader(bytes.NewReader(ch.Head), 0, int64(len(ch.Head))), nil
		}
		if ch.Whole() {
			e.Open = head
		}
		f.file(s, head, ch.Path, &info, ch.Xattrs, true)
		s.Flag("gained", gained(&info, ch.Xattrs, nil, nil))
		s.Flag("time_set_back", false)
		s.Lazy("added_text", func() string { return rootLine.ReplaceAllString(s.First(findings.TextField), "") })
	}
	f.match(s, e)
}

// rootLine is the line of root in a list of accounts.
var rootLine = regexp.MustCompile(`(?m)^root:[^\n]*\n?`)

// tarTypes are the types of a tar's members.
var tarTypes = map[byte]evidence.Type{
	tar.TypeReg: evidence.TypeFile, tar.TypeLink: evidence.TypeFile, tar.TypeSymlink: evidence.TypeSymlink, tar.TypeDir: evidence.TypeDir,
	tar.TypeChar: evidence.TypeChar, tar.TypeBlock: evidence.TypeBlock, tar.TypeFifo: evidence.TypeFIFO,
}

// remotes are the public addresses that a process was connected to.
func remotes(p *checkpoint.Process) (addresses, ports []string) {
	for _, s := range p.Sockets {
		if a, err := netip.ParseAddr(s.Remote); err == nil && !a.IsUnspecified() && public(s.Remote) && !slices.Contains(addresses, s.Remote) {
			addresses = append(addresses, s.Remote)
			ports = append(ports, fmt.Sprint(s.RemotePort))
		}
	}
	return addresses, ports
}

// checkpoints looks at the checkpoints that lie on the node.
func (f *finder) checkpoints() {
	for _, c := range f.n.Checkpoints() {
		f.checkpoint(c)
	}
}
