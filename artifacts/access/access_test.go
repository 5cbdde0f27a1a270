package access

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lagan/evidence"
	"lagan/internal/needs"
)

func TestRead(t *testing.T) {
	at := time.Date(2016, 1, 13, 17, 31, 20, 0, time.UTC)
	for _, test := range []struct {
		name, line string
		want       Entry
		bad        bool
	}{
		{"common", `10.0.0.1 - - [13/Jan/2016:19:31:20 +0200] "GET /x.php?a=b HTTP/1.1" 200 494`,
			Entry{Time: at, IP: "10.0.0.1", Host: "10.0.0.1", Request: "GET /x.php?a=b HTTP/1.1", Method: "GET", URL: "/x.php?a=b", Code: "200", Bytes: "494"}, false},
		{"combined", `2001:db8::1 - ann@EXAMPLE.COM [13/Jan/2016:17:31:20 +0000] "POST / HTTP/2.0" 304 - "http://a/?q=\"x\"" "Mozilla/5.0 (X11)" "203.0.113.1" rt=0.1`,
			Entry{Time: at, IP: "2001:db8::1", Host: "2001:db8::1", User: "ann@EXAMPLE.COM", Request: "POST / HTTP/2.0", Method: "POST", URL: "/", Code: "304", Referer: `http://a/?q=\"x\"`, Agent: "Mozilla/5.0 (X11)"}, false},
		{"vhost", `www.example.org:443 10.1.1.2 - - [13/Jan/2016:17:31:20 +0000] "GET / HTTP/1.1" 200 1063 "-" "curl/8"`,
			Entry{Time: at, Server: "www.example.org", Port: "443", IP: "10.1.1.2", Host: "10.1.1.2", Request: "GET / HTTP/1.1", Method: "GET", URL: "/", Code: "200", Bytes: "1063", Agent: "curl/8"}, false},
		{"a name for the client", `client.example.net - - [13/Jan/2016:17:31:20 +0000] "GET / HTTP/1.1" 200 5`,
			Entry{Time: at, Host: "client.example.net", Request: "GET / HTTP/1.1", Method: "GET", URL: "/", Code: "200", Bytes: "5"}, false},
		{"quotes in the request", `1.2.3.4 - - [13/Jan/2016:17:31:20 +0000] "GET /<script>alert("text")</script> HTTP/1.0" 404 1164`,
			Entry{Time: at, IP: "1.2.3.4", Host: "1.2.3.4", Request: `GET /<script>alert("text")</script> HTTP/1.0`, Method: "GET", URL: `/<script>alert("text")</script>`, Code: "404", Bytes: "1164"}, false},
		{"no request", `1.2.3.4 - - [13/Jan/2016:17:31:20 +0000] "\x16\x03\x01" 400 157 "-" "-"`,
			Entry{Time: at, IP: "1.2.3.4", Host: "1.2.3.4", Request: `\x16\x03\x01`, Code: "400", Bytes: "157"}, false},
		{"empty request", `1.2.3.4 - - [13/Jan/2016:17:31:20 +0000] "-" 408 0`,
			Entry{Time: at, IP: "1.2.3.4", Host: "1.2.3.4", Code: "408", Bytes: "0"}, false},
		{"user of several words", `1.2.3.4 - a [b c [13/Jan/2016:17:31:20 +0000] "GET / HTTP/1.1" 401 0`,
			Entry{Time: at, IP: "1.2.3.4", Host: "1.2.3.4", User: "a [b c", Request: "GET / HTTP/1.1", Method: "GET", URL: "/", Code: "401", Bytes: "0"}, false},
		{"mapped address", `::ffff:1.2.3.4 - - [13/Jan/2016:17:31:20 +0000] "GET / HTTP/1.1" 200 0`,
			Entry{Time: at, IP: "1.2.3.4", Host: "::ffff:1.2.3.4", Request: "GET / HTTP/1.1", Method: "GET", URL: "/", Code: "200", Bytes: "0"}, false},
		{"torn request", `1.2.3.4 - - [13/Jan/2016:17:31:20 +0000] "GET /abc`,
			Entry{Time: at, IP: "1.2.3.4", Host: "1.2.3.4", Request: "GET /abc", Method: "GET", URL: "/abc", Torn: true}, true},
		{"torn agent", `1.2.3.4 - - [13/Jan/2016:17:31:20 +0000] "GET / HTTP/1.1" 200 0 "-" "Moz`,
			Entry{Time: at, IP: "1.2.3.4", Host: "1.2.3.4", Request: "GET / HTTP/1.1", Method: "GET", URL: "/", Code: "200", Bytes: "0", Agent: "Moz", Torn: true}, true},
		{"no time", `1.2.3.4 - - "GET / HTTP/1.1" 200 0`, Entry{}, true},
		{"bad time", `1.2.3.4 - - [13/Foo/2016:17:31:20 +0000] "GET / HTTP/1.1" 200 0`, Entry{}, true},
		{"two words", `1.2.3.4 - [13/Jan/2016:17:31:20 +0000] "GET / HTTP/1.1" 200 0`, Entry{}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got Entry
			var failed error
			for e, err := range Read(strings.NewReader(test.line + "\n")) {
				if err != nil {
					failed = err
					continue
				}
				got = e
			}
			if !got.Time.IsZero() {
				test.want.Text = test.line
			}
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
			if (failed != nil) != test.bad || test.bad && !errors.Is(failed, evidence.ErrCorrupt) {
				t.Errorf("error %v", failed)
			}
		})
	}
}

// TestPlaso reads plaso's file: its test expects 14 entries and a warning
// (tests/parsers/text_plugins/apache_access.py). The line of the warning is
// torn, and told as well.
func TestPlaso(t *testing.T) {
	dir := needs.Corpora(t)
	f, err := os.Open(filepath.Join(dir, "plaso", "apache_access.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole, torn, wrong := 0, 0, 0
	for e, err := range Read(f) {
		switch {
		case err != nil:
			wrong++
		case e.Torn:
			torn++
		default:
			whole++
		}
	}
	if whole != 14 || torn != 1 || wrong != 1 {
		t.Errorf("%d whole, %d torn, %d errors", whole, torn, wrong)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`www.example.org:443 10.1.1.2 - - [13/Jan/2016:17:31:20 +0000] "GET / HTTP/1.1" 200 1063 "-" "curl/8"`)
	f.Add(`1.2.3.4 - a [b c [13/Jan/2016:17:31:20 +0000] "GET /\"" x" 401 0 "a\"" "`)
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		for e, err := range Read(strings.NewReader(text)) {
			if err != nil {
				if !errors.Is(err, evidence.ErrCorrupt) && !errors.Is(err, evidence.ErrUnsupported) {
					t.Fatal(err)
				}
				continue
			}
			n++
			if e.Time.IsZero() || e.Host == "" && !strings.Contains(e.Text, " ") {
				t.Fatalf("%+v", e)
			}
		}
		if n > strings.Count(text, "\n")+1 {
			t.Fatalf("%d entries", n)
		}
	})
}
