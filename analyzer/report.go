package analyzer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/findings"
	"lagan/report"
	"lagan/runtimes"
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

// steps are the lengths of cells, from fine to coarse.
var steps = []int64{60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400, 365 * 86400}

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

// change keeps what a container changed.
func (r *reporter) change(container int) {
	x := &r.x
	kind := x.Text(timeline.FieldChangeKind)
	if kind == "" || kind == "unchanged" {
		return
	}
	c := r.changed[container]
	if c == nil {
		c = &report.Changes{Container: container}
		r.changed[container] = c
	}
	c.Total++
	const most = 200_000 // of all, before the containers with findings are known
	if len(c.Paths) >= maxOwnChanges || r.kept >= most {
		return
	}
	r.kept++
	out := report.Change{Path: x.Text(timeline.FieldFilename), Kind: kind, Type: x.Text(timeline.FieldFileEntryType), Mode: x.Text(timeline.FieldModeAsString)}
	if kind != "deleted" && kind != "opaque" {
		fmt.Sscan(x.Number(timeline.FieldFileSize), &out.Size)
	}
	for desc, t := range x.Times() {
		switch desc {
		case timeline.Modified:
			out.Mtime = reportTime(t)
		case timeline.MetadataChanged, timeline.ContentDeleted:
			out.Ctime = reportTime(t)
		}
	}
	c.Paths = append(c.Paths, out)
}

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

// login keeps a login; failed ones are put together by address.
func (r *reporter) login(kind timeline.DataType) {
	x := &r.x
	l := report.Login{
		Time: r.time(), Count: 1, Result: "accepted", User: x.Text(timeline.FieldUsername), From: firstOf(x.Text(timeline.FieldIPAddress), x.Text(timeline.FieldTerminal)),
		Method: x.Text(timeline.FieldAuthenticationMethod), Place: x.Text(timeline.FieldDisplayName), Offset: r.offset(), Text: shorten(x.Message()),
	}
	if kind == timeline.Utmp {
		switch x.Text(timeline.FieldLoginType) {
		case "USER_PROCESS", "LASTLOG":
		case "LOGIN_PROCESS":
			if x.Text(timeline.FieldAuthenticationResult) == "" {
				return
			}
		default:
			return
		}
	}
	if kind == timeline.SyslogSSHFailedConnection || x.Text(timeline.FieldAuthenticationResult) == "failure" {
		r.failure(l)
		return
	}
	if len(r.logins) >= maxLogins {
		r.lost["logins"]++
		return
	}
	r.logins = append(r.logins, l)
}

func (r *reporter) failure(l report.Login) {
	l.Result = "failure"
	const users = 5
	f := r.failed[l.From+"\x00"+l.Place]
	if f == nil {
		if len(r.failed) >= maxLogins {
			r.lost["addresses of failed logins"]++
			return
		}
		l.Last, l.Users, l.User = l.Time, []string{l.User}, ""
		r.failed[l.From+"\x00"+l.Place] = &l
		return
	}
	f.Count++
	f.Time, f.Last = min(f.Time, l.Time), max(f.Last, l.Time)
	if len(f.Users) < users && !slices.Contains(f.Users, l.User) {
		f.Users = append(f.Users, l.User)
	}
}

// command keeps a command.
func (r *reporter) command(rec *timeline.Record, container int, known bool) {
	x := &r.x
	switch rec.Kind() {
	case timeline.BashHistory, timeline.ZshHistory, timeline.SyslogCronTaskRun, timeline.SyslogLine, timeline.SystemdJournal:
	default:
		return // auditd's and the API's are too many, and in the timeline
	}
	text := x.Text(timeline.FieldCommand)
	if text == "" {
		return
	}
	if len(r.typed) >= maxCommands {
		r.lost["commands"]++
		return
	}
	c := report.Command{
		Time: r.time(), Assumed: x.Text(timeline.FieldTimeAssumption), Via: "history", User: x.Text(timeline.FieldUsername), Command: shorten(text), Owner: "node",
		Place: x.Text(timeline.FieldDisplayName), Offset: r.offset(),
	}
	if reporter := x.Text(timeline.FieldReporter); reporter != "" {
		c.Via = reporter
	}
	if known {
		c.Owner = r.n.Containers()[container].DisplayName()
	}
	r.typed = append(r.typed, c)
}

// shorten cuts a text that is over what a report shows.
func shorten(s string) string {
	if len(s) <= maxShownCommand {
		return s
	}
	return strings.ToValidUTF8(s[:maxShownCommand], "") + "..."
}

func (r *reporter) disks(ctx context.Context, noHash bool) error {
	for _, e := range r.n.Evidence {
		d := report.Disk{Name: report.Text(e.Name), Format: e.Format, Size: max(e.Size, 0)}
		if e.image != nil && !noHash {
			h, err := r.n.Hash(ctx, e)
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				r.n.gap(0, e.Name, err)
			}
			d.SHA256, d.SHA1, d.MD5 = h.SHA256, h.SHA1, h.MD5
		}
		r.data.Evidence = append(r.data.Evidence, d)
	}
	return nil
}

// system fills in the node, its volumes and runtimes.
func (r *reporter) system() {
	d, s := &r.data, r.n.System()
	d.System = report.System{Hostname: report.Text(s.Hostname), OS: report.Text(s.OS), MachineID: report.Text(s.MachineID), Kubernetes: s.Kubernetes}
	d.Volumes, d.Runtimes = []report.Volume{}, []report.Runtime{}
	for _, v := range r.n.Volumes {
		part := v.Scheme
		if v.Number > 0 {
			part = strings.TrimSpace(fmt.Sprintf("%s %d %s", v.Scheme, v.Number, v.PartName))
		}
		d.Volumes = append(d.Volumes, report.Volume{
			Index: v.Index, Partition: report.Text(part), Start: v.Start, Size: v.Size, Content: report.Text(v.Content), UUID: v.Description.UUID, MountedAt: report.Text(v.MountPoint),
			Journal: journalText(&v.Description.Journal), Created: reportTime(v.Description.Created),
		})
	}
	for _, s := range r.n.Summaries() {
		d.Runtimes = append(d.Runtimes, report.Runtime{Name: string(s.Runtime), Path: report.Text(s.Path), Found: string(s.Found), Containers: s.Containers, Sandboxes: s.Sandboxes, Images: s.Images})
	}
}

func journalText(j *evidence.Journal) string {
	if j.Transactions == 0 {
		return string(j.State)
	}
	return fmt.Sprintf("%s: %d transactions", j.State, j.Transactions)
}

// findings fills in what was found, as much evidence of each as the page can hold.
func (r *reporter) findings(all []*findings.Finding) {
	d := &r.data
	d.Findings, d.Counts.Findings = []findings.Record{}, map[string]int{}
	rows := 0
	for _, f := range all {
		x := f.Record()
		keep := min(len(x.Evidence), maxOwnEvidence, max(maxEvidenceRows-rows, 3))
		if keep < len(x.Evidence) {
			r.lost["pieces of evidence"] += len(x.Evidence) - keep
		}
		x.Evidence = x.Evidence[:keep]
		rows += keep
		for i := range x.Evidence {
			x.Evidence[i].Value = shorten(x.Evidence[i].Value)
		}
		d.Findings = append(d.Findings, x)
		d.Counts.Findings[x.Severity]++
	}
}

// containers fills in all containers, with the findings that are about them.
func (r *reporter) containers(all []*findings.Finding) {
	d := &r.data
	d.Containers = []report.Container{}
	about := make(map[int][]int)
	for k, f := range all {
		seen := make(map[int]bool)
		for i := range f.Evidence {
			if e := &f.Evidence[i]; e.Container != nil {
				if at, ok := r.index[e.Container.ID]; ok && !seen[at] {
					seen[at] = true
					about[at] = append(about[at], k)
				}
			}
		}
	}
	for i, c := range r.n.Containers() {
		out := report.Container{
			ID: report.Text(c.ID), Name: report.Text(c.DisplayName()), Kind: string(c.Kind), Runtime: string(c.Runtime), Namespace: report.Text(c.Namespace), State: string(c.State), ExitCode: c.ExitCode,
			Image: report.Text(c.Image), Command: shorten(report.Text(strings.Join(c.Command, " "))), Created: reportTime(c.Created), Started: reportTime(c.Started), Finished: reportTime(c.Finished),
			Privileged: c.Privileged, Findings: about[i],
		}
		if f := about[i]; len(f) > 0 {
			out.Severity = all[f[0]].Severity.String() // the severest come first
		}
		if ch := r.changed[i]; ch != nil {
			for _, p := range ch.Paths {
				switch p.Kind {
				case "added":
					out.Added++
				case "deleted", "opaque":
					out.Deleted++
				default:
					out.Modified++
				}
			}
		}
		if c.Kind == runtimes.KindSandbox {
			d.Counts.Sandboxes++
		} else {
			d.Counts.Containers++
		}
		d.Containers = append(d.Containers, out)
	}
}

func (r *reporter) pods() {
	d := &r.data
	d.Pods = []report.Pod{}
	at := make(map[*Container]int)
	for i, c := range r.n.Containers() {
		at[c] = i
	}
	for _, p := range r.n.Pods() {
		out := report.Pod{Namespace: report.Text(p.Namespace), Name: report.Text(p.Name), UID: report.Text(p.UID), State: string(p.State), Found: p.Found, Containers: []int{}}
		known := make(map[string]bool)
		for _, c := range append(slices.Clone(p.Containers), p.Sandboxes...) {
			known[c.Pod.Container] = true
			if i, ok := at[c]; ok {
				out.Containers = append(out.Containers, i)
			}
		}
		for _, name := range p.Names {
			if !known[name] && name != "" {
				out.Gone = append(out.Gone, report.Text(name))
			}
		}
		d.Pods = append(d.Pods, out)
	}
	d.Counts.Pods = len(d.Pods)
}

func (r *reporter) images() {
	r.data.Images = []report.Image{}
	for _, i := range r.n.Images() {
		var names []string
		for _, name := range i.Names {
			names = append(names, report.Text(name))
		}
		r.data.Images = append(r.data.Images, report.Image{
			ID: report.Text(i.ID), Names: names, Digest: report.Text(i.Digest), Runtime: string(i.Runtime), Created: reportTime(i.Created), Size: max(i.Size, 0), Containers: len(i.Containers),
		})
	}
	r.data.Counts.Images = len(r.data.Images)
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

// changes fills in what the containers with findings changed, the severest first.
func (r *reporter) changes() {
	d := &r.data
	d.Changes = []report.Changes{}
	order := slices.Sorted(maps.Keys(r.changed))
	order = slices.DeleteFunc(order, func(i int) bool { return len(d.Containers[i].Findings) == 0 })
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(d.Containers[a].Findings[0], d.Containers[b].Findings[0]) })
	left := maxReportChanges
	for _, i := range order {
		c := r.changed[i]
		slices.SortStableFunc(c.Paths, func(a, b report.Change) int { return strings.Compare(a.Path, b.Path) })
		c.Paths = c.Paths[:min(len(c.Paths), left)]
		left -= len(c.Paths)
		if c.Total > len(c.Paths) {
			r.lost["changed paths"] += c.Total - len(c.Paths)
		}
		d.Changes = append(d.Changes, *c)
	}
}

// story fills in logins and commands.
func (r *reporter) story() {
	d := &r.data
	for _, key := range slices.Sorted(maps.Keys(r.failed)) {
		r.logins = append(r.logins, *r.failed[key])
	}
	cited := make(map[string]bool)
	for _, f := range d.Findings {
		for _, e := range f.Evidence {
			if e.Kind == findings.KindCommand && e.Offset != nil && f.Severity != findings.Info.String() {
				cited[fmt.Sprint(e.Place, "\x00", *e.Offset)] = true
			}
		}
	}
	for i := range r.typed {
		r.typed[i].Finding = cited[fmt.Sprint(r.typed[i].Place, "\x00", r.typed[i].Offset)]
	}
	d.Logins, d.Commands = append([]report.Login{}, r.logins...), append([]report.Command{}, r.typed...)
	slices.SortStableFunc(d.Logins, func(a, b report.Login) int {
		return cmp.Or(strings.Compare(a.Time, b.Time), strings.Compare(a.Place, b.Place), cmp.Compare(a.Offset, b.Offset))
	})
	slices.SortStableFunc(d.Commands, func(a, b report.Command) int {
		return cmp.Or(strings.Compare(a.Time, b.Time), strings.Compare(a.Place, b.Place), cmp.Compare(a.Offset, b.Offset))
	})
}

func (r *reporter) gaps() {
	d := &r.data
	d.Gaps = []report.Gap{}
	all := r.n.Gaps()
	for _, g := range all[:min(len(all), maxReportGaps)] {
		d.Gaps = append(d.Gaps, report.Gap{Object: report.Text(g.Object), Message: report.Text(g.Message)})
	}
	if more := len(all) - len(d.Gaps); more > 0 {
		r.lost["things that could not be read"] = more
	}
	for _, what := range slices.Sorted(maps.Keys(r.lost)) {
		d.Cut = append(d.Cut, fmt.Sprintf("%d %s; lagan's other commands tell all of them.", r.lost[what], what))
	}
}
