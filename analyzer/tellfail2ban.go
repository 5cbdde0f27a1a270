package analyzer

import (
	"lagan/artifacts/fail2ban"
	"lagan/timeline"
)

// fail2banLog is fail2ban.log with those that logrotate keeps.
var fail2banLog = artifactSource{globs: []string{"var/log/fail2ban.log*"}, tell: (*teller).fail2ban}

var (
	fail2banKind    = timeline.NewDataType("linux:fail2ban:log:entry", "LOG", "Fail2ban Log")
	fail2banMessage = timeline.NewTemplate("[fail2ban.{reporter}] {severity} {message_body}")
)

func (t *teller) fail2ban(a *artifact) error {
	common := t.artifactCommon(a, "fail2ban")
	r, done := a.unpacked()
	defer done()
	return each(t, a, fail2ban.Read(r, a.zone.location), func(e *fail2ban.Entry) {
		t.logged(a, fail2banKind, common, e.Offset, timeline.Recorded, e.Time)
		t.r.String(timeline.FieldTimeAssumption, a.zone.assume(false, true))
		t.r.String(timeline.FieldReporter, e.Part)
		t.r.String(timeline.FieldSeverity, e.Severity)
		if e.PID > 0 {
			t.r.Int(timeline.FieldPID, int64(e.PID))
		}
		t.r.String(timeline.FieldRule, e.Jail)
		t.r.String(timeline.FieldAction, e.Action)
		if e.IP.IsValid() {
			t.r.String(timeline.FieldIPAddress, e.IP.String())
		}
		t.body(e.Text)
		t.r.Template(fail2banMessage)
	})
}
