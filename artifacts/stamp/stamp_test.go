package stamp

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		line, want, rest string
	}{
		{"Mar  6 04:07:38 host", "2024-03-06T04:07:38Z", " host"},
		{"Mar 6 04:07:38.5 x", "2024-03-06T04:07:38.5Z", " x"},
		{"Mar 06 2021 04:07:38 x", "2021-03-06T04:07:38Z", " x"},
		{"2021-03-06T04:07:38Z", "2021-03-06T04:07:38Z", ""},
		{"2021-03-06T04:07:38.123456789123+02:30 x", "2021-03-06T01:37:38.123456789Z", " x"},
		{"2021-03-06T04:07:38-0700 x", "2021-03-06T11:07:38Z", " x"},
		{"2021-03-06T04:07:38+01 x", "2021-03-06T03:07:38Z", " x"},
		{"2021-03-06 04:07:38,5 - x", "2021-03-06T04:07:38.5Z", " - x"},
		{"2021-03-06  04:07:38", "2021-03-06T04:07:38Z", ""},
		{"2021/03/06 04:07:38 x", "2021-03-06T04:07:38Z", " x"},
		{"2021-03-06 04:07:38-x", "2021-03-06T04:07:38Z", "-x"},
		{"Feb 30 04:07:38 host", "", ""},
		{"Mar  6 24:07:38 host", "", ""},
		{"Mar  6 04:60:38 host", "", ""},
		{"arF  6 04:07:38 host", "", ""},
		{"2021-13-06T04:07:38Z", "", ""},
		{"0000-03-06T04:07:38Z", "", ""},
		{"2021-03-06X04:07:38Z", "", ""},
		{"2021-03-06T04:07", "", ""},
		{"", "", ""},
	} {
		s, rest, ok := Parse([]byte(test.line))
		got := ""
		if ok {
			got = s.Time(2024, time.UTC).Format(time.RFC3339Nano)
		}
		if got != test.want || ok && string(rest) != test.rest {
			t.Errorf("%q: %q, %q", test.line, got, rest)
		}
	}
	zone := time.FixedZone("x", 7200)
	if s, _, _ := Parse([]byte("Mar  6 04:07:38")); s.Time(2024, zone).Hour() != 2 {
		t.Error(s.Time(2024, zone))
	}
	if s, _, _ := Parse([]byte("2021-03-06T04:07:38Z")); s.Time(2024, zone).Hour() != 4 {
		t.Error(s.Time(2024, zone))
	}
	s, severity, rest, ok := Klog([]byte("W0306 04:07:38.000005    12 a.go:1] x"))
	if !ok || severity != 'W' || s.Month != 3 || s.Day != 6 || s.Nsec != 5000 || string(rest) != "    12 a.go:1] x" {
		t.Errorf("%+v %c %q %v", s, severity, rest, ok)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Mar  6 04:07:38.5 x", "2021-03-06T04:07:38+02:30")
	f.Add("Mar 06 2021 04:07:38", "W0306 04:07:38.000005")
	f.Fuzz(func(t *testing.T, a, b string) {
		var y Years
		for _, line := range []string{a, b} {
			if s, rest, ok := Parse([]byte(line)); ok {
				y.Note(s)
				if len(rest) >= len(line) {
					t.Fatal("nothing was taken")
				}
			}
			Klog([]byte(line))
		}
		y.Begin(time.Unix(1_700_000_000, 0), time.UTC)
	})
}
