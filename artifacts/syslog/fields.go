package syslog

import (
	"bytes"
	"strconv"
	"strings"
)

// severities are RFC 5424's (table 2), in the words that plaso uses.
var severities = [8]string{"EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"}

// facilities are RFC 5424's (table 1), in the words of syslog.conf.
var facilities = [24]string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// fill takes the rest of a line apart.
func (h *head) fill(e *Entry) {
	if h.priority >= 0 {
		e.Facility, e.Severity = facilities[h.priority>>3], severities[h.priority&7]
	}
	if h.severity != "" {
		e.Severity = h.severity
	}
	rest := h.rest
	switch h.form {
	case v1:
		fillV1(e, rest)
		return
	case kv:
		fillKV(e, rest)
		return
	case klog, bare:
		e.Text = string(bytes.TrimLeft(rest, " -"))
		if h.form == bare {
			pythonLog(e)
		}
		return
	}
	if after, ok := bytes.CutPrefix(rest, []byte{':'}); ok {
		e.Text = string(bytes.TrimSpace(after)) // "--- last message repeated 5 times ---"
		return
	}
	rest = bytes.TrimLeft(rest, " ")
	if host, after, ok := bytes.Cut(rest, []byte{' '}); ok && !isTag(host) {
		if h.form == iso && isSeverity(host) {
			e.Severity = string(host)
		} else {
			e.Host = string(host)
		}
		rest = after
	}
	fillTag(e, bytes.TrimLeft(rest, " "))
}

func isSeverity(b []byte) bool {
	switch string(b) {
	case "EMERG", "ALERT", "CRIT", "ERR", "ERROR", "WARNING", "WARN", "NOTICE", "INFO", "DEBUG", "TRACE", "DDEBUG", "SUBDEBUG", "CRITICAL":
		return true
	}
	return false
}

// isTag says whether a word is a program's and not a host's: "kernel:".
func isTag(b []byte) bool {
	return len(b) > 1 && b[len(b)-1] == ':' && !bytes.Contains(b[:len(b)-1], []byte{':'}) // a host may be an IPv6 address
}

// fillTag reads TAG[PID]: TEXT. Without a colon the tag is the first word, as
// RFC 3164 has it.
func fillTag(e *Entry, b []byte) {
	look := b[:min(len(b), maxPrefix)]
	end := bytes.IndexAny(look, "[: ")
	if end <= 0 {
		e.Text = string(bytes.TrimSpace(b))
		return
	}
	tag, rest := b[:end], b[end:]
	if rest[0] == '[' {
		if closing := bytes.IndexByte(rest[:min(len(rest), 16)], ']'); closing > 0 {
			if pid, err := strconv.Atoi(string(rest[1:closing])); err == nil && pid >= 0 {
				e.PID = pid
				rest = rest[closing+1:]
			}
		}
	}
	if after, ok := bytes.CutPrefix(rest, []byte(" <")); ok { // macOS: kernel[0] <Info>:
		if level, text, ok := bytes.Cut(after, []byte(">:")); ok && len(level) < 16 {
			e.Severity, rest = string(level), append([]byte{':'}, text...)
		}
	}
	e.Reporter = string(tag)
	if i := bytes.LastIndexByte(tag, '/'); i >= 0 && i < len(tag)-1 && tag[0] == '/' {
		e.Reporter = string(tag[i+1:])
	}
	e.Text = string(bytes.TrimSpace(bytes.TrimPrefix(rest, []byte{':'})))
}

// fillV1 reads HOST APP PROCID MSGID SD MSG (RFC 5424, section 6).
func fillV1(e *Entry, b []byte) {
	field := func() string {
		b = bytes.TrimLeft(b, " ")
		word, rest, _ := bytes.Cut(b, []byte{' '})
		b = rest
		if string(word) == "-" {
			return ""
		}
		return string(word)
	}
	e.Host, e.Reporter = field(), field()
	if pid, err := strconv.Atoi(field()); err == nil && pid >= 0 {
		e.PID = pid
	}
	e.ID = field()
	if len(b) > 0 && b[0] == '[' {
		b = afterStructure(b)
	} else {
		field()
	}
	b = bytes.TrimPrefix(bytes.TrimSpace(b), []byte("\xef\xbb\xbf"))
	e.Text = string(b)
}

// afterStructure passes structured data: [id name="value"]..., where ] in a
// value is escaped.
func afterStructure(b []byte) []byte {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted && (i+1 == len(b) || b[i+1] == ' '):
			return b[i+1:]
		}
	}
	return b
}

// fillKV reads what logrus writes: level=info msg="..." key=value.
func fillKV(e *Entry, b []byte) {
	e.Text = string(bytes.TrimSpace(b))
	if after, ok := strings.CutPrefix(e.Text, "level="); ok {
		level, _, _ := strings.Cut(after, " ")
		e.Severity = strings.ToUpper(level)
	}
}

// pythonLog reads what cloud-init's lines begin with: "util.py[DEBUG]: ".
func pythonLog(e *Entry) {
	name, rest, ok := strings.Cut(e.Text, "[")
	level, text, ok2 := strings.Cut(rest, "]: ")
	if ok && ok2 && len(name) < 64 && !strings.ContainsAny(name, " :") && isSeverity([]byte(level)) {
		e.Reporter, e.Severity, e.Text = name, level, text
	}
}
