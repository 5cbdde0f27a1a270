package analyzer

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lagan/fixtures"
	"lagan/timeline"
)

// putFile writes a file of a node's tree, and the folders above it.
func putFile(t *testing.T, root, name, content string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// journalNode writes a node with a journal that systemd-journal-remote wrote,
// logs, and one container of Docker's that has logs of its own.
func journalNode(t *testing.T) (root, id string) {
	t.Helper()
	root, id = t.TempDir(), strings.Repeat("ab", 32)
	write := func(name, content string) { t.Helper(); putFile(t, root, name, content) }
	b := fixtures.Unpack(t, "testdata/node.journal.gz")
	const request = " - - [02/Jan/2026:03:04:05 +0000] \"GET /x.php HTTP/1.1\" 200 5 \"-\" \"curl/8\"\n"
	write("var/log/journal/"+strings.Repeat("f", 32)+"/system.journal", string(b))
	write("etc/os-release", "ID=x\n")
	write("etc/kubernetes/manifests/kube-apiserver.yaml", "    - --audit-log-path=/var/log/k8s/audit.log\n")
	write("var/log/k8s/audit-2026-01-01T00-00-00.000.log", `{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","verb":"get","stageTimestamp":"2026-01-02T03:04:05Z"}`+"\n")
	write("var/log/audit/audit.log", "type=USER_AUTH msg=audit(1767323045.100:12): pid=300 uid=0 msg='op=x acct=\"eve\" exe=\"/usr/sbin/sshd\" addr=203.0.113.9 terminal=ssh res=failed'\n")
	write("var/log/nginx/access.log", "192.0.2.1"+request)
	chain := strings.Repeat("1", 64)
	docker := "var/lib/docker/"
	write(docker+"engine-id", "x")
	write(docker+"containers/"+id+"/config.v2.json", `{"ID":"`+id+`","Name":"/web","Driver":"overlay2","Image":"sha256:`+chain+`","Config":{"Image":"nginx:1"},"State":{}}`)
	db := docker + "image/overlay2/layerdb/"
	write(db+"mounts/"+id+"/mount-id", "m")
	write(db+"mounts/"+id+"/init-id", "m-init")
	write(db+"mounts/"+id+"/parent", "sha256:"+chain)
	write(db+"sha256/"+chain+"/cache-id", "low")
	write(db+"sha256/"+chain+"/diff", "sha256:"+chain)
	write(docker+"overlay2/low/diff/var/log/nginx/site_access.log", "192.0.2.2"+request) // the image's own
	write(docker+"overlay2/low/link", "LLLLLLLLLLLLLLLLLLLLLLLLLL")
	write(docker+"overlay2/m-init/diff/etc/hosts", "")
	write(docker+"overlay2/m-init/link", "IIIIIIIIIIIIIIIIIIIIIIIIII")
	write(docker+"overlay2/m-init/lower", "l/LLLLLLLLLLLLLLLLLLLLLLLLLL")
	write(docker+"overlay2/m/diff/var/log/nginx/access.log", "192.0.2.3"+request)
	write(docker+"overlay2/m/link", "TTTTTTTTTTTTTTTTTTTTTTTTTT")
	write(docker+"overlay2/m/lower", "l/IIIIIIIIIIIIIIIIIIIIIIIIII:l/LLLLLLLLLLLLLLLLLLLLLLLLLL")
	os.MkdirAll(filepath.Join(root, docker, "overlay2/l"), 0o755)
	for link, to := range map[string]string{"LLLLLLLLLLLLLLLLLLLLLLLLLL": "low", "IIIIIIIIIIIIIIIIIIIIIIIIII": "m-init", "TTTTTTTTTTTTTTTTTTTTTTTTTT": "m"} {
		if err := os.Symlink("../"+to+"/diff", filepath.Join(root, docker, "overlay2/l", link)); err != nil {
			t.Fatal(err)
		}
	}
	return root, id
}

// logLines lists what a timeline tells of logs.
func logLines(t *testing.T, n *Node, o TimelineOptions) []string {
	t.Helper()
	s := timeline.NewSorter(0, t.TempDir())
	defer s.Close()
	if err := n.Timeline(t.Context(), o, s.Add); err != nil {
		t.Fatal(err)
	}
	var out []string
	for e, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Text(timeline.FieldMessageBody) == "" {
			continue
		}
		words := []string{e.DataType().String()}
		for _, f := range []timeline.StringField{timeline.FieldReporter, timeline.FieldUsername, timeline.FieldIPAddress, timeline.FieldPort,
			timeline.FieldAuthenticationMethod, timeline.FieldAuthenticationResult, timeline.FieldSeverity, timeline.FieldVerb, timeline.FieldContainerName, timeline.FieldContainerID} {
			if v := e.Text(f); v != "" {
				words = append(words, v[:min(len(v), 20)])
			}
		}
		out = append(out, strings.Join(words, " "))
	}
	slices.Sort(out)
	return out
}

func TestJournalAndLogs(t *testing.T) {
	root, id := journalNode(t)
	n, err := Open(t.Context(), root, Options{NoScan: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	node := []string{
		"apache:access_log:entry 192.0.2.1",
		"kubernetes:audit:event get",
		"selinux:line eve 203.0.113.9 failure",
		"systemd:journal cdcdcdcdcdcd WARNING gone cdcdcdcdcdcd",
		"systemd:journal sshd core 198.51.100.7 40022 publickey success INFO",
	}
	container := []string{
		"apache:access_log:entry 192.0.2.3 web " + id[:20],
		"systemd:journal abababababab ERROR web " + id[:20],
	}
	all := slices.Sorted(slices.Values(slices.Concat(node, container)))
	web := n.Containers()
	if len(web) != 1 {
		t.Fatalf("%d containers", len(web))
	}
	for _, test := range []struct {
		name string
		o    TimelineOptions
		want []string
	}{
		{"all", TimelineOptions{Scope: ScopeAll}, all},
		{"containers", TimelineOptions{Scope: ScopeContainers}, container},
		{"one container", TimelineOptions{Scope: ScopeAll, Containers: web}, container},
		{"node", TimelineOptions{Scope: ScopeNode}, slices.Sorted(slices.Values(append(slices.Clone(node), container[1])))},
	} {
		if got := logLines(t, n, test.o); !slices.Equal(got, test.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", test.name, got, test.want)
		}
	}
	if gaps := n.Gaps(); len(gaps) != 0 {
		t.Errorf("gaps: %v", gaps)
	}
}

func TestCompanions(t *testing.T) {
	root := t.TempDir()
	os.MkdirAll(filepath.Join(root, "etc"), 0o755)
	os.WriteFile(filepath.Join(root, "etc/os-release"), []byte("ID=x\n"), 0o644)
	n, err := Open(t.Context(), root, Options{NoScan: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	const kube = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","verb":"get","user":{"username":"eve"},"stageTimestamp":"2026-01-02T03:04:05Z"}`
	with := func(name, text string) Companion { return Companion{name, strings.NewReader(text)} }
	got := logLines(t, n, TimelineOptions{Scope: ScopeNode, With: []Companion{
		with("trail", `{"Records":[{"eventName":"GetObject","eventSource":"s3","eventTime":"2026-01-02T03:04:05Z","sourceIPAddress":"203.0.113.9","userIdentity":{"userName":"ann"}}]}`),
		with("finding", `{"type":"Recon:X","service":{"eventFirstSeen":"2026-01-02T03:04:05Z"},"severity":5}`),
		with("flow", "2 1 eni-1 203.0.113.9 10.0.0.5 40022 22 6 20 4249 1767323045 1767323105 ACCEPT OK\n"),
		with("kube", kube+"\n"),
		with("watch", `{"events":[{"message":`+strconv.Quote(kube)+`},{"message":"I0102 other"}]}`),
	}})
	want := []string{
		"aws:cloudtrail:entry ann 203.0.113.9", "aws:guardduty:finding", "aws:vpc:flow 203.0.113.9 40022", "aws:vpc:flow 203.0.113.9 40022",
		"kubernetes:audit:event eve get", "kubernetes:audit:event eve get", "syslog:line control-plane",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if gaps := n.Gaps(); len(gaps) != 0 {
		t.Errorf("gaps: %v", gaps)
	}
}
