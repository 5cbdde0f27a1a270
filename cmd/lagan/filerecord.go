package main

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lagan/analyzer"
	"lagan/evidence"
	"lagan/internal/text"
	"lagan/layers"
)

// timeFormat is RFC 3339 with nine decimals, for times in UTC.
const timeFormat = "2006-01-02T15:04:05.000000000Z"

// fileRecord is one file as ls and diff print it.
type fileRecord struct {
	analyzer.File
	// of --all-versions
	state string
	// of diff: all that have the path
	layers []string
	// of diff
	change    layers.Kind
	changed   []string
	oldSHA256 string
}

var lsColumns = columns{
	table: []string{"MODE", "LINKS", "UID", "GID", "SIZE", "MODIFIED", "PATH"},
	wide:  fileColumns,
}

var fileColumns = []string{"path", "type", "mode", "uid", "gid", "size", "nlink", "inode", "rdev", "target", "mtime", "atime", "ctime", "btime", "xattrs", "sha256", "layer", "known", "match"}

// appendJSON writes the object by hand: a node has millions of files.
func (r *fileRecord) appendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, '{')
	if r.change != "" {
		dst = appendField(dst, "change", string(r.change))
		dst = append(dst, ',')
	}
	if r.state != "" {
		dst = appendField(dst, "state", r.state)
		dst = append(dst, ',')
	}
	dst = appendName(dst, "path", r.Path)
	if r.Info.Type != evidence.TypeUnknown {
		dst = appendInfo(dst, &r.Info)
	}
	if r.Info.Type == evidence.TypeSymlink {
		dst = append(dst, ',')
		dst = appendName(dst, "target", r.Target)
	}
	if len(r.Xattrs) > 0 {
		dst = append(dst, `,"xattrs":`...)
		dst = appendXattrs(dst, r.Xattrs)
	}
	for _, f := range [...]struct{ name, value string }{{"sha256", r.SHA256}, {"old_sha256", r.oldSHA256}, {"verity", r.Verity}, {"layer", r.Layer}} {
		if f.value != "" {
			dst = append(dst, ',')
			dst = appendField(dst, f.name, f.value)
		}
	}
	for _, l := range [...]struct {
		name string
		list []string
	}{{"layers", r.layers}, {"known", r.Known}, {"match", r.Matches}, {"changed", r.changed}} {
		if len(l.list) > 0 {
			dst = appendList(dst, l.name, l.list)
		}
	}
	return append(dst, '}'), nil
}

func appendList(dst []byte, name string, list []string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, `":[`...)
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		s, _ = text.ForJSON(s)
		dst = text.AppendJSON(dst, s)
	}
	return append(dst, ']')
}

// appendInfo appends what a file's inode says.
func appendInfo(dst []byte, i *evidence.Info) []byte {
	dst = append(dst, `,"type":"`...)
	dst = append(dst, i.Type.String()...)
	dst = append(dst, `","mode":"`...)
	dst = append(dst, octal(i.Perm)...)
	dst = append(dst, `","uid":`...)
	dst = strconv.AppendUint(dst, uint64(i.UID), 10)
	dst = append(dst, `,"gid":`...)
	dst = strconv.AppendUint(dst, uint64(i.GID), 10)
	dst = append(dst, `,"size":`...)
	dst = strconv.AppendInt(dst, i.Size, 10)
	dst = append(dst, `,"nlink":`...)
	dst = strconv.AppendUint(dst, uint64(i.Nlink), 10)
	dst = append(dst, `,"inode":`...)
	dst = strconv.AppendUint(dst, i.Inode, 10)
	if d := device(i); d != "" {
		dst = append(dst, ',')
		dst = appendField(dst, "rdev", d)
	}
	for _, t := range [...]struct {
		name string
		time time.Time
	}{{"mtime", i.Mtime}, {"atime", i.Atime}, {"ctime", i.Ctime}, {"btime", i.Btime}} {
		if !t.time.IsZero() {
			dst = append(dst, ',', '"')
			dst = append(dst, t.name...)
			dst = append(dst, `":"`...)
			dst = t.time.UTC().AppendFormat(dst, timeFormat)
			dst = append(dst, '"')
		}
	}
	return dst
}

// appendName writes a name that may be any bytes: escaped, and raw where that loses something.
func appendName(dst []byte, field, name string) []byte {
	s, valid := text.ForJSON(name)
	dst = appendField(dst, field, s)
	if !valid {
		dst = append(dst, ',')
		dst = appendField(dst, field+"_raw", base64.StdEncoding.EncodeToString([]byte(name)))
	}
	return dst
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return text.AppendJSON(dst, value)
}

func appendXattrs(dst []byte, xattrs map[string][]byte) []byte {
	names := make([]string, 0, len(xattrs))
	for k := range xattrs {
		names = append(names, k)
	}
	slices.Sort(names)
	dst = append(dst, '{')
	for i, k := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		s, _ := text.ForJSON(k)
		dst = text.AppendJSON(dst, s)
		dst = append(dst, ':', '"')
		dst = base64.StdEncoding.AppendEncode(dst, xattrs[k])
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

func octal(perm uint16) string { return fmt.Sprintf("%04o", perm) }

func device(i *evidence.Info) string {
	if i.Type != evidence.TypeChar && i.Type != evidence.TypeBlock {
		return ""
	}
	return fmt.Sprintf("%d:%d", i.Major, i.Minor)
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeFormat)
}

func (r *fileRecord) row(wide bool) []string {
	i := &r.Info
	if wide {
		return r.wideRow()
	}
	size := strconv.FormatInt(i.Size, 10)
	if d := device(i); d != "" {
		size = d
	}
	path := r.Path
	if i.Type == evidence.TypeSymlink {
		path += " -> " + r.Target
	}
	modified := ""
	if !i.Mtime.IsZero() {
		modified = i.Mtime.UTC().Format("2006-01-02T15:04:05Z")
	}
	return []string{i.Mode(), strconv.Itoa(int(i.Nlink)), fmt.Sprint(i.UID), fmt.Sprint(i.GID), size, modified, path + marks(r.Known, r.Matches)}
}

func (r *fileRecord) wideRow() []string {
	i := &r.Info
	xattrs := make([]string, 0, len(r.Xattrs))
	for k := range r.Xattrs {
		xattrs = append(xattrs, k)
	}
	slices.Sort(xattrs)
	row := []string{
		r.Path, i.Type.String(), octal(i.Perm), fmt.Sprint(i.UID), fmt.Sprint(i.GID), fmt.Sprint(i.Size), fmt.Sprint(i.Nlink), fmt.Sprint(i.Inode),
		device(i), r.Target, formatTime(i.Mtime), formatTime(i.Atime), formatTime(i.Ctime), formatTime(i.Btime), strings.Join(xattrs, " "), r.SHA256, r.Layer, strings.Join(r.Known, " "), strings.Join(r.Matches, " "),
	}
	if r.change != "" {
		row = append([]string{string(r.change)}, row...)
		row = append(row, strings.Join(r.changed, " "), r.oldSHA256)
	}
	return row
}
