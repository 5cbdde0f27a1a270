package analyzer

import (
	"bytes"
	"encoding/json"
	"strings"

	"lagan/findings"
	"lagan/timeline"
)

// lineFinder looks at what logs and histories say.
type lineFinder struct {
	x       timeline.Reader
	hints   []string
	hinted  bool // all rules about lines have hints, or ask for other fields
	lower   []byte
	mounted map[place]bool // folders that were looked at: see mounts
}

// record looks at a record of the timeline that was built. Files are looked at
// where they are told, with more than their records have.
func (f *finder) record(r *timeline.Record) {
	var via string
	switch r.Kind() {
	case timeline.FSStat, timeline.Warning, timeline.Finding, timeline.RecoveredFile, timeline.ContainerConfiguration, timeline.LayerConfiguration,
		timeline.ContainerImage, timeline.ContainerSnapshot, timeline.KubernetesPod, timeline.ContainerVolume, timeline.RPMPackage,
		// What is set up is looked at where it lies.
		timeline.CronJob, timeline.AtJob, timeline.SystemdUnit, timeline.SudoersRule, timeline.SSHAuthorizedKey, timeline.SSHKnownHost,
		buildKind: // in the folders of the build, as the steps of an image's history
		return
	case timeline.BashHistory, timeline.ZshHistory:
		via = "history"
	}
	x := &f.lines.x
	if x.Read(r) != nil {
		return
	}
	f.logins.record(f, r)
	command := x.Text(timeline.FieldCommand)
	if command == "" {
		command = x.Text(timeline.FieldCommandLine)
	}
	if command != "" {
		f.command(r, via, command)
	}
	if via == "" {
		f.line(r)
	}
}

// lineEvidence is a record as evidence.
func (f *finder) lineEvidence(kind string) findings.Evidence {
	x := &f.lines.x
	e := findings.Evidence{
		Kind: kind, Place: x.Text(timeline.FieldDisplayName), Path: x.Text(timeline.FieldFilename), Offset: -1,
		Container: f.containerOf(f.byID[x.Text(timeline.FieldContainerID)]),
	}
	if n := x.Number(timeline.FieldOffset); n != "" {
		e.Offset = 0
		for _, c := range []byte(n) {
			e.Offset = e.Offset*10 + int64(c-'0')
		}
	}
	for desc, t := range x.Times() {
		e.Time, e.TimeOf = t, "logged"
		if kind == findings.KindCommand {
			e.TimeOf = "run"
		}
		if x.Text(timeline.FieldTimeAssumption) != "" && desc == timeline.Modified {
			e.TimeOf += ", inferred"
		}
		break
	}
	return e
}

func (f *finder) command(r *timeline.Record, via, command string) {
	x := &f.lines.x
	if via == "" {
		switch via = x.Text(timeline.FieldReporter); {
		case r.Kind() == timeline.SyslogCronTaskRun:
			via = "cron"
		case r.Kind() == timeline.SELinuxLine:
			via = "audit"
		}
	}
	s := findings.NewSubject(findings.KindCommand)
	s.Set("command", command)
	s.Set("via", via)
	s.Set("source", x.Text(timeline.FieldFilename))
	s.Set("user", x.Text(timeline.FieldUsername))
	s.Set("working_directory", x.Text(timeline.FieldWorkingDirectory))
	program := firstOf(x.Text(timeline.FieldExecutable), firstWord(command))
	s.Set("program", program)
	s.Set("executable", x.Text(timeline.FieldExecutable))
	s.Set("container", x.Text(timeline.FieldContainerID))
	f.match(s, f.lineEvidence(findings.KindCommand))
}

func firstWord(s string) string {
	if w := strings.Fields(s); len(w) > 0 {
		return w[0]
	}
	return ""
}

// hinted says whether a line has one of the texts that a rule can match with.
func (l *lineFinder) hasHint(b []byte) bool {
	l.lower = l.lower[:0]
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		l.lower = append(l.lower, c)
	}
	for _, h := range l.hints {
		if bytes.Contains(l.lower, []byte(h)) {
			return true
		}
	}
	return false
}

// plainFields are the fields of lines that rules ask for.
var plainFields = [...]struct {
	name  string
	field timeline.StringField
}{
	{"reporter", timeline.FieldReporter}, {"username", timeline.FieldUsername}, {"ip_address", timeline.FieldIPAddress},
	{"authentication_result", timeline.FieldAuthenticationResult}, {"audit_type", timeline.FieldAuditType}, {"executable", timeline.FieldExecutable},
	{"system_call", timeline.FieldSystemCall}, {"success", timeline.FieldSuccess}, {"verb", timeline.FieldVerb}, {"resource", timeline.FieldResource},
	{"object_name", timeline.FieldObjectName}, {"response_code", timeline.FieldResponseCode}, {"user_agent", timeline.FieldUserAgent},
	{"http_request", timeline.FieldHTTPRequest}, {"http_response_code", timeline.FieldHTTPResponseCode}, {"systemd_unit", timeline.FieldSystemdUnit},
	{"severity", timeline.FieldSeverity}, {"source", timeline.FieldFilename}, {"container", timeline.FieldContainerID},
}

// line looks at a line of a log.
func (f *finder) line(r *timeline.Record) {
	x := &f.lines.x
	body := x.Bytes(timeline.FieldMessageBody)
	alert := bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) && bytes.Contains(body, []byte(`"output_fields"`))
	ask := !f.lines.hinted || f.in != nil || alert
	switch r.Kind() {
	case timeline.KubernetesAudit, timeline.GuardDutyFinding, timeline.CloudTrailEntry, timeline.FalcoAlert, timeline.SELinuxLine:
		ask = true
	case timeline.ApacheAccessLog:
		ask = ask || f.lines.hasHint(x.Bytes(timeline.FieldHTTPRequest)) || f.lines.hasHint(x.Bytes(timeline.FieldHTTPRequestUserAgent))
	default:
		ask = ask || f.lines.hasHint(body)
	}
	if !ask {
		return
	}
	s := findings.NewSubject(findings.KindLog)
	s.Set("data_type", r.Kind().String())
	for _, p := range plainFields {
		s.Set(p.name, x.Text(p.field))
	}
	message := string(body)
	switch r.Kind() {
	case timeline.ApacheAccessLog:
		message = `"` + x.Text(timeline.FieldHTTPRequest) + `" ` + x.Text(timeline.FieldHTTPResponseCode) + " " + x.Text(timeline.FieldHTTPRequestUserAgent)
	case timeline.KubernetesAudit, timeline.GuardDutyFinding, timeline.CloudTrailEntry, timeline.FalcoAlert:
		message = x.Message()
	}
	s.Set("message", message)
	if alert {
		falco(s, body)
	}
	if r.Kind() == timeline.FalcoAlert {
		s.Flag("falco", true)
		s.Set("falco_priority", strings.ToLower(x.Text(timeline.FieldPriority)))
	}
	f.match(s, f.lineEvidence(findings.KindLog))
}

// falco reads an alert as Falco writes it with json_output.
func falco(s *findings.Subject, body []byte) {
	var alert struct {
		Rule     string `json:"rule"`
		Priority string `json:"priority"`
		Output   string `json:"output"`
	}
	if json.Unmarshal(body, &alert) != nil || alert.Rule == "" || alert.Priority == "" {
		return
	}
	s.Flag("falco", true)
	s.Set("falco_priority", strings.ToLower(alert.Priority))
	s.Set("falco_rule", alert.Rule)
	s.Set("message", alert.Priority+": "+alert.Rule+": "+alert.Output)
}
