package access

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestReadErrors(t *testing.T) {
	text := "lost\n" +
		`2026/11/22 09:24:40 [error] 31#31: *1 open() "/usr/share/nginx/html/x" failed (2: No such file or directory), client: 10.0.0.1, server: localhost, request: "GET /x?a=b HTTP/1.1", host: "h", referrer: "http://r/"` + "\n" +
		"2026/11/22 09:24:41 [notice] 1#1: signal 3 (SIGQUIT) received, shutting down\n" +
		"[Sun Nov 22 09:24:42.123456 2026] [core:error] [pid 31:tid 140] [client 10.0.0.2:4000] AH00126: Invalid URI in request\ngoes on\n" +
		"[Sun Nov 22 09:24:43 2026] [error] [client 10.0.0.3] File does not exist: /var/www/x, referer: http://y/\n"
	var got strings.Builder
	for p, err := range ReadErrors(strings.NewReader(text), time.FixedZone("", 3600)) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%d %s %s %d %s|%s|%s|%s|%s|%s|%q\n", p.Offset, p.Time.Format("15:04:05.000000"), p.Severity, p.PID, p.IP, p.Port, p.Server, p.Method, p.URL, p.Referer, p.Text[:7])
	}
	want := `5 08:24:40.000000 ERROR 31 10.0.0.1||localhost|GET|/x?a=b|http://r/|"*1 open"
217 08:24:41.000000 NOTICE 1 ||||||"signal "
294 08:24:42.123456 ERROR 31 10.0.0.2|4000||||| "[client"
421 08:24:43.000000 ERROR 0 10.0.0.3|||||http://y/|"[client"
`
	want = strings.ReplaceAll(want, "||||| ", "|||||")
	if got.String() != want {
		t.Errorf("%s, not %s", &got, want)
	}
}

func FuzzErrors(f *testing.F) {
	f.Add("2026/11/22 09:24:40 [error] 31#31: *1 x, client: 10.0.0.1, request: \"GET / HTTP/1.1\"\n")
	f.Add("[Sun Nov 22 09:24:42.123456 2026] [core:error] [pid 31] [client 10.0.0.2:4000] x\n")
	f.Fuzz(func(t *testing.T, s string) {
		for p, err := range ReadErrors(strings.NewReader(s), nil) {
			if err == nil && (p.Text == "" || len(p.Text) > maxJoined+1<<20) {
				t.Errorf("%+v", p)
			}
		}
	})
}
