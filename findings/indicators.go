package findings

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Indicators are what an analyst knows of an attack: hashes, addresses, domains
// and names. They are held against everything that rules are.
type Indicators struct {
	hashes map[string]string // lower-case hex to the line's text
	paths  map[string]string
	names  map[string]string // of files, lower-case
	words  map[string]string // addresses and domains, lower-case
	nets   []netip.Prefix
}

// maxIndicators bounds one list.
const maxIndicators = 5_000_000

// maxFileName is NAME_MAX.
const maxFileName = 255

var domain = regexp.MustCompile(`^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{1,62}$`)

// ReadIndicators reads a list: one indicator a line, what it is told by its
// shape: an MD5, SHA-1 or SHA-256 hash, an address or a network, a domain or URL, a
// path (/...), or else the name of a file. "KIND,VALUE" and "KIND:VALUE" with
// the kinds hash, md5, sha1, sha256, ip, domain, url, path, file say it outright.
// What stands behind a # is a comment; defanged forms (hxxp, [.]) are undone.
func ReadIndicators(r io.Reader) (*Indicators, error) {
	in := &Indicators{hashes: map[string]string{}, paths: map[string]string{}, names: map[string]string{}, words: map[string]string{}}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for n := 1; s.Scan(); n++ {
		if n > maxIndicators {
			return nil, fmt.Errorf("more than %d lines", maxIndicators)
		}
		line, _, _ := strings.Cut(s.Text(), " #")
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := in.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return in, s.Err()
}

var kinds = []string{"hash", "md5", "sha1", "sha256", "ip", "domain", "url", "path", "file"}

func (in *Indicators) add(line string) error {
	kind, value := "", line
	if at := strings.IndexAny(line, ",:;\t"); at > 0 && slices.Contains(kinds, strings.ToLower(strings.TrimSpace(line[:at]))) {
		kind, value = strings.ToLower(strings.TrimSpace(line[:at])), strings.TrimSpace(line[at+1:])
		value, _, _ = strings.Cut(value, ",")
	}
	value = strings.Trim(value, `"' `)
	plain := strings.NewReplacer("[.]", ".", "(.)", ".", "[:]", ":", "hxxp", "http").Replace(value)
	lower := strings.ToLower(plain)
	switch {
	case kind == "file":
		in.names[strings.ToLower(value)] = value
	case kind == "path" || kind == "" && strings.HasPrefix(value, "/"):
		in.paths[value] = value
	case isHash(lower) && (kind == "" || kind == "hash" || kind == "md5" || strings.HasPrefix(kind, "sha")):
		in.hashes[lower] = value
	case strings.Contains(lower, "://"):
		in.words[strings.SplitN(lower, "://", 2)[1]] = value
	default:
		return in.network(kind, lower, value)
	}
	return nil
}

func (in *Indicators) network(kind, lower, value string) error {
	if p, err := netip.ParsePrefix(lower); err == nil {
		in.nets = append(in.nets, p.Masked())
		return nil
	}
	if a, err := netip.ParseAddr(lower); err == nil {
		in.words[a.String()] = value
		return nil
	}
	switch {
	case kind == "domain" || kind == "url" || kind == "" && domain.MatchString(lower) && !looksLikeFile(lower):
		in.words[lower] = value
	case kind != "":
		return fmt.Errorf("%.30q is no %s", value, kind)
	case strings.Contains(lower, "/") && isHost(beforeColon(before(lower, "/"))): // a URL that leaves out how
		in.words[lower] = value
	case len(value) > maxFileName || strings.ContainsFunc(value, func(r rune) bool { return r == '/' || unicode.IsControl(r) }):
		return fmt.Errorf("%.30q is no hash, address, network, domain, URL, path or name of a file", value)
	default:
		in.names[lower] = value
	}
	return nil
}

func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || domain.MatchString(s)
}

func before(s, sep string) string {
	head, _, _ := strings.Cut(s, sep)
	return head
}

// looksLikeFile says whether a name with dots is rather a file's than a domain's.
func looksLikeFile(s string) bool {
	for _, ext := range []string{".sh", ".so", ".py", ".pl", ".elf", ".bin", ".php", ".jsp", ".war", ".jar", ".exe", ".ko", ".conf", ".txt", ".service", ".rb", ".o"} {
		if strings.HasSuffix(s, ext) && strings.Count(s, ".") == 1 {
			return true
		}
	}
	return false
}

func isHash(s string) bool {
	if len(s) != 32 && len(s) != 40 && len(s) != 64 {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// Hashes says whether files have to be hashed, and with what.
func (in *Indicators) Hashes() (md5, sha1, sha256 bool) {
	if in == nil {
		return
	}
	for h := range in.hashes {
		md5, sha1, sha256 = md5 || len(h) == 32, sha1 || len(h) == 40, sha256 || len(h) == 64
	}
	return
}

// Hash returns the indicator that a hash is.
func (in *Indicators) Hash(hexed string) (string, bool) {
	v, ok := in.hashes[hexed]
	return v, ok
}

// Path returns the indicator that a path or its last element is.
func (in *Indicators) Path(path string) (string, bool) {
	if v, ok := in.paths[path]; ok {
		return v, true
	}
	v, ok := in.names[strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])]
	return v, ok
}

// token is what an address or a domain, with what follows of a URL, is made of.
func token(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' || c == ':'
}

// Text returns an indicator that stands in a text as a word of its own: an
// address, a domain or one below it, or a file's path or name.
func (in *Indicators) Text(s string) (indicator, context string, found bool) {
	s = s[:min(len(s), maxText)]
	for i := 0; i < len(s); {
		if !token(s[i]) {
			i++
			continue
		}
		end := i
		for end < len(s) && token(s[end]) {
			end++
		}
		if v, ok := in.word(s[i:end], s[i:]); ok {
			return v, around(s, i, end), true
		}
		i = end
	}
	for i := 0; i < len(s) && len(in.paths) > 0; i++ {
		if s[i] != '/' || i > 0 && (token(s[i-1]) || s[i-1] == '/') {
			continue
		}
		end := i + len(s[i:])
		if n := strings.IndexAny(s[i:], " \t\r\n\"'<>|;&(),:="); n >= 0 {
			end = i + n
		}
		if v, ok := in.paths[s[i:end]]; ok {
			return v, around(s, i, end), true
		}
		i = end
	}
	return "", "", false
}

func (in *Indicators) word(w, rest string) (string, bool) {
	w = strings.ToLower(strings.Trim(w, ".:-_"))
	if w == "" {
		return "", false
	}
	for _, form := range [...]string{w, beforeColon(w)} {
		if v, ok := in.words[form]; ok {
			return v, true
		}
		if v, ok := in.names[form]; ok {
			return v, true
		}
		if v, ok := in.hashes[form]; ok {
			return v, true
		}
		if a, err := netip.ParseAddr(form); err == nil {
			for _, p := range in.nets {
				if p.Contains(a.Unmap()) {
					return p.String(), true
				}
			}
			continue
		}
		for d := form; ; { // a domain of which it is a part
			_, after, ok := strings.Cut(d, ".")
			if !ok {
				break
			}
			if v, ok := in.words[after]; ok {
				return v, true
			}
			d = after
		}
	}
	if end := strings.IndexAny(rest, " \t\r\n\"'<>|;)"); end > len(w) { // a URL without its scheme
		if v, ok := in.words[strings.ToLower(rest[:end])]; ok {
			return v, true
		}
	} else if v, ok := in.words[strings.ToLower(rest)]; end < 0 && ok {
		return v, true
	}
	return "", false
}

func beforeColon(s string) string {
	if i := strings.IndexByte(s, ':'); i > 0 {
		return s[:i]
	}
	return s
}
