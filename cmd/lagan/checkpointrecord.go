package main

import (
	"fmt"
	"slices"
	"strings"

	"lagan/analyzer"
	"lagan/checkpoint"
	"lagan/findings"
	"lagan/internal/text"
)

// checkpointRecord is a checkpoint as lists and JSON have it.
type checkpointRecord struct {
	c         *analyzer.Checkpoint
	processes []*checkpoint.Process
	found     []findings.Record
}

var checkpointColumns = columns{
	table: []string{"CONTAINER", "IMAGE", "ID", "RUNTIME", "ENGINE", "CHECKPOINTED", "PROCESSES", "SIZE", "MEMORY", "CHANGES", "FINDINGS", "ARCHIVE"},
	wide: []string{"container", "image", "id", "runtime", "engine", "created", "checkpointed", "pod", "namespace", "ip", "mac", "processes", "size", "memory", "rootfs_diff_size",
		"changed", "deleted", "findings", "archive"},
}

func (r *checkpointRecord) row(wide bool) []string {
	c := r.c
	if wide {
		return []string{
			c.Checkpoint.Name, c.Image, c.ID, c.Runtime, c.Engine, formatTime(c.Created), formatTime(c.Checkpointed), c.Pod, c.Namespace, c.IP, c.MAC, fmt.Sprint(len(r.processes)),
			fmt.Sprint(c.Size), fmt.Sprint(c.PagesSize), fmt.Sprint(c.DiffSize), fmt.Sprint(len(c.Changed)), fmt.Sprint(len(c.Deleted)), fmt.Sprint(len(r.found)), c.Name,
		}
	}
	id := c.ID[:min(len(c.ID), 12)]
	return []string{
		c.DisplayName(), c.Image, id, c.Runtime, c.Engine, shortTime(formatTime(c.Checkpointed)), fmt.Sprint(len(r.processes)), fmt.Sprint(c.Size), fmt.Sprint(c.PagesSize),
		fmt.Sprint(len(c.Changed) + len(c.Deleted)), fmt.Sprint(len(r.found)), c.Name,
	}
}

type processRecord struct {
	PID        uint32             `json:"pid"`
	PPID       uint32             `json:"ppid"`
	Comm       string             `json:"comm"`
	State      string             `json:"state,omitempty"`
	UID        *uint32            `json:"uid,omitempty"`
	GID        *uint32            `json:"gid,omitempty"`
	EUID       *uint32            `json:"euid,omitempty"`
	EGID       *uint32            `json:"egid,omitempty"`
	CapEff     string             `json:"capabilities,omitempty"` // as /proc/PID/status has CapEff
	Exe        string             `json:"exe,omitempty"`
	ExeDeleted bool               `json:"exe_deleted,omitempty"`
	ExeChanged bool               `json:"exe_in_upper,omitempty"`
	Cwd        string             `json:"cwd,omitempty"`
	Root       string             `json:"root,omitempty"`
	Threads    int                `json:"threads,omitempty"`
	Cmdline    []string           `json:"cmdline,omitempty"`
	Env        []string           `json:"env,omitempty"`
	Memory     int64              `json:"memory"`
	Shared     int64              `json:"shared_memory,omitempty"`
	Files      []openFileRecord   `json:"open_files,omitempty"`
	Sockets    []socketRecord     `json:"sockets,omitempty"`
	Maps       []checkpointMapped `json:"mapped,omitempty"`
}

type openFileRecord struct {
	FD      string `json:"fd"`
	Type    string `json:"type"`
	Path    string `json:"path,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
}

type socketRecord struct {
	FD         string `json:"fd"`
	Type       string `json:"type"`
	Protocol   string `json:"protocol,omitempty"`
	State      string `json:"state,omitempty"`
	Source     string `json:"source,omitempty"`
	SourcePort uint32 `json:"source_port,omitempty"`
	Remote     string `json:"remote,omitempty"`
	RemotePort uint32 `json:"remote_port,omitempty"`
	SendBuf    uint32 `json:"send_buffer,omitempty"`
	RecvBuf    uint32 `json:"receive_buffer,omitempty"`
}

// checkpointMapped is a file that is mapped to be executed.
type checkpointMapped struct {
	Path  string `json:"path"`
	Start string `json:"start"`
	Prot  string `json:"prot"`
}

func clean(s string) string {
	s, _ = text.ForJSON(s)
	return s
}

func cleanAll(all []string) []string {
	out := slices.Clone(all)
	for i := range out {
		out[i] = clean(out[i])
	}
	return out
}

func recordOfProcess(p *checkpoint.Process) processRecord {
	r := processRecord{
		PID: p.PID, PPID: p.PPID, Comm: clean(p.Comm), State: p.State, Exe: clean(p.Exe), ExeDeleted: p.ExeDeleted,
		ExeChanged: p.ExeChanged, Cwd: clean(p.Cwd), Root: clean(p.Root), Threads: len(p.Threads), Cmdline: cleanAll(p.Cmdline), Env: cleanAll(p.Env), Memory: p.Memory, Shared: p.Shared,
	}
	if p.HasCreds {
		r.UID, r.GID, r.EUID, r.EGID, r.CapEff = &p.UID, &p.GID, &p.EUID, &p.EGID, fmt.Sprintf("%016x", p.CapEff)
	}
	for _, f := range p.Files {
		r.Files = append(r.Files, openFileRecord{f.FD, f.Type, clean(f.Path), f.Deleted})
	}
	for _, s := range p.Sockets {
		r.Sockets = append(r.Sockets, socketRecord{s.FD, s.Type, s.Protocol, s.State, clean(s.Source), s.SourcePort, s.Remote, s.RemotePort, s.SendBuffer, s.ReceiveBuffer})
	}
	for _, m := range p.Maps {
		if m.Path != "" && strings.HasSuffix(m.Prot, "x") {
			r.Maps = append(r.Maps, checkpointMapped{clean(m.Path), fmt.Sprintf("%#x", m.Start), m.Prot})
		}
	}
	return r
}

type changedRecord struct {
	Path  string `json:"path"`
	Type  string `json:"type"`
	Mode  string `json:"mode"`
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	Size  int64  `json:"size"`
	Mtime string `json:"mtime,omitempty"`
}

func (r *checkpointRecord) appendJSON(dst []byte) ([]byte, error) {
	c := r.c
	out := struct {
		Record       string                  `json:"record"`
		Archive      string                  `json:"archive"`
		Container    string                  `json:"container_name"`
		ID           string                  `json:"id,omitempty"`
		Image        string                  `json:"image,omitempty"`
		ImageRef     string                  `json:"image_ref,omitempty"`
		Runtime      string                  `json:"runtime,omitempty"`
		Engine       string                  `json:"engine,omitempty"`
		Created      string                  `json:"created,omitempty"`
		Checkpointed string                  `json:"checkpointed,omitempty"`
		Pod          string                  `json:"pod_name,omitempty"`
		Namespace    string                  `json:"pod_namespace,omitempty"`
		IP           string                  `json:"ip,omitempty"`
		MAC          string                  `json:"mac,omitempty"`
		Networks     []checkpoint.Network    `json:"networks,omitempty"`
		Known        bool                    `json:"container_on_disk"`
		Size         int64                   `json:"size"`
		Memory       int64                   `json:"memory_pages_size"`
		Diff         int64                   `json:"root_fs_diff_size"`
		Stats        map[string]uint64       `json:"statistics,omitempty"`
		Annotations  map[string]string       `json:"annotations,omitempty"`
		Mounts       []checkpoint.Mount      `json:"mounts,omitempty"`
		MountTable   []checkpoint.MountEntry `json:"mount_table,omitempty"`
		Processes    []processRecord         `json:"processes"`
		Changed      []changedRecord         `json:"changed,omitempty"`
		Deleted      []string                `json:"deleted,omitempty"`
		Findings     []findings.Record       `json:"findings,omitempty"`
	}{
		Record: "checkpoint", Archive: clean(c.Name), Container: clean(c.Checkpoint.Name), ID: clean(c.ID), Image: clean(c.Image), ImageRef: clean(c.ImageRef), Runtime: clean(c.Runtime),
		Engine: c.Engine, Created: formatTime(c.Created), Checkpointed: formatTime(c.Checkpointed), Pod: clean(c.Pod), Namespace: clean(c.Namespace), IP: clean(c.IP), MAC: clean(c.MAC), Networks: c.Networks,
		Known: c.Container != nil, Size: c.Size, Memory: c.PagesSize, Diff: c.DiffSize, Annotations: c.Annotations, Mounts: c.Mounts, MountTable: c.MountTable,
		Processes: []processRecord{}, Deleted: cleanAll(c.Deleted), Findings: r.found,
	}
	if s := c.Stats; s != nil {
		out.Stats = map[string]uint64{
			"freezing_time": s.Freezing, "frozen_time": s.Frozen, "memdump_time": s.Memdump, "memwrite_time": s.Memwrite, "pages_scanned": s.Scanned, "pages_written": s.Written,
		}
	}
	for _, p := range r.processes {
		out.Processes = append(out.Processes, recordOfProcess(p))
	}
	for _, x := range c.Changed {
		out.Changed = append(out.Changed, changedRecord{clean(x.Path), tarType(&x), fmt.Sprintf("%04o", x.Mode&0o7777), x.UID, x.GID, x.Size, formatTime(x.Mtime)})
	}
	return appendValue(dst, out)
}

// tarType is the type of a changed file in the words of ls.
func tarType(c *checkpoint.Changed) string {
	if c.Deleted {
		return "deleted"
	}
	switch c.Type {
	case '5':
		return "dir"
	case '2':
		return "symlink"
	case '3':
		return "char"
	case '4':
		return "block"
	case '6':
		return "fifo"
	}
	return "file"
}

func socketText(s *checkpoint.Socket) string {
	switch s.Type {
	case "UNIXSK":
		return strings.TrimSpace("unix " + s.Protocol + " " + s.Source)
	case "PACKETSK":
		return "packet " + s.Protocol
	case "NETLINKSK":
		return "netlink " + s.Protocol
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s:%d -> %s:%d", s.Protocol, s.State, s.Source, s.SourcePort, s.Remote, s.RemotePort))
}
