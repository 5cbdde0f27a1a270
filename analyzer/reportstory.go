package analyzer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lagan/findings"
	"lagan/report"
	"lagan/timeline"
)

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
