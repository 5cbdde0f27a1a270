package timeline

// DataType is a kind of record. Names are plaso's where plaso reads the same
// thing, so that what was saved for plaso's records finds lagan's.
type DataType uint8

// The kinds of records.
const (
	Unknown DataType = iota
	Warning          // something that could not be read
	FSStat
	ContainerConfiguration // every runtime: existing saved searches match
	LayerConfiguration     // one step of an image's build history
	ContainerImage
	ContainerSnapshot
	KubernetesPod
	ContainerVolume
	ContainerExec
	DockerLogEntry
	CRILogEntry
	SystemdJournal
	SyslogLine
	SyslogCronTaskRun
	SyslogSSHLogin
	SyslogSSHFailedConnection
	SyslogSSHOpenedConnection
	Utmp
	BashHistory
	ZshHistory
	SELinuxLine
	KubernetesAudit
	DpkgLog
	AptHistoryLog
	DnfLog
	RPMPackage
	ApacheAccessLog
	FalcoAlert
	CloudTrailEntry
	GuardDutyFinding
	VPCFlow
	Finding
	RecoveredFile
	CronJob // what a crontab says, as it is now; as are the next ones
	AtJob
	SystemdUnit
	SudoersRule
	SSHAuthorizedKey
	SSHKnownHost
	WebErrorLog

	numDataTypes
)

// maxDataTypes bounds the kinds, those of NewDataType included.
const maxDataTypes = 96

// dataTypes has each kind's data_type, source_short and source_long; those of
// plaso are as in its formatters (plaso/data/formatters/generic.yaml, linux.yaml).
var dataTypes = [maxDataTypes]struct{ name, short, long string }{
	Unknown:                   {"lagan:record", "LAGAN", "Record"},
	Warning:                   {"lagan:warning", "LAGAN", "Gap in the evidence"},
	FSStat:                    {"fs:stat", "FILE", "File stat"},
	ContainerConfiguration:    {"docker:container:configuration", "DOCKER", "Docker Container"},
	LayerConfiguration:        {"docker:layer:configuration", "DOCKER", "Docker Layer"},
	ContainerImage:            {"container:image", "CONTAINER", "Container Image"},
	ContainerSnapshot:         {"container:snapshot", "CONTAINER", "Container Snapshot"},
	KubernetesPod:             {"kubernetes:pod", "KUBERNETES", "Kubernetes Pod"},
	ContainerVolume:           {"container:volume", "CONTAINER", "Container Volume"},
	ContainerExec:             {"container:exec", "CONTAINER", "Container Exec Session"},
	DockerLogEntry:            {"docker:container:log:entry", "DOCKER", "Docker Container Log"},
	CRILogEntry:               {"cri:container:log:entry", "CRI", "Container Runtime Interface Container Log"},
	SystemdJournal:            {"systemd:journal", "LOG", "Systemd journal"},
	SyslogLine:                {"syslog:line", "LOG", "Log File"},
	SyslogCronTaskRun:         {"syslog:cron:task_run", "LOG", "Cron log"},
	SyslogSSHLogin:            {"syslog:ssh:login", "LOG", "SSH Log"},
	SyslogSSHFailedConnection: {"syslog:ssh:failed_connection", "LOG", "SSH Log"},
	SyslogSSHOpenedConnection: {"syslog:ssh:opened_connection", "LOG", "SSH Log"},
	Utmp:                      {"linux:utmp:event", "LOG", "UTMP session"},
	BashHistory:               {"bash:history:entry", "LOG", "Bash History"},
	ZshHistory:                {"shell:zsh:history", "HIST", "Zsh History"},
	SELinuxLine:               {"selinux:line", "LOG", "Audit Log"},
	KubernetesAudit:           {"kubernetes:audit:event", "KUBERNETES", "Kubernetes Audit Log"},
	DpkgLog:                   {"linux:dpkg_log:entry", "LOG", "dpkg log file"},
	AptHistoryLog:             {"linux:apt_history_log:entry", "LOG", "APT History Log"},
	DnfLog:                    {"linux:dnf_log:entry", "LOG", "DNF Log"},
	RPMPackage:                {"linux:rpm:package", "LOG", "RPM Database"},
	ApacheAccessLog:           {"apache:access_log:entry", "LOG", "Apache Access Log"},
	FalcoAlert:                {"falco:alert", "LOG", "Falco Alert"},
	CloudTrailEntry:           {"aws:cloudtrail:entry", "LOG", "AWS CloudTrail Log"},
	GuardDutyFinding:          {"aws:guardduty:finding", "LOG", "AWS GuardDuty Finding"},
	VPCFlow:                   {"aws:vpc:flow", "LOG", "AWS VPC Flow Log"},
	Finding:                   {"lagan:finding", "LAGAN", "Finding"},
	RecoveredFile:             {"fs:recovered", "FILE", "Deleted file"},
	CronJob:                   {"linux:cron:job", "CRON", "Cron Job"},
	AtJob:                     {"linux:at:job", "CRON", "At Job"},
	SystemdUnit:               {"linux:systemd:unit", "SYSTEMD", "Systemd Unit"},
	SudoersRule:               {"linux:sudoers:rule", "SUDO", "Sudoers Rule"},
	SSHAuthorizedKey:          {"linux:ssh:authorized_key", "SSH", "SSH Authorized Key"},
	SSHKnownHost:              {"linux:ssh:known_host", "SSH", "SSH Known Host"},
	WebErrorLog:               {"web:error_log:entry", "LOG", "Web Server Error Log"},
}

// kinds is how many there are.
var kinds = numDataTypes

// NewDataType adds a kind of record that one log alone has. It is for variables
// of packages: all kinds are there before the first record is.
func NewDataType(name, short, long string) DataType {
	if kinds == maxDataTypes {
		panic("timeline: maxDataTypes is too small")
	}
	dataTypes[kinds] = struct{ name, short, long string }{name, short, long}
	kinds++
	return kinds - 1
}

// known returns the kind, Unknown where there is none of its number.
func (k DataType) known() DataType {
	if k < kinds {
		return k
	}
	return Unknown
}

// String returns the kind's data_type.
func (k DataType) String() string { return dataTypes[k.known()].name }

// Desc says what happened at a time: plaso's timestamp_desc.
type Desc uint8

// What happens at times. The first four are the times of a file, in the order
// of the letters of macb.
const (
	Modified        Desc = iota // mtime
	Accessed                    // atime
	MetadataChanged             // ctime
	Created                     // btime, and the creation of anything else
	ContentDeleted
	Started
	Ended
	Added
	Recorded
	LastLogin
	Updated
	Deleted
	Expires
	Installed
	Synchronized
	ScheduledToStart
	NotATime // the record has no time, and is put at 1970-01-01

	numDescs
)

var descNames = [numDescs]string{
	Modified:         "Content Modification Time",
	Accessed:         "Last Access Time",
	MetadataChanged:  "Metadata Modification Time",
	Created:          "Creation Time",
	ContentDeleted:   "Content Deletion Time",
	Started:          "Start Time",
	Ended:            "End Time",
	Added:            "Added Time",
	Recorded:         "Recorded Time",
	LastLogin:        "Last Login Time",
	Updated:          "Update Time",
	Deleted:          "Deletion Time",
	Expires:          "Expiration Time",
	Installed:        "Installation Time",
	Synchronized:     "Synchronization Time",
	ScheduledToStart: "Scheduled to start",
	NotATime:         "Not a time",
}

// String returns plaso's words.
func (d Desc) String() string {
	if d < numDescs {
		return descNames[d]
	}
	return descNames[NotATime]
}

// macb returns the letter's bit of one of the four times of a file, else 0.
func (d Desc) macb() uint8 {
	if d <= Created {
		return 1 << d
	}
	return 0
}

// macbNames has the four letters for each set of bits.
var macbNames = func() (names [16]string) {
	for set := range names {
		b := []byte("....")
		for i, c := range []byte("macb") {
			if set&(1<<i) != 0 {
				b[i] = c
			}
		}
		names[set] = string(b)
	}
	return names
}()

// FileType is the type of a file in records, with the whiteout as a type of its own.
type FileType uint8

// The types of files.
const (
	UnknownFile FileType = iota
	RegularFile
	Directory
	Link
	CharDevice
	BlockDevice
	Pipe
	Socket
	Whiteout // of overlayfs: a 0:0 device that says deleted
)

// fileTypes has file_entry_type, the first letter of mode_as_string, and the
// letter that The Sleuth Kit puts before the mode in a bodyfile.
var fileTypes = [...]struct {
	name      string
	mode, tsk byte
}{
	UnknownFile: {"", '-', '-'},
	RegularFile: {"file", '-', 'r'},
	Directory:   {"directory", 'd', 'd'},
	Link:        {"link", 'l', 'l'},
	CharDevice:  {"device", 'c', 'c'},
	BlockDevice: {"device", 'b', 'b'},
	Pipe:        {"pipe", 'p', 'p'},
	Socket:      {"socket", 's', 's'},
	Whiteout:    {"whiteout", 'c', 'w'},
}

// appendMode appends the ten characters of ls -l.
func appendMode(dst []byte, t FileType, perm uint16) []byte {
	if int(t) >= len(fileTypes) {
		t = UnknownFile
	}
	m := [10]byte{fileTypes[t].mode, '-', '-', '-', '-', '-', '-', '-', '-', '-'}
	for i, c := range [9]byte{'r', 'w', 'x', 'r', 'w', 'x', 'r', 'w', 'x'} {
		if perm&(0o400>>i) != 0 {
			m[i+1] = c
		}
	}
	for i, c := range [3]byte{'s', 's', 't'} { // setuid, setgid, sticky
		if perm&(0o4000>>i) != 0 {
			at := 3 + 3*i
			if m[at] == 'x' {
				m[at] = c
			} else {
				m[at] = c - 'a' + 'A'
			}
		}
	}
	return append(dst, m[:]...)
}
