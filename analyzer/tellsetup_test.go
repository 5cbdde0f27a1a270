package analyzer

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/evidence/memfs"
	"lagan/runtimes"
)

// compare fails where the events differ from what is wanted, in any order.
func compare(t *testing.T, n *Node, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("\n got %s\nwant %s\n%v", strings.Join(got, "\n     "), strings.Join(want, "\n     "), n.Gaps())
	}
}

func TestSetup(t *testing.T) {
	tree := memfs.New()
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	put := func(name, text string) *memfs.Node {
		n := tree.File(name, text)
		set(n, at)
		return n
	}
	put("/etc/passwd", "root:x:0:0::/root:/bin/sh\neve:x:1000:1000::/home/eve:/bin/sh\n")
	put("/etc/crontab", "17 * * * * root run-parts /etc/cron.hourly\n")
	put("/etc/cron.d/0update", "*/5 * * * * root curl x | sh\nnonsense\n")
	put("/var/spool/cron/crontabs/eve", "@reboot /tmp/x\n")
	put("/etc/cron.daily/logrotate", "#!/bin/sh\n").Info.Perm = 0o755
	put("/etc/cron.daily/README", "text\n").Info.Perm = 0o644
	put("/var/spool/at/a0000201c47b2a", "#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail root 0\ncd / || {\n\t echo x >&2\n\t exit 1\n}\n/tmp/y\n")
	put("/var/spool/at/.SEQ", "00002\n")
	put("/etc/systemd/system/dns.service", "[Unit]\nDescription=DNS\n[Service]\nExecStart=/usr/sbin/.dnsd\n[Install]\nWantedBy=multi-user.target\n")
	put("/etc/systemd/system/ssh.service.d/x.conf", "[Service]\nExecStartPre=/tmp/z\n")
	put("/usr/lib/systemd/system/x.timer", "[Timer]\nOnCalendar=daily\nUnit=x.service\n")
	put("/etc/sudoers.d/eve", "eve ALL=(ALL) NOPASSWD: ALL\n")
	put("/etc/ssh/sshd_config", "AuthorizedKeysFile .ssh/authorized_keys /etc/keys/%u\n")
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	put("/home/eve/.ssh/authorized_keys", "no-pty "+key+" eve@h\n")
	put("/etc/keys/root", key+"\n")
	put("/root/.ssh/known_hosts", "[203.0.113.7]:2222 "+key+"\n")
	n := nodeOf(t, Options{}, tree)
	got := show(eventsOf(t, n, TimelineOptions{}), "data_type", "timestamp_desc", "display_name", "username", "command", "schedule", "options", "ip_address", "port")
	const m = "Content Modification Time|NODE:"
	compare(t, n, got, []string{
		"linux:cron:job|" + m + "/etc/crontab|root|run-parts /etc/cron.hourly|17 * * * *|||",
		"linux:cron:job|" + m + "/etc/cron.d/0update|root|curl x | sh|*/5 * * * *|||",
		"linux:cron:job|" + m + "/etc/cron.d/0update||||||",
		"linux:cron:job|" + m + "/var/spool/cron/crontabs/eve|eve|/tmp/x|@reboot|||",
		"linux:cron:job|" + m + "/etc/cron.daily/logrotate|root|/etc/cron.daily/logrotate|@daily|||",
		"linux:at:job|" + m + "/var/spool/at/a0000201c47b2a|eve|/tmp/y||||",
		"linux:at:job|Scheduled to start|NODE:/var/spool/at/a0000201c47b2a|eve|/tmp/y||||",
		"linux:systemd:unit|" + m + "/etc/systemd/system/dns.service||/usr/sbin/.dnsd||WantedBy=multi-user.target||",
		"linux:systemd:unit|" + m + "/etc/systemd/system/ssh.service.d/x.conf||/tmp/z||||",
		"linux:systemd:unit|" + m + "/usr/lib/systemd/system/x.timer|||OnCalendar=daily|||",
		"linux:sudoers:rule|" + m + "/etc/sudoers.d/eve|eve|||NOPASSWD||",
		"linux:ssh:authorized_key|" + m + "/home/eve/.ssh/authorized_keys|eve|||no-pty||",
		"linux:ssh:authorized_key|" + m + "/etc/keys/root|root|||||",
		"linux:ssh:known_host|" + m + "/root/.ssh/known_hosts|root||||203.0.113.7|2222",
	})
}

// TestDaemonEvents has what daemons' logs tell of containers, whether the disk
// knows them still or not.
func TestDaemonEvents(t *testing.T) {
	tree := memfs.New()
	tree.Dir("/etc")
	here, gone := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	log := tree.File("/var/log/containerd.log", `time="2026-01-02T03:04:05Z" level=info msg="Exec for \"`+here+`\" with command [sh], tty true and stdin true"`+"\n"+
		`time="2026-01-02T03:04:06Z" level=info msg="TaskOOM event container_id:\"`+gone+`\""`+"\n"+
		`time="2026-01-02T03:04:07Z" level=info msg="PullImage \"evil:1\" returns image reference \"sha256:aa\""`+"\n"+
		`time="2026-01-02T03:04:08Z" level=info msg="Start event loop"`+"\n")
	set(log, time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC))
	set(tree.File("/var/log/messages", "Jan  2 03:05:00 h kernel: oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/docker/"+here+",task=java,pid=7,uid=0\n"+
		"Jan  2 03:05:01 h eve: oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/docker/"+here+",task=java,pid=7,uid=0\n"), time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC))
	n := nodeOf(t, Options{}, tree)
	c := &Container{store: Store{Tree: n.Tree}}
	c.ID, c.Name, c.Runtime = here, "web", runtimes.Containerd
	n.containers = func() []*Container { return []*Container{c} }
	events := slices.DeleteFunc(eventsOf(t, n, TimelineOptions{}), func(e event) bool { return e.text("data_type") == "syslog:line" || e.text("action") == "created" })
	got := show(events, "datetime", "data_type", "action", "timestamp_desc", "container_id", "container_name", "command", "image_name")
	compare(t, n, got, []string{
		"2026-01-02T03:04:05.000000+00:00|container:exec|exec|Start Time|" + here + "|web|sh|",
		"2026-01-02T03:04:06.000000+00:00|docker:container:configuration|oom_killed|End Time|" + gone + "|||",
		"2026-01-02T03:04:07.000000+00:00|container:image|pulled|Added Time||||evil:1",
		"2026-01-02T03:05:00.000000+00:00|docker:container:configuration|oom_killed|End Time|" + here + "|web||",
	})
}

// mountNode makes a node with two containers that share a volume, and have the
// node's /var/log mounted.
func mountNode(t *testing.T) *Node {
	t.Helper()
	tree := memfs.New()
	tree.Dir("/etc")
	tree.File("/var/log/auth.log", "2026-01-02T03:04:05Z h su: node\n")
	tree.File("/volumes/logs/access.log", `10.0.0.1 - - [02/Jan/2026:03:04:06 +0000] "GET / HTTP/1.1" 200 5`+"\n")
	tree.File("/volumes/logs/error.log", "2026/01/02 03:04:07 [error] 31#31: *1 x, client: 10.0.0.1, server: s\n")
	tree.File("/volumes/etc/crontab", "* * * * * root /x\n")
	var containers []*Container
	n := nodeOf(t, Options{}, tree)
	for _, name := range []string{"a", "b"} {
		for _, dir := range []string{"/var/log/nginx", "/var/log/host", "/etc"} {
			tree.Dir("/upper-" + name + dir)
		}
		c := &Container{store: Store{Tree: n.Tree}}
		c.ID, c.Name, c.Runtime = hex.EncodeToString([]byte(strings.Repeat(name, 32))), name, runtimes.Containerd
		c.Rootfs = runtimes.Rootfs{Kind: runtimes.RootfsBind, Upper: runtimes.Layer{Dir: "/upper-" + name}}
		c.Mounts = []runtimes.Mount{
			{Source: "/volumes/logs", Destination: "/var/log/nginx"}, {Source: "/var/log", Destination: "/var/log/host"}, {Source: "/var/log/auth.log", Destination: "/var/log/auth.log"},
			{Source: "/volumes/nothing", Destination: "/x"},
		}
		containers = append(containers, c)
	}
	containers[1].Mounts = append(containers[1].Mounts, runtimes.Mount{Source: "/volumes/etc/crontab", Destination: "/etc/crontab"})
	n.containers = func() []*Container { return containers }
	return n
}

func TestArtifactsInMounts(t *testing.T) {
	n := mountNode(t)
	logs := func(o TimelineOptions) []event {
		return slices.DeleteFunc(eventsOf(t, n, o), func(e event) bool { return strings.HasPrefix(e.text("data_type"), "docker:") })
	}
	got := show(logs(TimelineOptions{}), "data_type", "display_name", "container_name", "ip_address")
	compare(t, n, got, []string{
		"syslog:line|NODE:/var/log/auth.log||",
		"apache:access_log:entry|CONTAINER:a:/var/log/nginx/access.log|a|10.0.0.1",
		"web:error_log:entry|CONTAINER:a:/var/log/nginx/error.log|a|10.0.0.1",
		"linux:cron:job|CONTAINER:b:/etc/crontab|b|",
	})
	// Of one container alone the node's own log is still not its.
	n = mountNode(t)
	got = show(logs(TimelineOptions{Containers: n.Containers()[1:]}), "data_type", "display_name", "container_name")
	compare(t, n, got, []string{
		"apache:access_log:entry|CONTAINER:b:/var/log/nginx/access.log|b",
		"web:error_log:entry|CONTAINER:b:/var/log/nginx/error.log|b",
		"linux:cron:job|CONTAINER:b:/etc/crontab|b",
	})
}

// TestFalco has alerts in a file of their own, and in the output of a pod.
func TestFalco(t *testing.T) {
	id := strings.Repeat("ab", 32)
	alert := `{"hostname":"h","output":"A shell","priority":"Notice","rule":"Terminal shell in container","source":"syscall","tags":["shell"],"time":"2026-01-02T03:04:05.5Z","output_fields":{"container.id":"` + id[:12] + `","user.name":"root","proc.cmdline":"sh"}}`
	const log = "/var/log/pods/falco_falco-1_uid/falco/0.log"
	n, c := logNode(t, runtimes.Containerd, log, map[string]string{
		log: "2026-01-02T03:04:06Z stdout F " + alert + "\n", "/var/log/falco/events.json": alert + "\n",
	})
	web := &Container{store: c.store}
	web.ID, web.Name, web.Runtime = id, "victim", runtimes.Containerd
	n.containers = func() []*Container { return []*Container{c, web} }
	events := slices.DeleteFunc(eventsOf(t, n, TimelineOptions{}), func(e event) bool { return e.text("data_type") != "falco:alert" })
	got := show(events, "datetime", "display_name", "container_id", "container_name", "rule", "priority", "username", "command")
	rest := "|" + id + "|victim|Terminal shell in container|Notice|root|sh"
	compare(t, n, got, []string{
		"2026-01-02T03:04:05.500000+00:00|NODE:" + log + rest,
		"2026-01-02T03:04:05.500000+00:00|NODE:/var/log/falco/events.json" + rest,
	})
}

// TestControlPlane has what EKS sends to CloudWatch, exported and as the AWS
// command line prints it.
func TestControlPlane(t *testing.T) {
	audit := `{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"ResponseComplete","verb":"create","user":{"username":"eve"},"sourceIPs":["203.0.113.7"],"objectRef":{"resource":"pods","namespace":"default","name":"web","subresource":"exec"},"requestURI":"/x","requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z"}`
	const authenticator = `time="2026-01-02T03:04:06Z" level=info msg="access granted" arn="arn:aws:iam::1:user/eve" client="127.0.0.1:1" username=kubernetes-admin`
	var with []Companion
	for _, text := range []string{
		"2026-01-02T03:04:05.123Z " + audit + "\n2026-01-02T03:04:06.000Z " + authenticator + "\n",
		`{"events":[{"logStreamName":"kube-scheduler-0123456789abcdef0123456789abcdef","timestamp":1767323047000,"message":"I0102 x.go:1] hello","ingestionTime":1767323048000}]}`,
	} {
		with = append(with, Companion{Name: "cw", R: strings.NewReader(text)})
	}
	n := nodeOf(t, Options{}, memfs.New())
	got := show(eventsOf(t, n, TimelineOptions{With: with}), "datetime", "data_type", "reporter", "username", "requester", "ip_address")
	compare(t, n, got, []string{
		"2026-01-02T03:04:05.000000+00:00|kubernetes:audit:event||eve||203.0.113.7",
		"2026-01-02T03:04:06.000000+00:00|syslog:line|authenticator|kubernetes-admin|arn:aws:iam::1:user/eve|",
		"2026-01-02T03:04:07.000000+00:00|syslog:line|kube-scheduler|||",
	})
}
