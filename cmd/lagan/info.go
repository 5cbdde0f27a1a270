package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/internal/text"
)

func newInfoCommand(u *ui) *cobra.Command {
	var hash bool
	cmd := u.command(verb{
		use:   "info EVIDENCE",
		short: "what the evidence is: disks, volumes, filesystems, system, runtimes",
		long: `Say what was recognised: the disk's format and partitions, each filesystem with its journal's
state, the operating system, and every container runtime's data root.`,
		examples: `
  lagan info node.img.zst
  lagan info /dev/nvme1n1 --output json`,
		min: 1, max: 1, readsNothing: true,
		run: func(n *analyzer.Node, args []string) error {
			r, err := u.infoRecord(n, hash)
			if err != nil {
				return err
			}
			if u.verbose {
				for _, line := range u.confinedBy(args[0]) {
					fmt.Fprintf(u.stderr, "lagan: %s\n", text.ForTerminal(line))
				}
			}
			return u.write(func(w io.Writer) error {
				if u.output == "table" {
					return r.print(w)
				}
				if u.output == "csv" {
					return usageError{fmt.Errorf("info has no csv output: use table, json or jsonl")}
				}
				e := json.NewEncoder(text.JSON{W: w})
				e.SetEscapeHTML(false)
				if u.output == "json" {
					e.SetIndent("", "  ")
				}
				return e.Encode(r)
			})
		},
	})
	cmd.Flags().BoolVar(&hash, "hash", false, "hash the whole disk (MD5, SHA-1, SHA-256) and compare with what its container stored")
	return cmd
}

type infoRecord struct {
	Evidence []evidenceRecord `json:"evidence"`
	Volumes  []volumeRecord   `json:"volumes"`
	Mounts   []mountRecord    `json:"mounts,omitempty"`
	System   systemRecord     `json:"system"`
	Runtimes []storeRecord    `json:"runtimes"`
	Warnings []string         `json:"warnings,omitempty"`
}

type volumeRecord struct {
	Number        int            `json:"number"`
	Scheme        string         `json:"scheme"`
	Partition     int            `json:"partition,omitempty"`
	PartitionType string         `json:"partition_type,omitempty"`
	PartitionName string         `json:"partition_name,omitempty"`
	PartitionUUID string         `json:"partition_uuid,omitempty"`
	Start         int64          `json:"start"`
	Size          int64          `json:"size"`
	Content       string         `json:"content,omitempty"`
	UUID          string         `json:"uuid,omitempty"`
	Label         string         `json:"label,omitempty"`
	BlockSize     int            `json:"block_size,omitempty"`
	Features      []string       `json:"features,omitempty"`
	Created       string         `json:"created,omitempty"`
	Mounted       string         `json:"mounted,omitempty"`
	Written       string         `json:"written,omitempty"`
	MountedOn     string         `json:"last_mounted_on,omitempty"`
	MountPoint    string         `json:"mount_point,omitempty"`
	Journal       *journalRecord `json:"journal,omitempty"`
	Problem       string         `json:"problem,omitempty"`
}

type journalRecord struct {
	State        string `json:"state"`
	Transactions int    `json:"transactions,omitempty"`
	Blocks       int    `json:"blocks,omitempty"`
	First        string `json:"first,omitempty"`
	Last         string `json:"last,omitempty"`
	Note         string `json:"note,omitempty"`
}

type systemRecord struct {
	OS         string `json:"os,omitempty"`
	Hostname   string `json:"hostname,omitempty"`
	MachineID  string `json:"machine_id,omitempty"`
	Node       string `json:"node_name,omitempty"`
	Cluster    string `json:"cluster,omitempty"`
	Server     string `json:"api_server,omitempty"`
	Kubernetes string `json:"kubernetes,omitempty"`
	// From names where the node, the cluster and the server were read.
	From map[string]string `json:"from,omitempty"`
}

type storeRecord struct {
	Runtime    string `json:"runtime"`
	DataRoot   string `json:"data_root"`
	Volume     int    `json:"volume,omitempty"`
	Found      string `json:"found"`
	Containers int    `json:"containers"`
	Sandboxes  int    `json:"sandboxes,omitempty"`
	Images     int    `json:"images"`
}

func (u *ui) infoRecord(n *analyzer.Node, hash bool) (*infoRecord, error) {
	r := &infoRecord{Volumes: []volumeRecord{}, Runtimes: []storeRecord{}}
	for _, e := range n.Evidence {
		er, err := u.evidenceRecord(n, e, hash)
		if err != nil {
			return nil, err
		}
		r.Evidence = append(r.Evidence, er)
	}
	for _, v := range n.Volumes {
		r.Volumes = append(r.Volumes, newVolumeRecord(v))
	}
	for _, m := range n.Mounts() {
		r.Mounts = append(r.Mounts, mountRecord(m))
	}
	s := n.System()
	r.System = systemRecord{OS: s.OS, Hostname: s.Hostname, MachineID: s.MachineID, Node: s.NodeName, Cluster: s.Cluster, Server: s.Server, Kubernetes: s.Kubernetes, From: s.From}
	for _, s := range n.Summaries() {
		r.Runtimes = append(r.Runtimes, storeRecord{string(s.Runtime), s.Path, s.Volume, string(s.Found), s.Containers, s.Sandboxes, s.Images})
	}
	for _, g := range n.Gaps() {
		r.Warnings = append(r.Warnings, g.String())
	}
	return r, nil
}

func newVolumeRecord(v *analyzer.Volume) volumeRecord {
	d := v.Description
	r := volumeRecord{
		Number: v.Index, Scheme: v.Scheme, Partition: v.Number, PartitionType: v.PartType, PartitionName: v.PartName, PartitionUUID: v.PartUUID,
		Start: v.Start, Size: v.Size, Content: v.Content, UUID: d.UUID, Label: d.Label, BlockSize: d.BlockSize, Features: d.Features,
		Created: formatTime(d.Created), Mounted: formatTime(d.Mounted), Written: formatTime(d.Written), MountedOn: d.MountedOn, MountPoint: v.MountPoint,
	}
	if j := d.Journal; j.State != "" {
		r.Journal = &journalRecord{string(j.State), j.Transactions, j.Blocks, formatTime(j.First), formatTime(j.Last), j.Note}
	}
	if v.Err != nil {
		r.Problem = v.Err.Error()
	}
	return r
}

// print writes the record for people.
func (r *infoRecord) print(w io.Writer) error {
	for _, e := range r.Evidence {
		e.print(w)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "VOLUME\tPARTITION\tSTART\tSIZE\tCONTENT\tUUID\tLABEL\tMOUNTED AT\tJOURNAL")
	for _, v := range r.Volumes {
		part := v.Scheme
		if v.Partition > 0 {
			part = fmt.Sprintf("%s %d %s", v.Scheme, v.Partition, v.PartitionType)
		} else if v.PartitionName != "" { // of a logical volume or an array
			part = fmt.Sprintf("%s %s", v.PartitionType, v.PartitionName)
		}
		cells := []string{fmt.Sprint(v.Number), part, fmt.Sprint(v.Start), bytesText(v.Size), v.Content, v.UUID, v.Label, v.MountPoint, v.Journal.text()}
		for i := range cells {
			cells[i] = text.ForTerminal(cells[i])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := r.printMounts(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, f := range [...]struct{ name, value string }{
		{"system", r.System.OS}, {"hostname", r.System.Hostname}, {"machine id", r.System.MachineID},
		{"node name", r.System.Node}, {"kubernetes", r.System.Kubernetes}, {"cluster", r.System.Cluster}, {"API server", r.System.Server},
	} {
		if f.value != "" {
			fmt.Fprintf(w, "%-11s%s\n", f.name, text.ForTerminal(f.value))
		}
	}
	if len(r.Runtimes) == 0 {
		_, err := fmt.Fprintln(w, "no container runtime's data was found")
		return err
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "RUNTIME\tDATA ROOT\tFOUND BY\tCONTAINERS\tSANDBOXES\tIMAGES")
	for _, s := range r.Runtimes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\n", s.Runtime, text.ForTerminal(s.DataRoot), s.Found, s.Containers, s.Sandboxes, s.Images)
	}
	return t.Flush()
}

func (j *journalRecord) text() string {
	if j == nil {
		return ""
	}
	switch evidence.JournalState(j.State) {
	case evidence.JournalReplayed:
		s := fmt.Sprintf("replayed in memory: %d transactions", j.Transactions)
		if j.First != "" {
			s += fmt.Sprintf(", %s to %s", shortTime(j.First), shortTime(j.Last))
		}
		return s
	case evidence.JournalDirty:
		return "dirty, not replayed: the view is stale"
	}
	return j.State
}

// bytesText is a size as people read it.
func bytesText(n int64) string {
	if n < 0 {
		return ""
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}
