package analyzer

import (
	"fmt"
	"testing"
	"time"

	"lagan/internal/needs"
	"lagan/timeline"
)

// TestReporterBounds counts three hundred thousand events over two years: none is
// lost, and what is kept stays within its bounds.
func TestReporterBounds(t *testing.T) {
	needs.Time(t)
	n := openFixture(t, "docker-ext4", Options{})
	r := newReporter(n)
	all := n.Containers()
	var rec timeline.Record
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	const events = 300_000
	for i := range events {
		rec.Reset([]timeline.DataType{timeline.FSStat, timeline.DockerLogEntry, timeline.BashHistory, timeline.SyslogSSHFailedConnection}[i%4], nil)
		rec.String(timeline.FieldContainerID, all[i%len(all)].ID)
		rec.Path("CONTAINER:x:", fmt.Sprintf("/f/%d", i))
		rec.String(timeline.FieldChangeKind, "added")
		rec.String(timeline.FieldCommand, "ls")
		rec.String(timeline.FieldIPAddress, fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255))
		rec.Time(timeline.Modified, start.Add(time.Duration(i)*210*time.Second))
		if err := r.observe(&rec); err != nil {
			t.Fatal(err)
		}
	}
	r.findings(nil)
	r.containers(nil)
	r.timeline()
	r.changes()
	r.story()
	r.gaps()
	d := &r.data
	var sum int64
	for _, c := range d.Timeline.Cells {
		sum += c[4]
	}
	if sum != events || d.Counts.Events != events || len(d.Timeline.Cells) > maxCells {
		t.Errorf("%d events in %d cells, want %d in at most %d", sum, len(d.Timeline.Cells), events, maxCells)
	}
	if len(d.Commands) > maxCommands || len(d.Logins) > 2*maxLogins || len(d.Cut) < 2 {
		t.Errorf("%d commands, %d logins; left out: %q", len(d.Commands), len(d.Logins), d.Cut)
	}
}
