// Package access reads the access logs of web servers: Apache's common,
// combined and vhost_combined formats, nginx's combined one and its kin, and
// Tomcat's, which all begin alike (httpd's mod_log_config, nginx's
// ngx_http_log_module, Tomcat's AccessLogValve).
//
// What clients sent stands in these logs as the server escaped it (\x22, \")
// and is given as it stands. Input is hostile: lines are bounded, and nothing
// is looked for twice.
package access

import (
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strings"
	"time"

	"lagan/artifacts/lines"
	"lagan/evidence"
)

// Entry is one request. What the line has a dash for is empty.
type Entry struct {
	Time    time.Time // when it was received
	Server  string    // the virtual host, where the line begins with it
	Port    string    // of the server
	IP      string    // the client's address, without a port; "" where Host is a name
	Host    string    // the client as the line has it
	User    string
	Request string // METHOD URL PROTOCOL
	Method  string
	URL     string
	Code    string // of the response
	Bytes   string
	Referer string
	Agent   string
	Text    string
	Offset  int64
	Torn    bool // the line ends within a quoted part
}

// Read yields the requests of a log. A line that is none yields an error; so
// does a torn one, after its entry.
func Read(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for l, err := range lines.Read(r) {
			if err != nil {
				if !yield(Entry{}, err) {
					return
				}
				continue
			}
			text := strings.TrimRight(string(l.Text), " \r")
			if text == "" {
				continue
			}
			e, ok := parse(text)
			e.Offset = l.Offset
			if ok && !yield(e, nil) {
				return
			}
			if (!ok || e.Torn) && !yield(Entry{}, fmt.Errorf("line at offset %#x is no whole access: %w", l.Offset, evidence.ErrCorrupt)) {
				return
			}
		}
	}
}

// clock is mod_log_config's %t.
const clock = "02/Jan/2006:15:04:05 -0700"

// parse reads [SERVER ]HOST IDENT USER [TIME] "REQUEST" CODE BYTES["REFERER" "AGENT" ...].
func parse(s string) (Entry, bool) {
	e := Entry{Text: s}
	open := strings.Index(s, " [")
	if open < 0 {
		return e, false
	}
	for at := open; ; { // a user may have a bracket in its name
		end := strings.IndexByte(s[at:], ']')
		if end < 0 {
			return e, false
		}
		t, err := time.Parse(clock, s[at+2:at+end])
		if err == nil {
			e.Time, open, s = t.UTC(), at, s[at+end+1:]
			break
		}
		next := strings.Index(s[at+2:], " [")
		if next < 0 || at > maxHead {
			return e, false
		}
		at += 2 + next
	}
	if !e.client(e.Text[:open]) {
		return e, false
	}
	s, ok := strings.CutPrefix(s, ` "`)
	if !ok {
		return e, false
	}
	end, rest := requestEnd(s)
	if end < 0 {
		e.Torn = true
		e.setRequest(s)
		return e, true
	}
	e.setRequest(s[:end])
	word, rest, _ := strings.Cut(rest, " ")
	e.Code = dash(word)
	word, rest, _ = strings.Cut(rest, " ")
	e.Bytes = dash(word)
	if e.Referer, rest, e.Torn = quoted(rest); !e.Torn {
		e.Agent, _, e.Torn = quoted(strings.TrimPrefix(rest, " "))
	}
	return e, true
}

// maxHead bounds what stands before the time.
const maxHead = 4096

// client reads what stands before the time: three words, four with the server's.
func (e *Entry) client(s string) bool {
	words := strings.SplitN(s, " ", 5)
	if len(words) < 3 {
		return false
	}
	host := words[0]
	if len(words) > 3 && !isAddress(words[0]) && isAddress(words[1]) {
		e.Server, e.Port = words[0], ""
		if i := strings.LastIndexByte(e.Server, ':'); i > 0 {
			e.Server, e.Port = e.Server[:i], e.Server[i+1:]
		}
		host, words = words[1], words[1:]
	}
	e.Host = host
	if a, err := netip.ParseAddr(host); err == nil {
		e.IP = a.WithZone("").Unmap().String()
	} else if a, err := netip.ParseAddrPort(host); err == nil {
		e.IP = a.Addr().WithZone("").Unmap().String()
	}
	e.User = dash(strings.Join(words[2:], " "))
	return true
}

func isAddress(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(s)
	return err == nil
}

// requestEnd finds the quote after the request: the one before a code of three
// digits. Some servers leave the client's own quotes as they are.
func requestEnd(s string) (end int, rest string) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '"' && isCode(s[i+1:]):
			return i, s[i+2:]
		}
	}
	return -1, ""
}

// isCode says whether a space, a code, a space and a size follow.
func isCode(s string) bool {
	if len(s) < 6 || s[0] != ' ' || s[4] != ' ' {
		return false
	}
	for _, c := range s[1:4] {
		if c < '0' || c > '9' {
			return s[1] == '-' // Apache without an answer: "-"
		}
	}
	return s[5] == '-' || s[5] >= '0' && s[5] <= '9'
}

func (e *Entry) setRequest(s string) {
	e.Request = dash(s)
	method, rest, ok := strings.Cut(e.Request, " ")
	if !ok || len(method) > 32 || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "" {
		return // a scanner's bytes
	}
	e.Method, e.URL = method, rest
	if i := strings.LastIndex(rest, " HTTP/"); i >= 0 {
		e.URL = rest[:i]
	}
}

// quoted reads a quoted part, and says whether its end is missing. Where there
// is none, there is nothing.
func quoted(s string) (value, rest string, torn bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return dash(s[1:i]), s[i+1:], false
		}
	}
	return s[1:], "", true
}

func dash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}
