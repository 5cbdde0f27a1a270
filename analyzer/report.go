package analyzer

import (
	"context"
	"fmt"
	"time"

	"lagan/report"
	"lagan/timeline"
)

// ReportOptions say what a report holds.
type ReportOptions struct {
	Find    FindOptions
	NoHash  bool // leave out the hashes of the disks, for which all of them is read
	Version string
	Command []string // how to make it again
}

// Report puts together what a report says of the node. Its size doesn't grow
// with the node's beyond some megabytes: what is left out is counted.
func (n *Node) Report(ctx context.Context, o ReportOptions) (*report.Data, error) {
	r := newReporter(n)
	o.Find.Observe = r.observe
	all, err := n.Findings(ctx, o.Find)
	if err != nil {
		return nil, err
	}
	d := &r.data
	d.Record, d.Version, d.Command = "report", o.Version, o.Command
	if err := r.disks(ctx, o.NoHash); err != nil {
		return nil, err
	}
	r.system()
	r.findings(all)
	r.containers(all)
	r.pods()
	r.images()
	r.timeline()
	r.changes()
	r.story()
	r.gaps()
	return d, nil
}

// reporter collects what a report needs from the records of a timeline. It is
// called from the goroutine that takes the records alone.
type reporter struct {
	n       *Node
	data    report.Data
	x       timeline.Reader
	index   map[string]int // containers by id, by their place in data.Containers
	cells   map[cell]int64
	coarse  int // how often cells were put together
	changed map[int]*report.Changes
	kept    int
	logins  []report.Login
	failed  map[string]*report.Login
	typed   []report.Command
	lost    map[string]int // what was left out, by what it is
	first   int64
	last    int64
	dated   bool
}

// Bounds on a report. The page stays under 10 MB with all of them reached.
const (
	maxCells         = 80_000
	maxReportChanges = 12_000 // of all containers
	maxOwnChanges    = 2500   // of one
	maxLogins        = 2000
	maxCommands      = 3000
	maxReportGaps    = 500
	maxEvidenceRows  = 4000 // of all findings
	maxOwnEvidence   = 150  // of one
	maxContainerRows = 5000
	maxShownCommand  = 600
)

func newReporter(n *Node) *reporter {
	r := &reporter{n: n, index: map[string]int{}, cells: map[cell]int64{}, changed: map[int]*report.Changes{}, failed: map[string]*report.Login{}, lost: map[string]int{}}
	for i, c := range n.Containers() {
		r.index[c.ID] = i
	}
	return r
}

// observe counts a record and keeps what the report tells of it.
func (r *reporter) observe(rec *timeline.Record) error {
	if rec.Kind() == timeline.Warning {
		return nil
	}
	x := &r.x
	if err := x.Read(rec); err != nil {
		return err
	}
	owner := int64(ownerNode)
	container, known := r.index[string(x.Bytes(timeline.FieldContainerID))]
	switch {
	case known:
		owner = int64(container + firstContainer)
	case string(x.Bytes(timeline.FieldLayerSource)) == "lower", rec.Kind() == timeline.ContainerImage, rec.Kind() == timeline.LayerConfiguration:
		owner = ownerImages
	}
	for _, t := range x.Times() {
		r.count(t.Unix(), reportKind(rec.Kind()), owner)
	}
	switch rec.Kind() {
	case timeline.FSStat:
		if known {
			r.change(container)
		}
	case timeline.SyslogSSHLogin, timeline.SyslogSSHFailedConnection, timeline.Utmp:
		r.login(rec.Kind())
	}
	if rec.Kind() != timeline.Finding {
		r.command(rec, container, known)
	}
	return nil
}

// steps are the lengths of cells, from fine to coarse.
var steps = []int64{60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400}

const reportTimeFormat = "2006-01-02T15:04:05Z"

func reportTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(reportTimeFormat)
}

func (r *reporter) offset() int64 {
	var n int64
	fmt.Sscan(r.x.Number(timeline.FieldOffset), &n)
	return n
}

func (r *reporter) time() string {
	for _, t := range r.x.Times() {
		return reportTime(t)
	}
	return ""
}
