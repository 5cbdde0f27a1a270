package syslog

import "strings"

// The words of authentication_result.
const (
	success = "success"
	failure = "failure"
)

// understand reads what well-known programs say.
func understand(e *Entry) {
	switch e.Reporter {
	case "sshd", "sshd-session", "sshd-auth": // one program until OpenSSH 9.8
		if !ssh(e) {
			pam(e)
		}
	case "CRON", "cron", "crond", "CROND", "anacron":
		if !cron(e) {
			pam(e)
		}
	case "sudo":
		if !sudo(e) {
			pam(e)
		}
	default:
		if strings.HasPrefix(e.Text, "pam_") {
			pam(e)
		}
	}
}

// ssh reads the messages of OpenSSH's auth.c (auth_log), auth2.c and sshd.c.
// Names are the client's to choose: what follows the last " from " is sshd's own.
func ssh(e *Entry) bool {
	switch word, rest, _ := strings.Cut(e.Text, " "); word {
	case "Accepted", "Failed", "Postponed":
		method, rest, ok := strings.Cut(rest, " for ")
		if !ok || strings.Contains(method, " ") || !peer(e, strings.TrimPrefix(rest, "invalid user "), " from ") {
			return false
		}
		e.Method = method
		switch word {
		case "Accepted":
			e.Kind, e.Result = SSHLogin, success
		case "Failed":
			e.Kind, e.Result = SSHFailed, failure
		}
		return true
	case "Invalid":
		rest, ok := strings.CutPrefix(rest, "user ")
		if !ok || !peer(e, rest, " from ") {
			return false
		}
		e.Kind, e.Result = SSHFailed, failure
		return true
	case "Connection":
		if rest, ok := strings.CutPrefix(rest, "from "); ok && address(e, rest) {
			e.Kind = SSHOpened
			return true
		}
		for _, how := range []string{"closed by ", "reset by "} {
			if rest, ok := strings.CutPrefix(rest, how); ok {
				return party(e, rest)
			}
		}
	case "Disconnected":
		return party(e, strings.TrimPrefix(rest, "from "))
	case "Received":
		return address(e, strings.TrimPrefix(rest, "disconnect from "))
	case "error:":
		if rest, ok := strings.CutPrefix(rest, "maximum authentication attempts exceeded for "); ok && peer(e, strings.TrimPrefix(rest, "invalid user "), " from ") {
			e.Kind, e.Result = SSHFailed, failure
			return true
		}
	}
	return false
}

// party reads [authenticating user|invalid user|user NAME ]ADDRESS port N.
func party(e *Entry, s string) bool {
	for _, who := range []string{"authenticating user ", "invalid user ", "user "} {
		if rest, ok := strings.CutPrefix(s, who); ok {
			at := strings.LastIndex(rest, " port ")
			if at < 0 {
				return false
			}
			return peer(e, rest, " ", strings.LastIndex(rest[:at], " "))
		}
	}
	return address(e, s)
}

// peer reads NAME, a word between, and ADDRESS port N. at is where the word
// is, by default the last place.
func peer(e *Entry, s, word string, at ...int) bool {
	i := strings.LastIndex(s, word)
	if len(at) > 0 {
		i = at[0]
	}
	if i < 0 {
		// "Invalid user  from 1.2.3.4": no name at all
		rest, ok := strings.CutPrefix(s, strings.TrimPrefix(word, " "))
		return ok && address(e, rest)
	}
	if !address(e, s[i+len(word):]) {
		return false
	}
	e.Username = s[:i]
	return true
}

// address reads ADDRESS[ port N][ ssh2[: KEY FINGERPRINT]].
func address(e *Entry, s string) bool {
	ip, rest, _ := strings.Cut(s, " ")
	ip = strings.TrimSuffix(ip, ":") // "Received disconnect from 1.2.3.4: 11: ..."
	if !strings.ContainsAny(ip, ".:") && ip != "UNKNOWN" {
		return false
	}
	e.IP = ip
	if after, ok := strings.CutPrefix(rest, "port "); ok {
		end := 0
		for end < len(after) && after[end] >= '0' && after[end] <= '9' {
			end++
		}
		e.Port, rest = after[:end], after[end:]
	}
	if _, after, ok := strings.Cut(rest, "ssh2: "); ok {
		words := strings.Fields(after)
		if len(words) >= 2 && strings.Contains(words[1], ":") {
			e.Fingerprint = words[1]
		}
	}
	return true
}

// cron reads (USER) CMD (COMMAND), as Vixie cron and cronie write it.
func cron(e *Entry) bool {
	rest, ok := strings.CutPrefix(e.Text, "(")
	user, rest, ok2 := strings.Cut(rest, ") ")
	command, ok3 := strings.CutPrefix(rest, "CMD (")
	if !ok || !ok2 || !ok3 {
		return false
	}
	e.Kind, e.Username = CronTask, user
	e.Command = strings.TrimSpace(strings.TrimSuffix(command, ")"))
	return true
}

// sudo reads USER : [REASON ; ]TTY=... ; PWD=... ; USER=... ; COMMAND=...
// (sudo's lib/eventlog/eventlog.c). The command is last and may hold anything.
func sudo(e *Entry) bool {
	user, rest, ok := strings.Cut(e.Text, " : ")
	if !ok || strings.Contains(user, " ") {
		return false
	}
	e.Username = user
	front, command, ok := strings.Cut(rest, "COMMAND=")
	if ok {
		e.Command = command
		e.Method, e.Result = "sudo", success
	}
	for part := range strings.SplitSeq(front, " ; ") {
		switch key, value, named := strings.Cut(part, "="); {
		case !named && strings.TrimSpace(part) != "":
			e.Result = failure // "3 incorrect password attempts", "command not allowed"
		case key == "TTY":
			e.Terminal = value
		case key == "PWD":
			e.Directory = value
		}
	}
	return true
}

// pam reads pam_unix(SERVICE:TYPE): session opened for user NAME(uid=0) by ...
// and authentication failure; ... rhost=ADDRESS  user=NAME.
func pam(e *Entry) {
	module, rest, ok := strings.Cut(e.Text, "): ")
	if !ok || !strings.HasPrefix(module, "pam_") {
		return
	}
	if _, after, ok := strings.Cut(rest, "for user "); ok && strings.HasPrefix(rest, "session ") {
		e.Username = after[:nameEnd(after)]
		return
	}
	if !strings.HasPrefix(rest, "authentication failure;") {
		return
	}
	e.Result = failure
	for _, word := range strings.Fields(rest) {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "rhost":
			e.IP = value
		case "user":
			e.Username = value
		case "tty":
			e.Terminal = value
		}
	}
}

func nameEnd(s string) int {
	if i := strings.IndexAny(s, "( "); i >= 0 {
		return i
	}
	return len(s)
}
