package analyzer

import (
	"bytes"
	"io"
	"path"
	"regexp"
	"strings"
	"time"

	"lagan/evidence"
	"lagan/findings"
)

// nodeFinder looks at the node's own files.
type nodeFinder struct {
	*finder
	packaged promises // nil: not read yet
	logs     map[string]evidence.Info
}

// nodeFiles are the paths of the node that rules ask for whatever their modes are.
var nodeFiles = regexp.MustCompile(`^/etc/(passwd|shadow|group|gshadow|sudoers(\.d/.*)?|crontab|ld\.so\.(preload|conf|conf\.d/.*)|pam\.d/.*|ssh/sshd_config(\.d/.*)?|` +
	`docker/daemon\.json|(default|sysconfig)/docker|kubernetes/.*|eks/.*|(containerd|crio|containers|cni)/.*|hosts|nftables\.conf|iptables/.*|sysconfig/ip6?tables)$|` +
	`^/usr/lib/pam\.d/|/security/pam_[^/]+\.so$|^/usr/share/containers/oci/hooks\.d/|^/var/lib/kubelet/config\.(yaml|json)$|\.ko(\.(xz|gz|zst))?$|/(manifests|pod-manifests|static-pods)/[^/]+\.(ya?ml|json)$|/\.ssh/authorized_keys2?$`)

var webScript = regexp.MustCompile(`(?i)\.(php[3457s]?|phtml|phar|jspx?|jspf|war|asp|aspx|ashx|cgi)$`)

// candidate says, at little cost, whether watched can hold of a path: it is
// asked of every file of a disk.
func candidate(p []byte, typ evidence.Type, perm uint16, xattrs []string) bool {
	switch {
	case typ != evidence.TypeFile:
		return typ == evidence.TypeSymlink && bytes.Contains(p, []byte("/."))
	case perm&0o6111 != 0 || len(xattrs) > 0:
		return true
	}
	for _, start := range startsOfWatched {
		if bytes.HasPrefix(p, start) {
			return true
		}
	}
	base := p[bytes.LastIndexByte(p, '/')+1:]
	if bytes.HasPrefix(base, []byte("authorized_keys")) || bytes.Contains(base, []byte(".ko")) || bytes.HasPrefix(base, []byte("pam_")) {
		return true
	}
	switch ext := base[bytes.LastIndexByte(base, '.')+1:]; len(ext) {
	case 2, 3, 4, 5:
		return bytes.Contains(scriptExtensions, append([]byte{' '}, bytes.ToLower(ext)...))
	}
	return false
}

var (
	startsOfWatched = [][]byte{
		[]byte("/etc/"), []byte("/var/spool/"), []byte("/usr/lib/systemd/"), []byte("/usr/local/lib/systemd/"), []byte("/lib/systemd/"), []byte("/run/systemd/"), []byte("/root/."), []byte("/home/"),
		[]byte("/usr/lib/pam.d/"), []byte("/var/lib/kubelet/config."), []byte("/usr/lib/modules-load.d/"), []byte("/usr/share/containers/oci/"),
	}
	scriptExtensions = []byte(" php php3 php4 php5 php7 phps phtml phar jsp jspx jspf war asp aspx ashx cgi yaml yml json ")
)

// watched says whether a file of the node is worth a look: most are not.
func watched(p string, typ evidence.Type, perm uint16, xattrs []string) bool {
	switch typ {
	case evidence.TypeSymlink:
		return histories.MatchString(p) || strings.HasSuffix(p, "/.viminfo") || strings.HasSuffix(p, "/.lesshst")
	case evidence.TypeFile:
	default:
		return false
	}
	if histories.MatchString(p) {
		return true
	}
	if perm&0o6000 != 0 || perm&0o111 != 0 {
		return true
	}
	for _, x := range xattrs {
		if x == "security.capability" {
			return true
		}
	}
	return startup.MatchString(p) || nodeFiles.MatchString(p) || webScript.MatchString(p) && documentRoots.MatchString(p)
}

// find looks at one name of one inode of a volume, as the timeline tells it.
func (t *volumeTeller) find(i int32, in folder, p []byte) {
	f, n := t.teller.find, t.x.node(i)
	x := &t.x.extras[n.extra]
	if in.layer {
		f.layers.file(t, i, in, p)
		return
	}
	if n.typ == evidence.TypeFile && bytes.HasPrefix(p, []byte("/var/log/")) {
		f.node.log(string(p), n)
	}
	if !f.wide && !candidate(p, n.typ, n.perm, x.xattrs) {
		return
	}
	name := string(p)
	if !f.wide && !watched(name, n.typ, n.perm, x.xattrs) {
		return
	}
	info := t.x.info(i)
	e := findings.Evidence{Place: in.prefix + name, Path: name, Offset: -1, File: fileEvidence(&info, "", x.target)}
	e.Time, e.TimeOf = when(&info, "")
	fsys, ino := t.v.FS, t.x.inos.at(i)
	var xattrs map[string][]byte
	if len(x.xattrs) > 0 {
		xattrs, _ = fsys.Xattrs(ino) // the telling of the file says what can't be read
	}
	e.Open = func() (*io.SectionReader, error) { return fsys.Open(ino) }
	f.node.look(name, &info, x.target, xattrs, e, t.v.Description.Created)
}

// look holds a file of the node against the rules.
func (f *nodeFinder) look(p string, info *evidence.Info, target string, xattrs map[string][]byte, e findings.Evidence, made time.Time) {
	s := fileSubject("node", p, info, target)
	const settled = time.Hour // after the making of the filesystem, when the system was put onto it
	s.Flag("recent", made.IsZero() || info.Ctime.After(made.Add(settled)))
	const once = time.Minute
	s.Flag("rewritten", !info.Btime.IsZero() && info.Mtime.Sub(info.Btime) > once)
	s.Flag("late", f.late(info))
	if info.Type == evidence.TypeFile {
		f.file(s, e.Open, p, info, xattrs, true)
	} else {
		e.Open = nil
	}
	s.Lazy("packaged", func() string { return boolText(f.brought(p)) })
	f.match(s, e)
}

// late says whether a file was made or written after the node's first container:
// what a node needs to run containers was there before. False where there are none.
func (f *finder) late(i *evidence.Info) bool {
	if f.first.IsZero() {
		return false
	}
	const working = time.Minute
	from := f.first.Add(working)
	if i.Btime.IsZero() {
		return i.Ctime.After(from)
	}
	return i.Btime.After(from) || i.Mtime.After(from)
}

// brought says whether a package of the node has a file, as far as the databases of dpkg, apk and rpm tell.
func (f *nodeFinder) brought(p string) bool {
	_, ok := f.promises().of(p)
	return ok
}

// promises are what the node's package databases say of its files.
func (f *nodeFinder) promises() promises {
	if f.packaged == nil {
		f.packaged = make(promises)
		if f.n.Tree != nil {
			f.packaged.read(f.n.Tree, nil, func(at string, err error) { f.gap(placeOf(nil, at), err) })
		}
	}
	return f.packaged
}

// alwaysWritten are logs that a running system writes to all the time.
var alwaysWritten = map[string]bool{
	"/var/log/wtmp": true, "/var/log/auth.log": true, "/var/log/secure": true, "/var/log/syslog": true, "/var/log/messages": true, "/var/log/audit/audit.log": true,
}

// log remembers the node's logs, to find what was emptied.
func (f *nodeFinder) log(p string, n inode) {
	base := p
	if i := strings.IndexAny(path.Base(p), "-"); i > 0 {
		base = p[:len(p)-len(path.Base(p))+i]
	} else if m := rotatedNumber.FindStringIndex(p); m != nil {
		base = p[:m[0]]
	}
	if !alwaysWritten[base] {
		return
	}
	if f.logs == nil {
		f.logs = make(map[string]evidence.Info)
	}
	if base != p {
		f.logs[base+" rotated"] = evidence.Info{}
		return
	}
	f.logs[p] = evidence.Info{Type: n.typ, Perm: n.perm, UID: n.uid, GID: n.gid, Size: n.size, Nlink: n.nlink}
}

var rotatedNumber = regexp.MustCompile(`\.[0-9]+(\.(gz|xz|bz2|zst))?$`)

// finish tells the logs that are empty though the system writes to others of them.
func (f *nodeFinder) finish() {
	some := false
	for p, info := range f.logs {
		some = some || info.Size > 0 || strings.HasSuffix(p, " rotated")
	}
	for p, info := range f.logs {
		_, rotated := f.logs[p+" rotated"]
		if info.Type != evidence.TypeFile || info.Size > 0 || rotated || !some {
			continue
		}
		ino, err := evidence.Resolve(f.n.Tree, f.n.Tree.Root(), p, false)
		if err != nil {
			continue
		}
		if info, err = f.n.Tree.Stat(ino); err != nil {
			continue
		}
		e := findings.Evidence{Kind: findings.KindFile, Place: placeOf(nil, p), Path: p, Offset: -1, Field: "size", Value: "0", File: fileEvidence(&info, "", "")}
		e.Time, e.TimeOf = info.Mtime, "modified"
		f.computed("node-log-emptied", e)
	}
}

// info is the evidence.Info of the i-th inode.
func (x *index) info(i int32) evidence.Info {
	n := x.node(i)
	e := &x.extras[n.extra]
	at := func(k int) time.Time {
		if sec, nsec, known := x.time(n.node, k); known {
			return time.Unix(sec, int64(nsec)).UTC()
		}
		return time.Time{}
	}
	out := evidence.Info{
		Inode: x.inode(i), Type: n.typ, Perm: n.perm, UID: n.uid, GID: n.gid, Nlink: n.nlink, Size: n.size,
		Mtime: at(0), Atime: at(1), Ctime: at(2), Btime: at(3), FromJournal: n.journal,
	}
	if n.extra != 0 {
		out.Major, out.Minor = e.major, e.minor
	}
	return out
}
