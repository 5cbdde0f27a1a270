package findings

import "strings"

// The kinds of subjects, which rules name as their logsource's category.
const (
	KindFile      = "file"      // of a container's changes, of the node, of volumes
	KindCommand   = "command"   // typed, or run by sudo or cron, or of a container's specification
	KindLog       = "log"       // a line
	KindContainer = "container" // its configuration
	KindImage     = "image"
	KindProcess   = "process" // of a checkpoint
	// KindComputed is of what the analyzer finds by itself: their rules have no detection.
	KindComputed = "computed"
)

// Subject is something that rules are held against: fields of text, some of them lists.
type Subject struct {
	Kind   string
	fields map[string][]string
	lazy   map[string]func() string
	texts  map[string][]given
}

// maxText is the most bytes of one value that rules look into.
const maxText = 1 << 20

// TextField is the field of a file's text.
const TextField = "text"

// NewSubject returns a subject of a kind without fields.
func NewSubject(kind string) *Subject {
	return &Subject{Kind: kind, fields: make(map[string][]string, 16)}
}

// Lazy sets a field whose value is asked for when a rule needs it, and once.
func (s *Subject) Lazy(field string, value func() string) {
	if s.lazy == nil {
		s.lazy = make(map[string]func() string, 8)
	}
	s.lazy[field] = value
}

// Set sets a field; "" leaves it out.
func (s *Subject) Set(field, value string) {
	if value != "" {
		s.fields[field] = []string{value}
	}
}

// Flag sets a field to true or false.
func (s *Subject) Flag(field string, v bool) {
	if v {
		s.fields[field] = []string{"true"}
	} else {
		s.fields[field] = []string{"false"}
	}
}

// List sets a field that has several values.
func (s *Subject) List(field string, values []string) {
	if len(values) > 0 {
		s.fields[field] = values
	}
}

// Get returns the values of a field.
func (s *Subject) Get(field string) []string {
	if v, ok := s.fields[field]; ok {
		return v
	}
	f := s.lazy[field]
	if f == nil {
		return nil
	}
	var v []string
	if text := f(); text != "" {
		v = []string{text[:min(len(text), maxText)]}
	}
	s.fields[field] = v
	return v
}

// First returns the first value of a field, "" where it has none.
func (s *Subject) First(field string) string {
	if v := s.Get(field); len(v) > 0 {
		return v[0]
	}
	return ""
}

// aliases are the fields of sigma's taxonomy by what they are called here, in
// the order in which they are looked for.
var aliases = map[string][]string{
	"TargetFilename":      {"path"},
	"CommandLine":         {"command", "command_line"},
	"Image":               {"program", "executable"},
	"User":                {"user", "username"},
	"message":             {"message"},
	"ContextInfo":         {"message"},
	"type":                {"audit_type", "type"},
	"exe":                 {"executable"},
	"comm":                {"reporter"},
	"ParentImage":         {"parent"},
	"CurrentDirectory":    {"working_directory"},
	"DestinationIp":       {"remote_address"},
	"DestinationHostname": {"remote_address"},
	"DestinationPort":     {"remote_port"},
}

// values returns the values of a field by sigma's name of it or ours.
func (s *Subject) values(field string) []given {
	if v := s.textsOf(field); len(v) > 0 {
		return v
	}
	for _, a := range aliases[field] {
		if v := s.textsOf(a); len(v) > 0 {
			return v
		}
	}
	return nil
}

func (s *Subject) textsOf(field string) []given {
	if t, ok := s.texts[field]; ok {
		return t
	}
	values := s.Get(field)
	if len(values) == 0 {
		return nil
	}
	out := make([]given, len(values))
	for i, v := range values {
		out[i].s = v
	}
	if s.texts == nil {
		s.texts = make(map[string][]given, 16)
	}
	s.texts[field] = out
	return out
}

// keywords are the fields that a selection without field names looks into.
var keywords = []string{"message", "command", "path", TextField}

func (s *Subject) keywords() []given {
	const all = "" // no field is called so
	out, ok := s.texts[all]
	if ok {
		return out
	}
	for _, k := range keywords {
		out = append(out, s.textsOf(k)...)
	}
	if s.texts != nil { // there are texts
		s.texts[all] = out
	}
	return out
}

// known are the fields that the analyzer gives, for telling a rule that can
// never match; see Set.Load.
var known = strings.Fields(`path name dir where change changed type mode setuid setgid capability gained executable format hidden
	in_temp uid gid size owner text added_text after_start packaged copy_of target mtime_before_image time_set_back mount document_root home links standard
	command program user source message reporter username ip_address authentication_result audit_type executable system_call success
	verb resource object_name response_code user_agent http_request http_response_code data_type working_directory severity systemd_unit
	id runtime namespace kind state image privileged host_network host_pid host_ipc capabilities mounts reasons env secret_env args pod pod_namespace
	system names digest history container terminated exit_code parent deleted upper remote_address remote_port argument_zero
	recent rewritten startup home_history via rdev mount_kind falco falco_priority falco_rule old_format committed pulled_digest mapped sockets kernel_name late`)
