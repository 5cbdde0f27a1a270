package access

import (
	"io"
	"iter"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"lagan/artifacts/lines"
)

// Problem is one message of a web server's error log. What it doesn't say is empty.
type Problem struct {
	Time     time.Time // in Zone: error logs name none
	Severity string
	PID      int
	IP       string // the client's
	Port     string // the client's, of Apache
	Server   string
	Request  string
	Method   string
	URL      string
	Referer  string
	Text     string // without the time
	Offset   int64
}

var (
	// 2026/11/22 09:24:40 [error] 31#31: *1 TEXT, client: ..., server: ..., request: "...", host: "...", referrer: "..."
	// (nginx's src/core/ngx_log.c and src/http/ngx_http_request.c, ngx_http_log_error)
	nginxHead = regexp.MustCompile(`^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(\w+)\] (\d+)#\d+: `)
	// [Sun Nov 22 09:24:40.123456 2026] [core:error] [pid 31:tid 12] [client 10.0.0.1:4000] TEXT
	// (httpd's server/core.c, the default ErrorLogFormat)
	apacheHead = regexp.MustCompile(`^\[(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4})\] \[(?:[\w-]*:)?(\w+)\] (?:\[pid (\d+)(?::tid \d+)?\] )?`)

	apacheClient = regexp.MustCompile(`\[client ([^\]]+)\]`)
	nginxClient  = regexp.MustCompile(`, client: ([^,\s]+)`)
	nginxServer  = regexp.MustCompile(`, server: ([^,]*)`)
	nginxRequest = regexp.MustCompile(`, request: "((?:[^"\\]|\\.)*)"`)
	referrer     = regexp.MustCompile(`, referr?er: "?([^",]+)`)
)

// maxJoined bounds the lines that are added to a message.
const maxJoined = 64 << 10

// ReadErrors yields the messages of an error log of nginx or Apache. Their times
// have no zone: they are taken to be in zone (nil: UTC). A line without a time goes
// on with the message before it, and is nobody's where there is none.
func ReadErrors(r io.Reader, zone *time.Location) iter.Seq2[Problem, error] {
	if zone == nil {
		zone = time.UTC
	}
	return func(yield func(Problem, error) bool) {
		var last Problem
		for l, err := range lines.Read(r) {
			if err != nil {
				if !yield(Problem{}, err) {
					return
				}
				continue
			}
			text := strings.TrimRight(string(l.Text), " \r")
			p, ok := problem(text, zone)
			if !ok {
				if text != "" && last.Text != "" && len(last.Text)+len(text) < maxJoined {
					last.Text += "\n" + text
				}
				continue
			}
			if last.Text != "" && !yield(last, nil) {
				return
			}
			last = p
			last.Offset = l.Offset
		}
		if last.Text != "" {
			yield(last, nil)
		}
	}
}

func problem(s string, zone *time.Location) (Problem, bool) {
	if m := nginxHead.FindStringSubmatch(s); m != nil {
		t, err := time.ParseInLocation("2006/01/02 15:04:05", m[1], zone)
		p := Problem{Time: t.UTC(), Severity: strings.ToUpper(m[2]), Text: s[len(m[0]):]}
		p.PID, _ = strconv.Atoi(m[3])
		p.IP, p.Server = found(nginxClient, p.Text), found(nginxServer, p.Text)
		p.setRequest(found(nginxRequest, p.Text))
		p.Referer = found(referrer, p.Text)
		return p, err == nil && p.Text != ""
	}
	m := apacheHead.FindStringSubmatch(s)
	if m == nil {
		return Problem{}, false
	}
	t, err := time.ParseInLocation("Mon Jan _2 15:04:05 2006", m[1], zone)
	p := Problem{Time: t.UTC(), Severity: strings.ToUpper(m[2]), Text: s[len(m[0]):]}
	p.PID, _ = strconv.Atoi(m[3])
	client := found(apacheClient, p.Text)
	if a, err := netip.ParseAddrPort(client); err == nil {
		p.IP, p.Port = a.Addr().WithZone("").String(), strconv.Itoa(int(a.Port()))
	} else if a, err := netip.ParseAddr(client); err == nil {
		p.IP = a.WithZone("").String()
	}
	p.Referer = found(referrer, p.Text)
	return p, err == nil && p.Text != ""
}

func (p *Problem) setRequest(s string) {
	p.Request = s
	if f := strings.Fields(s); len(f) >= 2 {
		p.Method, p.URL = f[0], f[1]
	}
}

func found(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}
