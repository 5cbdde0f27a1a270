package analyzer

import (
	"fmt"
	"slices"
	"time"

	"lagan/report"
	"lagan/timeline"
)

// The kinds of events that a report's timeline tells apart.
var reportKinds = []string{"files", "containers and images", "container logs", "system logs", "logins", "commands", "web requests", "audit and API", "packages", "findings"}

func reportKind(k timeline.DataType) int64 {
	switch k {
	case timeline.FSStat, timeline.RecoveredFile:
		return 0
	case timeline.DockerLogEntry, timeline.CRILogEntry:
		return 2
	case timeline.SystemdJournal, timeline.SyslogLine:
		return 3
	case timeline.SyslogSSHLogin, timeline.SyslogSSHFailedConnection, timeline.SyslogSSHOpenedConnection, timeline.Utmp:
		return 4
	case timeline.BashHistory, timeline.ZshHistory, timeline.SyslogCronTaskRun:
		return 5
	case timeline.ApacheAccessLog:
		return 6
	case timeline.SELinuxLine, timeline.KubernetesAudit, timeline.CloudTrailEntry, timeline.GuardDutyFinding, timeline.VPCFlow, timeline.FalcoAlert:
		return 7
	case timeline.DpkgLog, timeline.AptHistoryLog, timeline.DnfLog, timeline.RPMPackage:
		return 8
	case timeline.Finding:
		return 9
	}
	return 1
}

// The owners of events that are no container's.
const (
	ownerNode = iota
	ownerImages
	firstContainer
)

// cell is a place in the count of events.
type cell struct {
	start  int64 // seconds from 1970
	length int64
	kind   int64
	owner  int64
}

func (r *reporter) count(sec, kind, owner int64) {
	r.data.Counts.Events++
	if !r.dated || sec < r.first {
		r.first = sec
	}
	if !r.dated || sec > r.last {
		r.last = sec
	}
	r.dated = true
	r.cells[cellAt(sec, r.coarse, kind, owner)]++
	if len(r.cells) > 4*maxCells {
		r.coarsen()
	}
}

func cellAt(sec int64, coarse int, kind, owner int64) cell {
	step := steps[coarse]
	start := sec - sec%step
	if sec%step < 0 {
		start -= step
	}
	return cell{start, step, kind, owner}
}

// coarsen puts cells together that are near each other in time.
func (r *reporter) coarsen() {
	if r.coarse == len(steps)-1 {
		return
	}
	r.coarse++
	old := r.cells
	r.cells = make(map[cell]int64, len(old)/2)
	for c, count := range old {
		r.cells[cellAt(c.start, r.coarse, c.kind, c.owner)] += count
	}
}

// timeline fills in the counts of events.
func (r *reporter) timeline() {
	for len(r.cells) > maxCells && r.coarse < len(steps)-1 {
		r.coarsen()
	}
	t := &r.data.Timeline
	t.Kinds = reportKinds
	t.Owners = []report.Owner{{Name: "the node", Container: -1}, {Name: "images", Container: -1}}
	for i, c := range r.data.Containers {
		t.Owners = append(t.Owners, report.Owner{Name: c.Name, Container: i})
	}
	t.Cells = make([][5]int64, 0, len(r.cells))
	for c, count := range r.cells {
		t.Cells = append(t.Cells, [5]int64{c.start, c.length, c.kind, c.owner, count})
	}
	slices.SortFunc(t.Cells, func(a, b [5]int64) int { return slices.Compare(a[:], b[:]) })
	if r.dated {
		t.First, t.Last = reportTime(time.Unix(r.first, 0)), reportTime(time.Unix(r.last, 0))
	}
	if steps[r.coarse] > 3600 {
		r.data.Cut = append(r.data.Cut, fmt.Sprintf("The timeline counts by %d hours, as there are many containers and times.", steps[r.coarse]/3600))
	}
}
