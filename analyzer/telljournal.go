package analyzer

import (
	"fmt"
	"slices"
	"strconv"

	"lagan/artifacts/daemon"
	"lagan/artifacts/journal"
	"lagan/artifacts/syslog"
	"lagan/timeline"
)

// onlyContainers says whether the node's own traces were not asked for.
func (t *teller) onlyContainers() bool {
	return t.o.Scope == ScopeContainers || len(t.o.Containers) > 0 && t.o.Scope != ScopeNode
}

// wanted says whether the container is one of those that were asked for.
func (t *teller) wanted(c *Container) bool {
	return len(t.o.Containers) == 0 || slices.ContainsFunc(t.o.Containers, func(x *Container) bool {
		return x.ID == c.ID && x.Runtime == c.Runtime
	})
}

// journalGlobs are where journald and systemd-journal-remote write. /run is on
// a disk only where someone copied it there.
var journalGlobs = []string{
	"var/log/journal/*/*.journal", "var/log/journal/*/*.journal~", "var/log/journal/*.journal", "var/log/journal/*.journal~",
	"run/log/journal/*/*.journal", "run/log/journal/*/*.journal~",
}

// journals tells the systemd journals of the node, which hold the lines of
// containers too, and those that containers wrote.
func (t *teller) journals() error {
	jt := journalTeller{teller: t}
	for _, s := range t.sites(true) {
		for _, pattern := range journalGlobs {
			if err := t.matches(s, pattern, "", jt.file); err != nil {
				return err
			}
		}
	}
	return nil
}

// journalTeller makes records of journals' entries.
type journalTeller struct {
	*teller
	a   *artifact
	own *timeline.Common // of entries that are the place's own
}

func (t *journalTeller) file(_ *teller, a *artifact) error {
	j, err := journal.Open(a.file, a.file.Size())
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	t.a, t.own = a, t.artifactCommon(a, "journal")
	for e, err := range j.Entries() {
		if err != nil {
			t.wrong(a, fmt.Errorf("journal: %w", err))
			continue
		}
		var l line
		l.read(&e)
		if t.entry(&e, &l) {
			if err := t.tell(); err != nil {
				return sinkError{err}
			}
		}
		if t.event(&e, &l) {
			if err := t.tell(); err != nil {
				return sinkError{err}
			}
		}
	}
	return nil
}

// line is what an entry's fields say, by what a timeline calls it.
type line struct {
	message, reporter, comm, pid, syslogPID, severity, facility []byte
	unit, unitOf, exe, cmdline, hostname                        []byte
	id, fullID, name, image                                     []byte
	podmanID, podmanName, podmanImage, podmanType, podmanEvent  []byte
	podmanExit                                                  []byte
	cut                                                         bool
}

// read sorts the fields. Of a name that occurs several times the first counts.
func (l *line) read(e *journal.Entry) {
	for i := range e.Fields {
		f := &e.Fields[i]
		if to := l.field(f.Name); to != nil && *to == nil {
			*to = f.Value
			l.cut = l.cut || f.Cut
		}
	}
	if string(l.podmanType) == "container" { // what Podman logs of its own doing
		l.fullID, l.name, l.image = first(l.fullID, l.podmanID), first(l.name, l.podmanName), first(l.image, l.podmanImage)
	}
}

func first(a, b []byte) []byte {
	if len(a) > 0 {
		return a
	}
	return b
}

// field names are those of systemd.journal-fields(7), of Docker's journald
// log driver, and of Podman's.
func (l *line) field(name string) *[]byte {
	switch name {
	case "MESSAGE":
		return &l.message
	case "SYSLOG_IDENTIFIER":
		return &l.reporter
	case "_COMM":
		return &l.comm
	case "_PID":
		return &l.pid
	case "SYSLOG_PID":
		return &l.syslogPID
	case "PRIORITY":
		return &l.severity
	case "SYSLOG_FACILITY":
		return &l.facility
	case "_SYSTEMD_UNIT":
		return &l.unit
	case "UNIT":
		return &l.unitOf
	case "_EXE":
		return &l.exe
	case "_CMDLINE":
		return &l.cmdline
	case "_HOSTNAME":
		return &l.hostname
	case "CONTAINER_ID":
		return &l.id
	case "CONTAINER_ID_FULL":
		return &l.fullID
	case "CONTAINER_NAME":
		return &l.name
	case "IMAGE_NAME":
		return &l.image
	case "PODMAN_ID":
		return &l.podmanID
	case "PODMAN_NAME":
		return &l.podmanName
	case "PODMAN_IMAGE":
		return &l.podmanImage
	case "PODMAN_TYPE":
		return &l.podmanType
	case "PODMAN_EVENT":
		return &l.podmanEvent
	case "PODMAN_EXIT_CODE":
		return &l.podmanExit
	}
	return nil
}

// entry makes the record of an entry, and says whether it was asked for.
func (t *journalTeller) entry(e *journal.Entry, l *line) bool {
	id := string(first(l.fullID, l.id))
	c := t.containerByID(id)
	node := t.a.container == nil
	if node && t.onlyContainers() && (c == nil || !t.wanted(c)) {
		return false
	}
	common := t.own
	if c != nil && node {
		common = t.eventCommon(c, "journal", t.a.volume)
	}
	t.r.Reset(timeline.SystemdJournal, common)
	t.r.Path(t.a.prefix, t.a.path)
	t.r.Int(timeline.FieldOffset, e.Offset)
	if id != "" && c == nil && node {
		t.r.String(timeline.FieldContainerID, id)
		t.r.String(timeline.FieldContainerIdentifier, id)
		t.r.Bytes(timeline.FieldContainerName, l.name)
		t.r.Bytes(timeline.FieldImageName, l.image)
	}
	t.say(l)
	if e.BootID != [16]byte{} {
		t.r.String(timeline.FieldBootIdentifier, fmt.Sprintf("%x", e.BootID))
	}
	if e.Unlinked {
		t.r.Strings(timeline.FieldTag, []string{"journal_entry_unlinked"})
	}
	t.r.Time(timeline.Modified, e.Realtime)
	return true
}

// daemons are the programs whose word counts for what happened to containers.
var daemons = []string{"containerd", "dockerd", "kubelet", "kernel", "k3s", "rke2", "crio", "podman"}

// event makes the record of what a daemon's entry says of a container, and says
// whether there is one.
func (t *journalTeller) event(e *journal.Entry, l *line) bool {
	reporter := string(first(l.reporter, l.comm))
	if t.a.container != nil || !slices.Contains(daemons, reporter) {
		return false
	}
	s := said{time: e.Realtime, offset: e.Offset, parser: "journal"}
	if action, ok := podmanActions[string(l.podmanEvent)]; ok && len(l.podmanType) > 0 {
		ev := daemon.Event{Action: action, ExitCode: string(l.podmanExit)}
		switch string(l.podmanType) {
		case "container":
			ev.ContainerID, ev.ContainerName, ev.Image = string(l.fullID), string(l.name), string(l.image)
		case "image":
			ev.Image = string(first(l.podmanName, l.podmanID))
		default:
			return false
		}
		return t.runtimeEvent(t.a, s, &ev)
	}
	return t.daemonEvent(t.a, s, string(l.message))
}

// podmanActions are Podman's words (libpod/events/config.go). exec_died tells the
// end of what exec began.
var podmanActions = map[string]daemon.Action{
	"exec": daemon.Exec, "attach": daemon.Attach, "create": daemon.Create, "start": daemon.Start, "restart": daemon.Start, "died": daemon.Exit,
	"stop": daemon.Stop, "kill": daemon.Stop, "remove": daemon.Remove, "pull": daemon.Pull, "untag": daemon.RemoveImage, "checkpoint": daemon.Checkpoint,
}

// say sets the fields of the record.
func (t *journalTeller) say(l *line) {
	reporter := string(first(l.reporter, l.comm))
	t.r.Bytes(timeline.FieldHostname, l.hostname)
	t.r.String(timeline.FieldReporter, reporter)
	pid, err := strconv.ParseInt(string(first(l.pid, l.syslogPID)), 10, 32)
	if err == nil && pid > 0 {
		t.r.Int(timeline.FieldPID, pid)
	}
	t.r.Bytes(timeline.FieldBody, l.message)
	t.r.Bytes(timeline.FieldMessageBody, l.message)
	t.r.String(timeline.FieldSeverity, named(severities[:], l.severity))
	t.r.String(timeline.FieldFacility, named(facilities[:], l.facility))
	t.r.Bytes(timeline.FieldSystemdUnit, first(l.unit, l.unitOf))
	t.r.Bytes(timeline.FieldExecutable, l.exe)
	t.r.Bytes(timeline.FieldCommandLine, l.cmdline)
	if l.cut {
		t.r.Bool(timeline.FieldTruncated, true)
	}
	m := syslog.Entry{Reporter: reporter, PID: int(max(pid, 0)), Text: string(l.message)}
	syslog.Understand(&m)
	t.understood(&m)
	t.r.Template(syslogMessage(&m))
}

// understood sets what is known of the programs whose messages are.
func (t *teller) understood(m *syslog.Entry) {
	t.r.String(timeline.FieldUsername, m.Username)
	t.r.String(timeline.FieldIPAddress, m.IP)
	t.r.String(timeline.FieldPort, m.Port)
	t.r.String(timeline.FieldAuthenticationMethod, m.Method)
	t.r.String(timeline.FieldAuthenticationResult, m.Result)
	t.r.String(timeline.FieldFingerprint, m.Fingerprint)
	t.r.String(timeline.FieldCommand, m.Command)
	t.r.String(timeline.FieldTerminal, m.Terminal)
	t.r.String(timeline.FieldWorkingDirectory, m.Directory)
}

// severities and facilities are RFC 5424's (tables 2 and 1), in the words that
// records of syslog use.
var (
	severities = [8]string{"EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"}
	facilities = [24]string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
)

// named returns the name of a number in text, "" where it has none.
func named(names []string, number []byte) string {
	n, err := strconv.Atoi(string(number))
	if err != nil || n < 0 || n >= len(names) {
		return ""
	}
	return names[n]
}
