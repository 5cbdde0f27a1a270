package analyzer

import (
	"errors"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"lagan/artifacts/cron"
	"lagan/artifacts/sshkeys"
	"lagan/artifacts/sudoers"
	"lagan/artifacts/unit"
	"lagan/evidence"
	"lagan/timeline"
)

// What is set up to run by itself, and who may come in. Such files have no times
// of their entries: each is told at the file's modification time, and says so.

const stateAssumption = "the entry has no time: shown at the file's modification time, by which it was written"

var (
	userCrontabs   = []string{"var/spool/cron/crontabs/*", "var/spool/cron/tabs/*", "var/spool/cron/*", "etc/crontabs/*"}
	systemCrontabs = []string{"etc/crontab", "etc/cron.d/*"}
	cronScripts    = []string{"etc/cron.hourly/*", "etc/cron.daily/*", "etc/cron.weekly/*", "etc/cron.monthly/*", "etc/periodic/*/*"}
	atJobs         = []string{"var/spool/at/*", "var/spool/cron/atjobs/*", "var/spool/atjobs/*"}
	sudoersFiles   = []string{"etc/sudoers", "etc/sudoers.d/*", "usr/local/etc/sudoers", "usr/local/etc/sudoers.d/*"}
	authorizedKeys = []string{".ssh/authorized_keys", ".ssh/authorized_keys2"}
	knownHosts     = []string{".ssh/known_hosts", ".ssh/known_hosts2", ".ssh/known_hosts.old"}
	unitGlobs      = unitPatterns("etc/systemd/system", "etc/systemd/user", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system", "usr/lib/systemd/user")
	unitHomes      = unitPatterns(".config/systemd/user", ".local/share/systemd/user")
)

// unitPatterns are the units and drop-ins of systemd.unit(5)'s folders.
func unitPatterns(dirs ...string) []string {
	var out []string
	for _, d := range dirs {
		for _, typ := range []string{"service", "timer", "socket", "path"} {
			out = append(out, d+"/*."+typ, d+"/*.wants/*."+typ, d+"/*."+typ+".d/*.conf")
		}
	}
	return out
}

var setupSources = []artifactSource{
	{globs: systemCrontabs, tell: (*teller).systemCrontab},
	{globs: userCrontabs, tell: (*teller).userCrontab},
	{globs: []string{"etc/anacrontab"}, tell: (*teller).anacrontab},
	{globs: cronScripts, tell: (*teller).cronScript},
	{globs: atJobs, tell: (*teller).atJob},
	{globs: unitGlobs, homes: unitHomes, tell: (*teller).unitFile},
	{globs: sudoersFiles, tell: (*teller).sudoers},
	{globs: []string{"etc/ssh/authorized_keys/*", "etc/ssh/authorized_keys.d/*"}, homes: authorizedKeys, tell: (*teller).authorizedKeys},
	{globs: []string{"etc/ssh/ssh_known_hosts", "etc/ssh/ssh_known_hosts2"}, homes: knownHosts, tell: (*teller).knownHosts},
}

var (
	cronMessage    = timeline.NewTemplate("Cron job {schedule} user: {username} command: {command}")
	atMessage      = timeline.NewTemplate("At job {event_identifier} user: {username} command: {command}")
	unitMessage    = timeline.NewTemplate("Systemd unit {systemd_unit}: {description} schedule: {schedule} user: {username} command: {command}")
	sudoersMessage = timeline.NewTemplate("Sudoers {action}: {message_body}")
	keyMessage     = timeline.NewTemplate("Authorized key of user {username}: {key_type} {fingerprint} {comment} options: {options}")
	hostMessage    = timeline.NewTemplate("Known host of user {username}: {server_name} {key_type} {fingerprint}")
)

// state begins the record of an entry of a file.
func (t *teller) state(a *artifact, kind timeline.DataType, common *timeline.Common, offset int64, text string) {
	t.r.Reset(kind, common)
	t.r.Path(a.prefix, a.path)
	t.r.Int(timeline.FieldOffset, offset)
	t.r.Time(timeline.Modified, a.info.Mtime)
	t.r.String(timeline.FieldTimeAssumption, stateAssumption)
	t.body(text)
}

func (t *teller) systemCrontab(a *artifact) error { return t.crontab(a, cron.System, "") }
func (t *teller) anacrontab(a *artifact) error    { return t.crontab(a, cron.Anacron, "root") }

// userCrontab is called as its user. crontab's own temporary files are not.
func (t *teller) userCrontab(a *artifact) error {
	name := path.Base(a.path)
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "tmp.") || name == "cron.update" {
		return nil
	}
	return t.crontab(a, cron.User, name)
}

func (t *teller) crontab(a *artifact, form cron.Form, user string) error {
	common := t.artifactCommon(a, "cron")
	r, done := a.unpacked()
	defer done()
	return each(t, a, cron.Read(r, form), func(j *cron.Job) {
		t.state(a, timeline.CronJob, common, j.Offset, j.Text)
		t.r.String(timeline.FieldSchedule, j.Schedule)
		t.r.String(timeline.FieldUsername, firstOf(j.User, user))
		t.r.String(timeline.FieldCommand, j.Command)
		t.r.Template(cronMessage)
		if j.Command == "" {
			t.r.Template(logBareMessage)
		}
	})
}

// cronScript is a file that run-parts runs, if it may be executed.
func (t *teller) cronScript(a *artifact) error {
	if a.info.Perm&0o111 == 0 {
		return nil
	}
	_, often, _ := strings.Cut(path.Base(path.Dir(a.path)), ".")
	t.state(a, timeline.CronJob, t.artifactCommon(a, "cron"), 0, "")
	t.r.String(timeline.FieldSchedule, "@"+firstOf(often, path.Base(path.Dir(a.path))))
	t.r.String(timeline.FieldUsername, "root")
	t.r.String(timeline.FieldCommand, a.path)
	t.r.Template(cronMessage)
	return sink(t.tell())
}

// sink marks the error of an output.
func sink(err error) error {
	if err != nil {
		return sinkError{err}
	}
	return nil
}

func (t *teller) atJob(a *artifact) error {
	r, done := a.unpacked()
	defer done()
	j, err := cron.ReadAt(path.Base(a.path), r)
	if errors.Is(err, evidence.ErrFormat) {
		return nil // .SEQ and the like
	}
	if err != nil {
		return err
	}
	t.state(a, timeline.AtJob, t.artifactCommon(a, "at"), 0, j.Command)
	t.r.Time(timeline.ScheduledToStart, j.Time)
	t.r.Uint(timeline.FieldEventIdentifier, j.Number)
	user := j.Mail
	for _, h := range a.homes {
		if strconv.FormatUint(uint64(h.uid), 10) == j.UID {
			user = h.user
			break
		}
	}
	t.r.String(timeline.FieldUsername, user)
	t.r.String(timeline.FieldCommand, j.Command)
	t.r.Template(atMessage)
	return sink(t.tell())
}

// unitFile tells a unit or a drop-in. A link (an alias, or to /dev/null) has no
// settings: the file it leads to is told where it lies.
func (t *teller) unitFile(a *artifact) error {
	r, done := a.unpacked()
	defer done()
	u, err := unit.Read(r)
	if err != nil {
		return err
	}
	name := path.Base(a.path)
	if dropIn, ok := strings.CutSuffix(path.Base(path.Dir(a.path)), ".d"); ok {
		name = dropIn
	}
	commands := strings.Join(u.Commands, "; ")
	t.state(a, timeline.SystemdUnit, t.artifactCommon(a, "systemd_unit"), 0, "")
	t.r.String(timeline.FieldSystemdUnit, name)
	t.r.String(timeline.FieldDescription, u.Description)
	t.r.String(timeline.FieldUsername, firstOf(u.User, a.user))
	t.r.String(timeline.FieldCommand, commands)
	t.r.String(timeline.FieldSchedule, strings.Join(slices.Concat(u.Schedule, u.Paths), "; "))
	t.r.String(timeline.FieldResource, u.Starts)
	t.r.String(timeline.FieldOptions, strings.Join(slices.Concat(prefixed("WantedBy=", u.WantedBy), prefixed("Restart=", []string{u.Restart}), prefixed("Environment=", u.Environment)), "; "))
	t.r.Template(unitMessage)
	return sink(t.tell())
}

func prefixed(prefix string, values []string) []string {
	var out []string
	for _, v := range values {
		if v != "" {
			out = append(out, prefix+v)
		}
	}
	return out
}

func (t *teller) sudoers(a *artifact) error {
	common := t.artifactCommon(a, "sudoers")
	r, done := a.unpacked()
	defer done()
	return each(t, a, sudoers.Read(r), func(s *sudoers.Rule) {
		t.state(a, timeline.SudoersRule, common, s.Offset, s.Text)
		t.r.String(timeline.FieldAction, s.Kind)
		t.r.String(timeline.FieldUsername, s.User)
		if s.NoPassword {
			t.r.String(timeline.FieldOptions, "NOPASSWD")
		}
		t.r.Template(sudoersMessage)
	})
}

func (t *teller) authorizedKeys(a *artifact) error {
	common := t.artifactCommon(a, "ssh_keys")
	r, done := a.unpacked()
	defer done()
	return each(t, a, sshkeys.Authorized(r), func(k *sshkeys.Key) {
		t.key(a, timeline.SSHAuthorizedKey, common, k)
		t.r.String(timeline.FieldOptions, k.Options)
		t.r.Template(keyMessage)
		if k.Type == "" {
			t.r.Template(logBareMessage)
		}
	})
}

func (t *teller) knownHosts(a *artifact) error {
	common := t.artifactCommon(a, "ssh_keys")
	r, done := a.unpacked()
	defer done()
	return each(t, a, sshkeys.Known(r), func(k *sshkeys.Key) {
		t.key(a, timeline.SSHKnownHost, common, k)
		t.r.String(timeline.FieldServerName, k.Hosts)
		t.r.String(timeline.FieldOptions, k.Marker)
		for name := range strings.SplitSeq(k.Hosts, ",") {
			host, port := sshkeys.Host(name)
			if ip, err := netip.ParseAddr(host); err == nil {
				t.r.String(timeline.FieldIPAddress, ip.WithZone("").String())
				t.r.String(timeline.FieldPort, port)
			}
		}
		t.r.Template(hostMessage)
		if k.Type == "" {
			t.r.Template(logBareMessage)
		}
	})
}

// key sets what both files of keys have.
func (t *teller) key(a *artifact, kind timeline.DataType, common *timeline.Common, k *sshkeys.Key) {
	t.state(a, kind, common, k.Offset, k.Text)
	user := a.user
	if user == "" && kind == timeline.SSHAuthorizedKey {
		user = path.Base(a.path) // /etc/ssh/authorized_keys/USER
	}
	t.r.String(timeline.FieldUsername, user)
	t.r.String(timeline.FieldKeyType, k.Type)
	t.r.String(timeline.FieldFingerprint, k.Fingerprint)
	t.r.String(timeline.FieldComment, k.Comment)
}

// keysElsewhere are the files of keys that sshd's configuration names beside
// the usual ones: patterns from the root, and such from homes.
func keysElsewhere(s *site) artifactSource {
	src := artifactSource{tell: (*teller).authorizedKeys}
	for name := range glob(s.tree, "etc/ssh/sshd_config.d/*.conf") {
		keysOf(s.tree, name, &src)
	}
	keysOf(s.tree, "etc/ssh/sshd_config", &src)
	return src
}

// maxKeyFiles bounds the patterns that a configuration names.
const maxKeyFiles = 32

func keysOf(tree evidence.FS, name string, src *artifactSource) {
	b, err := evidence.ReadFile(tree, tree.Root(), name, maxConfigFile)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(strings.ReplaceAll(line, "=", " "))
		if len(f) < 2 || !strings.EqualFold(f[0], "AuthorizedKeysFile") {
			continue
		}
		for _, p := range f[1:] {
			p = strings.NewReplacer("%u", "*", "%U", "*", "%%", "%").Replace(strings.Trim(p, `"`))
			rest, home := strings.CutPrefix(p, "%h/")
			switch {
			case len(src.globs)+len(src.homes) >= maxKeyFiles || p == "none":
			case home || !strings.HasPrefix(p, "/"):
				src.homes = append(src.homes, rest)
			default:
				src.globs = append(src.globs, strings.Trim(p, "/"))
			}
		}
	}
}
