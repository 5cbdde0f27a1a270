package audit

import (
	"net/netip"
	"strconv"
	"strings"
)

// Type is the type of the event's first record.
func (e *Event) Type() string {
	if len(e.Records) == 0 {
		return ""
	}
	return e.Records[0].Type
}

// Get returns the first value that a field has in any record.
func (e *Event) Get(name string) string {
	for i := range e.Records {
		if v := e.Records[i].Get(name); v != "" {
			return v
		}
	}
	return ""
}

// record returns the first record of a type, nil where there is none.
func (e *Event) record(typ string) *Record {
	for i := range e.Records {
		if e.Records[i].Type == typ {
			return &e.Records[i]
		}
	}
	return nil
}

// Text is what all records say, each after its type where there are several.
func (e *Event) Text() string {
	if len(e.Records) == 1 {
		return e.Records[0].Text
	}
	var b strings.Builder
	for i := range e.Records {
		if i > 0 {
			b.WriteString(" | ")
		}
		b.WriteString(e.Records[i].Type)
		b.WriteString(": ")
		b.WriteString(e.Records[i].Text)
	}
	return b.String()
}

// PID is the process, 0 where none is named.
func (e *Event) PID() int {
	n, err := strconv.ParseUint(e.Get("pid"), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// Success is "yes" or "no" of a system call, "success" or "failed" of a program's doing.
func (e *Event) Success() string {
	if s := e.Get("success"); s != "" {
		return s
	}
	switch s := e.Get("res"); s {
	case "1":
		return "success"
	case "0":
		return "failed"
	default:
		return s
	}
}

// Command is what was run: the arguments of execve, what sudo or a terminal
// says, else the process's title.
func (e *Event) Command() string {
	if r := e.record("EXECVE"); r != nil {
		return e.arguments()
	}
	if s := e.Get("cmd"); s != "" {
		return s
	}
	return e.Get("proctitle")
}

// arguments joins those of all EXECVE records; long ones come in parts: a1[0]=, a1[1]=.
func (e *Event) arguments() string {
	var b strings.Builder
	last := ""
	for i := range e.Records {
		if e.Records[i].Type != "EXECVE" {
			continue
		}
		for _, f := range e.Records[i].Fields {
			if !isArgument(f.Name) {
				continue
			}
			name, _, part := strings.Cut(f.Name, "[")
			if b.Len() > 0 && !(part && name == last) {
				b.WriteByte(' ')
			}
			last = name
			b.WriteString(f.Value)
		}
	}
	return b.String()
}

// User is the account that the event is about, or by which it was caused, where names are given.
func (e *Event) User() string {
	for _, name := range []string{"acct", "AUID", "UID"} {
		if s := e.Get(name); s != "" && s != "unset" {
			return s
		}
	}
	return ""
}

// Address returns the address and port that the event names, of a remote user
// or of a socket.
func (e *Event) Address() (ip, port string) {
	if a, err := netip.ParseAddr(e.Get("addr")); err == nil {
		port := e.Get("rport")
		return a.WithZone("").String(), port
	}
	if a, err := netip.ParseAddrPort(e.Get("saddr")); err == nil {
		return a.Addr().Unmap().String(), strconv.Itoa(int(a.Port()))
	}
	return "", ""
}

// SystemCall names the system call, by number where its name isn't known.
func (e *Event) SystemCall() string {
	r := e.record("SYSCALL")
	if r == nil {
		r = e.record("SECCOMP")
	}
	if r == nil {
		return ""
	}
	if name := r.Get("SYSCALL"); name != "" && name != "unknown-syscall" {
		return name
	}
	number := r.Get("syscall")
	n, err := strconv.Atoi(number)
	if err != nil {
		return number
	}
	if names := systemCalls[r.Get("arch")]; n >= 0 && n < len(names) && names[n] != "" && names[n] != "-" {
		return names[n]
	}
	return number
}
