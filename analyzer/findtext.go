package analyzer

import (
	"archive/zip"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"path"
	"regexp"
	"strings"
)

// startup are the paths of what is run by cron, at the start of a system or of a shell.
var startup = regexp.MustCompile(`^/etc/(cron\.[^/]+/|crontab$|anacrontab$|periodic/|init\.d/|rc\.local$|rc[0-9S]?\.d/|init/|profile$|profile\.d/|bash\.bashrc$|bashrc$|zsh/|` +
	`update-motd\.d/|systemd/(system|user)/|xdg/autostart/|udev/rules\.d/|apt/apt\.conf\.d/|network/if-[^/]+\.d/|NetworkManager/dispatcher\.d/|ld\.so\.preload$|environment$|ssh/(sshrc|ssh_config)|inittab$|xinetd\.d/|` +
	`inetd\.conf$|dhcp/dhclient-[^/]+-hooks\.d/|ppp/ip-up\.d/|logrotate\.d/|modprobe\.d/|modules$|modules-load\.d/|rsyslog\.d/|systemd/(system|user)-generators/|profile\.local$|csh\.cshrc$)|` +
	`^/var/spool/(cron|at)/|^/(usr/|usr/local/)?lib/systemd/(system|user|system-shutdown|system-sleep|system-generators)/|^/run/systemd/system/|^/usr/lib/modules-load\.d/|` +
	`^/(root|home/[^/]+)/(\.bashrc|\.bash_profile|\.bash_login|\.bash_logout|\.bash_aliases|\.profile|\.zshrc|\.zshenv|\.zprofile|\.pam_environment|\.ssh/(rc|config|environment)|\.config/(systemd/user|autostart)/.*)$`)

// documentRoots are folders whose files web servers run or hand out.
var documentRoots = regexp.MustCompile(`^/var/www/|^/srv/(www|http)/|/(htdocs|wwwroot|public_html|webapps|cgi-bin|www/html|nginx/html|www-data|docroot|webroot|web/public|app/public|html/public)/|^/usr/share/nginx/|^/usr/local/(apache2|nginx|tomcat|openresty)/|^/opt/[^/]*(tomcat|jboss|wildfly|jetty|apache)[^/]*/|/wordpress/|^/app/(public|www|html)/`)

// temporary are folders that anyone may write to, or that don't outlast a start.
var temporary = regexp.MustCompile(`^/(tmp|var/tmp|dev/shm|run/shm|run/lock|var/lock|run/user)/`)

var histories = regexp.MustCompile(`/\.[a-z]*_?history$|/\.(zhistory|histfile)$`)

// usualHidden are names with a dot that systems and tools use.
var usualHidden = func() map[string]bool {
	m := make(map[string]bool)
	for _, n := range strings.Fields(`.cache .config .local .npm .npmrc .yarn .yarnrc .pnpm-store .pnpm .nvm .pyenv .rbenv .rvm .cargo .rustup .sdkman .gem .bundle .m2 .gradle
		.ivy2 .sbt .git .github .gitlab .gitignore .gitmodules .gitattributes .gitkeep .gitconfig .svn .hg .ssh .gnupg .aws .kube .docker .dockerignore .azure .vscode .vscode-server
		.vscode-remote .cursor-server .idea .terraform .terraform.d .ansible .venv .tox .nox .pytest_cache .mypy_cache .ruff_cache .eggs .build-id .bin .libs .hushlogin .bashrc .bash_profile
		.bash_login .bash_logout .bash_history .bash_aliases .sh_history .ash_history .profile .zshrc .zprofile .zsh_history .viminfo .vimrc .vim .lesshst .wget-hsts .python_history
		.node_repl_history .mysql_history .psql_history .rediscli_history .dockerenv .containerenv .pwd.lock .updated .placeholder .keep .editorconfig .npmignore .nojekyll .htaccess
		.htpasswd .user.ini .env .DS_Store .X11-unix .ICE-unix .font-unix .XIM-unix .Test-unix .oracle_jre_usage .java .jupyter .ipython .minikube .krew .linuxbrew .conda .continuum
		.mozilla .pki .dbus .cloud-locale-test.skip .cloud-warnings .autorelabel .rnd .snapshots .pip .pydistutils.cfg .pypirc .dotnet .nuget .julia .stack .cabal .ghcup .opam
		.selected_editor .sudo_as_admin_successful .motd_shown .Xauthority .xsession-errors .gtkrc .fonts .themes .icons .esd_auth .ansible_async .sonar .nexus .hotspotrc .erlang.cookie
		.cookie .pgpass .my.cnf .inputrc .screenrc .tmux.conf .tmux .emacs .emacs.d .nano .nanorc .netrc .digrc .curlrc .wgetrc .subversion .jenkins .helm .istioctl .eksctl .mc .w3m
		.composer .phpunit.result.cache .deps .next .nuxt .svelte-kit .parcel-cache .turbo .swiftpm .pub-cache .flutter .android .expo .serverless .pulumi .vagrant.d .bazel .lock
		.metadata .settings .classpath .project .well-known .nfs .Trash .trash .osquery .buildkit .buildinfo .flock .initialized .installed .first-run .ready .healthy .timestamp .version`) {
		m[n] = true
	}
	return m
}()

// kubeletVolume are the names that the kubelet gives what it writes at once: its atomic_writer.go.
var kubeletVolume = regexp.MustCompile(`^\.\.(data(_tmp)?|[0-9]{4}_[0-9]{2}_[0-9]{2}_.*)$`)

// isHidden says whether a part of a path begins with a dot and is none that systems or tools use.
func isHidden(p string) bool {
	for rest := p; ; {
		at := strings.Index(rest, "/.")
		if at < 0 {
			return false
		}
		rest = rest[at+1:]
		name, _, _ := strings.Cut(rest, "/")
		switch {
		case usualHidden[name] || name == "." || kubeletVolume.MatchString(name):
		case strings.HasSuffix(name, ".hmac") || strings.HasSuffix(name, ".swp") || strings.HasPrefix(name, ".wh.") || strings.HasPrefix(name, ".#"):
		case strings.HasPrefix(name, ".nfs0") || strings.HasPrefix(name, ".fuse_hidden") || strings.HasPrefix(name, ".Trash-"):
		default:
			return true
		}
	}
}

// Bounds on what is looked into of an archive.
const (
	maxArchive     = 256 << 20
	maxArchiveFile = 4096
)

// archiveText returns the text of the scripts in a web application's archive.
func archiveText(r *io.SectionReader) string {
	if r.Size() > maxArchive {
		return ""
	}
	z, err := zip.NewReader(r, r.Size())
	if err != nil {
		return ""
	}
	var b strings.Builder
	for i, f := range z.File {
		if i >= maxArchiveFile || b.Len() >= maxText {
			break
		}
		switch strings.ToLower(path.Ext(f.Name)) {
		case ".jsp", ".jspx", ".jspf", ".php", ".asp", ".aspx", ".sh", ".py", ".pl":
		default:
			continue
		}
		in, err := f.Open()
		if err != nil {
			continue
		}
		io.Copy(&b, io.LimitReader(in, int64(maxText-b.Len()))) // what can be read of it counts
		in.Close()
		b.WriteByte('\n')
	}
	return b.String()
}

// maxText is the largest file whose text is looked into; scripts and
// configuration are far smaller.
const maxText = 1 << 20

// textAt returns the text of a file of a name: of an archive of a web application
// that of the scripts in it, of a picture its bytes as they are, since a server
// that is told to runs what stands in them.
func textAt(p string, r *io.SectionReader) string {
	switch strings.ToLower(path.Ext(p)) {
	case ".war", ".jar", ".ear", ".phar":
		if r == nil || r.Size() == 0 {
			return ""
		}
		return archiveText(r)
	case ".jpg", ".jpeg", ".png", ".gif", ".ico", ".bmp", ".webp":
		return string(contentOf(r))
	}
	return textOf(r)
}

// contentOf returns what a small file holds.
func contentOf(r *io.SectionReader) []byte {
	if r == nil || r.Size() > maxText {
		return nil
	}
	b := make([]byte, r.Size())
	if _, err := io.ReadFull(r, b); err != nil {
		return nil
	}
	return b
}

// textOf returns a file's text, "" where it is none.
func textOf(r *io.SectionReader) string {
	b := contentOf(r)
	head := b[:min(len(b), 8192)]
	if strings.HasPrefix(string(head), "\x7fELF") || strings.IndexByte(string(head), 0) >= 0 {
		return ""
	}
	return string(b)
}

// formatOf tells what a file is by its first bytes.
func formatOf(r *io.SectionReader) string {
	if r == nil || r.Size() == 0 {
		return "empty"
	}
	head := make([]byte, min(r.Size(), 512))
	if _, err := io.ReadFull(r, head); err != nil {
		return ""
	}
	switch s := string(head); {
	case strings.HasPrefix(s, "\x7fELF"):
		return "elf"
	case strings.HasPrefix(s, "#!"):
		return "script"
	case strings.HasPrefix(s, "PK\x03\x04"):
		return "zip"
	case strings.HasPrefix(s, "\xca\xfe\xba\xbe"):
		return "java"
	case strings.HasPrefix(s, "\x1f\x8b"):
		return "gzip"
	case strings.IndexByte(s, 0) >= 0:
		return "data"
	}
	return "text"
}

func hashSHA256(r *io.SectionReader) (string, error) {
	var buf []byte
	return hashOf(r, sha256.New(), &buf)
}

// added returns the lines of a text that another doesn't have.
func addedLines(now, before string) string {
	had := make(map[string]bool)
	for l := range strings.Lines(before) {
		had[strings.TrimRight(l, "\r\n")] = true
	}
	var b strings.Builder
	for l := range strings.Lines(now) {
		if l = strings.TrimRight(l, "\r\n"); !had[l] {
			b.WriteString(l)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// hashAll returns the hashes of a file that are asked for, in hex.
func hashAll(r *io.SectionReader, withMD5, withSHA1, withSHA256 bool) ([]string, error) {
	if r == nil || r.Size() > maxHashedEvidence {
		return nil, nil
	}
	var sums []hash.Hash
	var all []io.Writer
	for _, h := range [...]struct {
		on  bool
		new func() hash.Hash
	}{{withMD5, md5.New}, {withSHA1, sha1.New}, {withSHA256, sha256.New}} {
		if h.on {
			sums = append(sums, h.new())
			all = append(all, sums[len(sums)-1])
		}
	}
	if _, err := io.Copy(io.MultiWriter(all...), r); err != nil {
		return nil, err
	}
	var out []string
	for _, s := range sums {
		out = append(out, hex.EncodeToString(s.Sum(nil)))
	}
	return out, nil
}
