package audit

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
)

// enriched parts the record from what auditd adds to it (AUDIT_INTERP_SEPARATOR).
const enriched = 0x1d

// read takes a record's text apart and keeps it with its values decoded.
func (r *Record) read(b []byte) {
	var text strings.Builder
	text.Grow(len(b))
	s := strings.ReplaceAll(string(b), string(rune(enriched)), " ")
	for len(s) > 0 {
		if s[0] == ' ' {
			text.WriteByte(' ')
			s = s[1:]
			continue
		}
		name, rest, ok := cutName(s)
		if !ok || len(r.Fields) >= maxFields {
			word := len(s)
			if i := strings.IndexByte(s, ' '); i >= 0 {
				word = i
			}
			text.WriteString(s[:word])
			s = s[word:]
			continue
		}
		text.WriteString(name)
		text.WriteByte('=')
		if name == "msg" && strings.HasPrefix(rest, "'") { // what a program sent, itself of fields
			text.WriteByte('\'')
			s = rest[1:]
			continue
		}
		var value string
		value, s = r.value(&text, name, rest)
		r.Fields = append(r.Fields, Field{name, value})
	}
	r.Text = strings.TrimSpace(text.String())
}

// cutName cuts a field's name, which is short and of few characters.
func cutName(s string) (name, rest string, ok bool) {
	for i := 0; i < len(s) && i < 48; i++ {
		switch c := s[i]; {
		case c == '=':
			return s[:i], s[i+1:], i > 0
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '[', c == ']':
		default:
			return "", s, false
		}
	}
	return "", s, false
}

// value reads a value and writes it, decoded, to the text.
func (r *Record) value(text *strings.Builder, name, s string) (value, rest string) {
	if strings.HasPrefix(s, `"`) {
		if end := strings.IndexByte(s[1:], '"'); end >= 0 {
			text.WriteString(s[:end+2])
			return s[1 : end+1], s[end+2:]
		}
	}
	end := strings.IndexByte(s, ' ')
	if end < 0 {
		end = len(s)
	}
	value, rest = s[:end], s[end:]
	if trimmed := strings.TrimRight(value, "'"); trimmed != value { // the end of msg='...'
		rest = value[len(trimmed):] + rest
		value = trimmed
	}
	if decoded, ok := r.decode(name, value); ok {
		text.WriteByte('"')
		text.WriteString(decoded)
		text.WriteByte('"')
		return decoded, strings.TrimPrefix(rest, "'")
	}
	text.WriteString(value)
	if strings.HasPrefix(rest, "'") {
		text.WriteByte('\'')
		rest = rest[1:]
	}
	return value, rest
}

// escaped are the fields whose values are in hexadecimal where they have a
// blank, a quote, a control character or a byte over 0x7e in them
// (audit_string_contains_control; auparse/typetab.h, AUPARSE_TYPE_ESCAPED).
var escaped = map[string]bool{
	"path": true, "comm": true, "exe": true, "file": true, "name": true, "watch": true, "cwd": true, "cmd": true, "acct": true, "dir": true,
	"key": true, "vm": true, "old-disk": true, "new-disk": true, "old-fs": true, "new-fs": true, "device": true, "cgroup": true, "proctitle": true,
	"data": true, "ocomm": true, "grp": true, "new_group": true, "old-chardev": true, "new-chardev": true, "profile": true, "apparmor": true,
	"invalid_context": true, "sw": true, "root_dir": true, "oldpath": true, "unit": true,
}

func (r *Record) decode(name, value string) (string, bool) {
	if name == "saddr" {
		return address(value)
	}
	if !escaped[name] && !(r.Type == "EXECVE" && isArgument(name)) || len(value) == 0 || len(value)%2 != 0 {
		return "", false
	}
	b, err := hex.DecodeString(value)
	if err != nil {
		return "", false
	}
	if name == "proctitle" { // arguments, each with its zero
		return strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " "), true
	}
	return string(b), true
}

// isArgument says whether a name is a0, a1, or a part of one: a1[0].
func isArgument(name string) bool {
	return len(name) > 1 && name[0] == 'a' && name[1] >= '0' && name[1] <= '9' && !strings.HasSuffix(name, "_len")
}

// address reads a struct sockaddr of IPv4, IPv6 or a local socket, in the byte
// order of a little-endian machine.
func address(value string) (string, bool) {
	b, err := hex.DecodeString(value)
	if err != nil || len(b) < 3 {
		return "", false
	}
	switch family := binary.LittleEndian.Uint16(b); {
	case family == 1: // AF_UNIX
		path, _, _ := strings.Cut(strings.TrimLeft(string(b[2:]), "\x00"), "\x00")
		return path, path != ""
	case family == 2 && len(b) >= 8: // AF_INET
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])).String(), true
	case family == 10 && len(b) >= 24: // AF_INET6
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(b[2:])).String(), true
	}
	return "", false
}
