package tarfs

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"lagan/evidence"
)

// extended is what extended headers say of the next member, where it takes the
// place of what the member's own header says.
type extended struct {
	gnuName, gnuLink string
	name, link       string
	sparseName       string
	size, realSize   *int64
	uid, gid         *int64
	major, minor     *int64
	times            [timeKinds]*stamp
	socket           bool
	sparseMajor      string
	offset           int64 // of the pair of sparse records that isn't whole yet
}

// paxRecords gives each record "LENGTH KEY=VALUE\n".
func paxRecords(b []byte, give func(key, value string) error) error {
	for len(b) > 0 {
		if b[0] == 0 { // padding that some writers count in
			return nil
		}
		digits, _, ok := strings.Cut(string(b[:min(len(b), 20)]), " ")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || n < len(digits)+3 || n > len(b) || b[n-1] != '\n' {
			return fmt.Errorf("record %.40q: %w", b, evidence.ErrCorrupt)
		}
		key, value, ok := strings.Cut(string(b[len(digits)+1:n-1]), "=")
		if !ok {
			return fmt.Errorf("record %.40q: %w", b, evidence.ErrCorrupt)
		}
		if err := give(key, value); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Names under which writers keep extended attributes.
const (
	xattrStar       = "SCHILY.xattr."
	xattrLibarchive = "LIBARCHIVE.xattr."
	xattrSELinux    = "RHT.security.selinux"
)

// take applies one record. An empty value takes back what was said before.
func (x *extended) take(h *header, key, value string, keep bool) error {
	switch {
	case strings.HasPrefix(key, xattrStar), strings.HasPrefix(key, xattrLibarchive), key == xattrSELinux:
		h.hasX = true
		if keep {
			return h.attribute(key, value)
		}
		return nil
	case strings.HasPrefix(key, "GNU.sparse."):
		return x.sparseRecord(h, strings.TrimPrefix(key, "GNU.sparse."), value, keep)
	}
	var err error
	switch key {
	case "path":
		x.name = value
	case "linkpath":
		x.link = value
	case "size":
		x.size, err = optional(value)
	case "uid":
		x.uid, err = optional(value)
	case "gid":
		x.gid, err = optional(value)
	case "SCHILY.devmajor":
		x.major, err = optional(value)
	case "SCHILY.devminor":
		x.minor, err = optional(value)
	case "mtime":
		x.times[mtime], err = optionalStamp(value)
	case "atime":
		x.times[atime], err = optionalStamp(value)
	case "ctime":
		x.times[ctime], err = optionalStamp(value)
	case "LIBARCHIVE.creationtime":
		x.times[btime], err = optionalStamp(value)
	case "SCHILY.filetype":
		x.socket = value == "socket"
	}
	if err != nil {
		return fmt.Errorf("record %s=%.40q: %w: %w", key, value, evidence.ErrCorrupt, err)
	}
	return nil
}

// attribute keeps an extended attribute as the kernel would give it.
func (h *header) attribute(key, value string) error {
	if h.xattrs == nil {
		h.xattrs = map[string][]byte{}
	}
	if strings.ContainsRune(key, 0) {
		return fmt.Errorf("record %q: %w", key, evidence.ErrCorrupt)
	}
	if name, ok := strings.CutPrefix(key, xattrStar); ok {
		h.xattrs[unescapeGNU(name)] = []byte(value)
		return nil
	}
	if key == xattrSELinux { // the kernel's has the NUL at its end
		if h.xattrs["security.selinux"] == nil {
			h.xattrs["security.selinux"] = append([]byte(value), 0)
		}
		return nil
	}
	name, err := url.PathUnescape(strings.TrimPrefix(key, xattrLibarchive))
	var b []byte
	if err == nil {
		b, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	}
	if err != nil {
		return fmt.Errorf("record %s: %w: %w", key, evidence.ErrCorrupt, err)
	}
	if _, ok := h.xattrs[name]; !ok { // libarchive writes both forms
		h.xattrs[name] = b
	}
	return nil
}

// unescapeGNU undoes what GNU tar does to % and = in a name (xattr_encode_keyword, src/xheader.c).
func unescapeGNU(name string) string {
	if !strings.Contains(name, "%") {
		return name
	}
	return strings.NewReplacer("%3D", "=", "%25", "%").Replace(name)
}

// apply puts what the extended headers say in the place of the header's own.
func (x *extended) apply(h *header) {
	for _, s := range []struct {
		to   *string
		from []string
	}{{&h.name, []string{x.sparseName, x.name, x.gnuName}}, {&h.link, []string{x.link, x.gnuLink}}} {
		for _, v := range s.from {
			if v != "" {
				*s.to = v
				break
			}
		}
	}
	set := func(to *int64, v *int64) {
		if v != nil {
			*to = *v
		}
	}
	if x.size != nil {
		h.stored = *x.size
		if h.kind != kindGNUSparse {
			h.size = *x.size
		}
	}
	set(&h.size, x.realSize)
	set(&h.uid, x.uid)
	set(&h.gid, x.gid)
	set(&h.major, x.major)
	set(&h.minor, x.minor)
	for i, t := range x.times {
		if t != nil {
			h.times[i] = *t
		}
	}
	h.socket = x.socket
	if x.sparseMajor == "1" {
		h.sparse = sparseInContent
	}
}

func optional(s string) (*int64, error) {
	if s == "" {
		return nil, nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	return &v, err
}

// optionalStamp decodes seconds with a fraction of any length; digits behind
// the ninth are dropped.
func optionalStamp(s string) (*stamp, error) {
	if s == "" {
		return nil, nil
	}
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil && whole != "-" && whole != "" {
		return nil, err
	}
	nsec, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 32)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(whole, "-") && nsec > 0 { // -1.25 is a quarter of a second before -1
		sec, nsec = sec-1, 1_000_000_000-nsec
	}
	return &stamp{sec, uint32(nsec)}, nil
}
