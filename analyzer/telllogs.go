package analyzer

import (
	"iter"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"lagan/artifacts/history"
	"lagan/artifacts/packages"
	"lagan/artifacts/syslog"
	"lagan/artifacts/utmp"
	"lagan/timeline"
)

// syslogGlobs are the text logs of a system and its daemons; rotation adds to
// their names. (rsyslog.conf of Debian and Red Hat; cloud-init, kubelet,
// containerd and dockerd where they log to files.)
var syslogGlobs = []string{
	"var/log/syslog*", "var/log/messages*", "var/log/auth.log*", "var/log/secure*", "var/log/cron*", "var/log/maillog*", "var/log/mail.*",
	"var/log/kern.log*", "var/log/daemon.log*", "var/log/user.log*", "var/log/debug*", "var/log/authpriv.log*", "var/log/sudo.log*",
	"var/log/boot.log*", "var/log/spooler*", "var/log/local[0-7].log*", "var/log/haproxy.log*", "var/log/ufw.log*",
	"var/log/cloud-init.log*", "var/log/kubelet.log*", "var/log/kube-proxy.log*", "var/log/kube-apiserver.log*", "var/log/containerd.log*",
	"var/log/docker.log*", "var/log/dockerd.log*", "var/log/docker", "var/log/upstart/docker.log*", "var/log/crio.log*", "var/log/amazon/ssm/*.log*",
	"var/log/k3s.log*", "var/lib/rancher/k3s/agent/containerd/containerd.log*", "var/lib/rancher/rke2/agent/containerd/containerd.log*",
	"var/lib/rancher/rke2/agent/logs/kubelet.log*",
}

var (
	logMessage      = timeline.NewTemplate("[{reporter}] [{pid}]: {message_body}")
	logNoPIDMessage = timeline.NewTemplate("[{reporter}]: {message_body}")
	logBareMessage  = timeline.NewTemplate("{message_body}")
	// sshMessage is the form that Timesketch's ssh_sessionizer looks for,
	// whatever part of OpenSSH logged.
	sshMessage       = timeline.NewTemplate("[sshd] [{pid}]: {message_body}")
	loginMessage     = timeline.NewTemplate("User: {username} Hostname: {hostname} Terminal: {terminal} PID: {pid} Status: {login_type} IP Address: {ip_address} Exit status: {exit_status}")
	noLoginMessage   = timeline.NewTemplate("Terminal: {terminal} PID: {pid} Status: {login_type} Exit status: {exit_status}")
	lastLoginMessage = timeline.NewTemplate("Last login of user: {username} Hostname: {hostname} Terminal: {terminal}")
	commandMessage   = timeline.NewTemplate("{command}")
)

var syslogKinds = [...]timeline.DataType{
	syslog.Line: timeline.SyslogLine, syslog.CronTask: timeline.SyslogCronTaskRun, syslog.SSHLogin: timeline.SyslogSSHLogin,
	syslog.SSHFailed: timeline.SyslogSSHFailedConnection, syslog.SSHOpened: timeline.SyslogSSHOpenedConnection,
}

func (t *teller) syslog(a *artifact) error {
	common := t.artifactCommon(a, "syslog")
	r, done := a.unpacked()
	o := syslog.Options{Zone: a.zone.location, Years: syslog.Survey(r)}
	done()
	o.Years.Begin(a.lastWritten(), a.zone.location)
	r, done = a.unpacked()
	defer done()
	entries := syslog.Read(r, o)
	return t.withEvents(a, entries, func(e *syslog.Entry) {
		t.logged(a, syslogKinds[e.Kind], common, e.Offset, timeline.Modified, e.Time)
		t.r.String(timeline.FieldTimeAssumption, a.zone.assume(e.Yearless, e.Zoneless))
		t.r.String(timeline.FieldHostname, e.Host)
		t.r.String(timeline.FieldReporter, e.Reporter)
		if e.PID > 0 {
			t.r.Int(timeline.FieldPID, int64(e.PID))
		}
		t.r.String(timeline.FieldSeverity, e.Severity)
		t.r.String(timeline.FieldFacility, e.Facility)
		t.r.String(timeline.FieldEventIdentifier, e.ID)
		t.body(e.Text)
		t.r.String(timeline.FieldUsername, e.Username)
		t.r.String(timeline.FieldIPAddress, e.IP)
		t.r.String(timeline.FieldPort, e.Port)
		t.r.String(timeline.FieldAuthenticationMethod, e.Method)
		t.r.String(timeline.FieldAuthenticationResult, e.Result)
		t.r.String(timeline.FieldFingerprint, e.Fingerprint)
		t.r.String(timeline.FieldCommand, e.Command)
		t.r.String(timeline.FieldTerminal, e.Terminal)
		t.r.String(timeline.FieldWorkingDirectory, e.Directory)
		t.r.Template(syslogMessage(e))
	})
}

// withEvents makes a record of each line of a log, and of what it says of
// containers.
func (t *teller) withEvents(a *artifact, entries iter.Seq2[syslog.Entry, error], record func(*syslog.Entry)) error {
	for e, err := range entries {
		if err != nil {
			t.wrong(a, err)
			continue
		}
		record(&e)
		if err := t.tell(); err != nil {
			return sinkError{err}
		}
		if e.Reporter != "" && !slices.Contains(daemons, e.Reporter) {
			continue
		}
		s := said{time: e.Time, assumption: a.zone.assume(e.Yearless, e.Zoneless), offset: e.Offset, parser: "syslog"}
		if t.daemonEvent(a, s, e.Text) {
			if err := t.tell(); err != nil {
				return sinkError{err}
			}
		}
	}
	return nil
}

func syslogMessage(e *syslog.Entry) *timeline.Template {
	switch {
	case strings.HasPrefix(e.Reporter, "sshd") && e.PID > 0:
		return sshMessage
	case e.Reporter != "" && e.PID > 0:
		return logMessage
	case e.Reporter != "":
		return logNoPIDMessage
	}
	return logBareMessage
}

// rotatedOn finds the day in the name of a log that logrotate put away with dateext.
var rotatedOn = regexp.MustCompile(`-(20[0-9]{6})(?:[-.]|$)`)

// lastWritten is the time by which the file's last line was written: its
// modification time, or the day of its rotation if a copy of it was made later.
func (a *artifact) lastWritten() time.Time {
	m := rotatedOn.FindStringSubmatch(a.path)
	if m == nil {
		return a.info.Mtime
	}
	day, err := time.ParseInLocation("20060102", m[1], a.zone.location)
	if end := day.AddDate(0, 0, 1); err == nil && a.info.Mtime.After(end) {
		return end
	}
	return a.info.Mtime
}

func (t *teller) utmp(a *artifact) error {
	if strings.HasSuffix(a.path, ".db") {
		return nil // wtmpdb's, which is SQLite
	}
	common := t.artifactCommon(a, "utmp")
	r, done := a.unpacked()
	defer done()
	return each(t, a, utmp.Read(r), func(e *utmp.Entry) {
		t.logged(a, timeline.Utmp, common, e.Offset, timeline.Modified, e.Time)
		t.r.String(timeline.FieldUsername, e.User)
		t.r.String(timeline.FieldHostname, e.Host)
		t.r.String(timeline.FieldTerminal, e.Terminal)
		t.r.String(timeline.FieldTerminalIdentifier, e.ID)
		t.r.String(timeline.FieldLoginType, e.TypeName())
		t.r.Int(timeline.FieldPID, int64(e.PID))
		if e.IP.IsValid() {
			t.r.String(timeline.FieldIPAddress, e.IP.String())
		} else if ip, err := netip.ParseAddr(e.Host); err == nil {
			t.r.String(timeline.FieldIPAddress, ip.WithZone("").String())
		}
		t.r.Uint(timeline.FieldExitStatus, uint64(uint16(e.Exit)))
		if strings.HasPrefix(a.path, "/var/log/btmp") {
			t.r.String(timeline.FieldAuthenticationResult, "failure")
		}
		t.r.Template(loginMessage)
		if e.User == "" {
			t.r.Template(noLoginMessage)
		}
	})
}

func (t *teller) lastlog(a *artifact) error {
	common := t.artifactCommon(a, "lastlog")
	var uids []uint32
	names := make(map[uint32]string)
	for _, h := range a.homes {
		if _, known := names[h.uid]; !known {
			uids = append(uids, h.uid)
			names[h.uid] = h.user
		}
	}
	return each(t, a, utmp.Last(a.file, a.file.Size(), uids), func(l *utmp.LastLogin) {
		t.logged(a, timeline.Utmp, common, l.Offset, timeline.LastLogin, l.Time)
		t.r.String(timeline.FieldUsername, names[l.UID])
		t.r.Int(timeline.FieldOwnerIdentifier, int64(l.UID))
		t.r.String(timeline.FieldHostname, l.Host)
		t.r.String(timeline.FieldTerminal, l.Terminal)
		if ip, err := netip.ParseAddr(l.Host); err == nil {
			t.r.String(timeline.FieldIPAddress, ip.WithZone("").String())
		}
		t.r.String(timeline.FieldLoginType, "LASTLOG")
		t.r.Template(lastLoginMessage)
	})
}

func (t *teller) bashHistory(a *artifact) error {
	r, done := a.unpacked()
	defer done()
	return each(t, a, history.Bash(r), t.command(a, timeline.BashHistory, "bash_history"))
}

func (t *teller) zshHistory(a *artifact) error {
	r, done := a.unpacked()
	defer done()
	return each(t, a, history.Zsh(r), t.command(a, timeline.ZshHistory, "zsh_history"))
}

// command tells a command that was typed. One without a time is put at the
// last time that it can be said to be before or after; offset keeps the order.
func (t *teller) command(a *artifact, kind timeline.DataType, parser string) func(*history.Entry) {
	common := t.artifactCommon(a, parser)
	return func(e *history.Entry) {
		t.r.Reset(kind, common)
		t.r.Path(a.prefix, a.path)
		t.r.Int(timeline.FieldOffset, e.Offset)
		switch {
		case !e.Time.IsZero():
			t.r.Time(timeline.Modified, e.Time)
		case !e.After.IsZero():
			t.r.Time(timeline.Modified, e.After)
			t.r.String(timeline.FieldTimeAssumption, "the command has no time: shown at that of the last one before it that has")
		default:
			t.r.Time(timeline.Modified, a.info.Mtime)
			t.r.String(timeline.FieldTimeAssumption, "the command has no time: shown at the file's modification time, in the file's order by offset")
		}
		t.r.String(timeline.FieldUsername, a.user)
		t.r.String(timeline.FieldElapsedSeconds, e.Elapsed)
		t.r.String(timeline.FieldCommand, e.Command)
		t.r.Template(commandMessage)
	}
}

func (t *teller) dpkgLog(a *artifact) error {
	return t.packageLog(a, timeline.DpkgLog, timeline.Added, "dpkg")
}

func (t *teller) dnfLog(a *artifact) error {
	return t.packageLog(a, timeline.DnfLog, timeline.Added, "dnf")
}

func (t *teller) packageLog(a *artifact, kind timeline.DataType, desc timeline.Desc, parser string) error {
	common := t.artifactCommon(a, parser)
	r, done := a.unpacked()
	o := packages.Options{Zone: a.zone.location, Years: packages.Survey(r)}
	done()
	o.Years.Begin(a.lastWritten(), a.zone.location)
	r, done = a.unpacked()
	defer done()
	return each(t, a, packages.Lines(r, o), func(e *packages.Entry) {
		t.r.Reset(kind, common)
		t.packageEntry(a, e)
		t.r.Time(desc, e.Time)
		t.r.String(timeline.FieldSeverity, e.Severity)
		t.r.Template(logBareMessage)
	})
}

func (t *teller) packageEntry(a *artifact, e *packages.Entry) {
	t.r.Path(a.prefix, a.path)
	t.r.Int(timeline.FieldOffset, e.Offset)
	t.r.String(timeline.FieldTimeAssumption, a.zone.assume(e.Yearless, e.Zoneless))
	t.body(e.Text)
}

func (t *teller) aptHistory(a *artifact) error {
	common := t.artifactCommon(a, "apt_history")
	r, done := a.unpacked()
	defer done()
	return each(t, a, packages.AptHistory(r, packages.Options{Zone: a.zone.location}), func(e *packages.Entry) {
		t.r.Reset(timeline.AptHistoryLog, common)
		t.packageEntry(a, e)
		t.r.Time(timeline.Started, e.Time)
		t.r.Time(timeline.Ended, e.End)
		t.r.String(timeline.FieldCommand, e.Command)
		t.r.String(timeline.FieldCommandLine, e.CommandLine)
		t.r.String(timeline.FieldPackages, e.Packages)
		t.r.String(timeline.FieldRequester, e.Requester)
		t.r.String(timeline.FieldComment, e.Comment)
		t.r.String(timeline.FieldError, e.Error)
		t.r.Template(logBareMessage)
	})
}
