package containerd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"lagan/runtimes"
	"lagan/runtimes/boltdb"
)

// fragments looks for the CRI plugin's notes in what is left of large values.
func (m *remnants) fragments(source string, gone time.Time) {
	for f, err := range m.s.meta.Fragments() {
		if err != nil {
			m.failed = append(m.failed, fmt.Errorf("%s: %w", source, err))
			continue
		}
		for _, g := range criFragment.FindAllSubmatchIndex(f.Data, maxInFragment) {
			id := string(f.Data[g[2]:g[3]])
			if m.live[liveKey(recordContainer, "", id)] {
				continue
			}
			out := runtimes.Remnant{Object: runtimes.ObjectContainer, Namespace: criNamespace, ID: id, Source: source, Gone: gone,
				Place: fmt.Sprintf("page %d, part of a value", f.Page), Offset: f.Offset + int64(g[0]), Sure: runtimes.Doubtful, Note: "only part of the CRI plugin's note is left"}
			var note containerMetadata
			if json.NewDecoder(bytes.NewReader(f.Data[g[0]:])).Decode(&note) == nil {
				c := m.noted(id, &note)
				out.Container, out.Name, out.Pod, out.Sure, out.Note = c, c.Name, c.Pod, runtimes.Likely, "only the CRI plugin's note is left"
			}
			m.add(out)
		}
		m.specs(f, source, gone)
	}
}

const maxInFragment = 64

var criFragment = regexp.MustCompile(`\{"Version":"[^"]{0,16}","Metadata":\{"ID":"([0-9a-f]{64})","Name":"`)

// noted describes a container by the CRI plugin's note alone.
func (m *remnants) noted(id string, note *containerMetadata) *runtimes.Container {
	c := &runtimes.Container{ID: id, Name: id, Kind: runtimes.KindContainer, Runtime: m.s.layout.Runtime, Namespace: criNamespace, State: runtimes.StateUnknown, StorePath: m.s.root,
		Image: note.Metadata.Config.Image.Image}
	m.shadow.applyContainer(c, m.space(criNamespace), note)
	c.Rootfs.Problem = fmt.Errorf("only the CRI plugin's note is left: %w", fs.ErrNotExist)
	return c
}

// A specification's annotations (pkg/cri annotations of containerd,
// internal/cri/annotations) and the path of its cgroup stand next to each other near
// its end: encoding/json keeps the order of runtime-spec's structs. The last element
// of the path is the container's id, below cgroupfs and systemd alike
// (internal/cri/server/helpers.go, getCgroupsPath).
var (
	specNote    = regexp.MustCompile(`"io\.kubernetes\.cri\.([a-z-]+)":"([^"\\]{1,512})"`)
	specCgroup  = regexp.MustCompile(`"cgroupsPath":"[^"]{0,512}[/:]([0-9a-f]{64})"`)
	specUpdated = regexp.MustCompile(`(?s)\}updatedat(.{15})`)
)

const (
	specStart = `"ociVersion":`
	noteStart = `"io.kubernetes.cri.container-type":`
	// maxSpecEnd bounds what lies between the annotations and the path of the
	// cgroup: resources and devices, which take some KiB at the most.
	maxSpecEnd = 32 << 10
	// maxNotes bounds the annotations before the container's type, which others may share.
	maxNotes = 8 << 10
)

// specs looks for the ends of specifications, which name the image, the pod and the
// container, in what is left of large values.
func (m *remnants) specs(f boltdb.Fragment, source string, gone time.Time) {
	b := f.Data
	for at, n := 0, 0; n < maxInFragment; n++ {
		i := bytes.Index(b[at:], []byte(noteStart))
		if i < 0 {
			return
		}
		i += at
		at = i + len(noteStart)
		start := max(0, i-maxNotes)
		if k := bytes.LastIndexByte(b[start:i], '{'); k >= 0 {
			start += k
		}
		end := min(len(b), i+maxSpecEnd)
		if k := bytes.Index(b[at:end], []byte(specStart)); k >= 0 {
			end = at + k
		}
		g := specCgroup.FindSubmatchIndex(b[i:end])
		if g == nil || bytes.Contains(b[at:i+g[0]], []byte(noteStart)) {
			continue // the end of another one
		}
		m.spec(b[start:i+g[0]], string(b[i+g[2]:i+g[3]]), runtimes.Remnant{Object: runtimes.ObjectContainer, Namespace: criNamespace, Source: source, Gone: gone,
			Place: fmt.Sprintf("page %d, part of a value", f.Page), Offset: f.Offset + int64(start), Sure: runtimes.Likely, Note: "the end of its specification",
			Existed: updatedBehind(b[i+g[1] : end])})
	}
}

// spec tells of a container by its annotations and id.
func (m *remnants) spec(notes []byte, id string, out runtimes.Remnant) {
	if m.live[liveKey(recordContainer, "", id)] {
		return
	}
	said := map[string]string{}
	for _, g := range specNote.FindAllSubmatch(notes, maxInFragment) {
		said[string(g[1])] = string(g[2])
	}
	c := &runtimes.Container{ID: id, Name: id, Kind: runtimes.KindContainer, Runtime: m.s.layout.Runtime, Namespace: criNamespace, State: runtimes.StateUnknown, StorePath: m.s.root,
		Image: said["image-name"], Updated: out.Existed}
	c.Pod = runtimes.Pod{Name: said["sandbox-name"], Namespace: said["sandbox-namespace"], UID: said["sandbox-uid"], SandboxID: said["sandbox-id"], Container: said["container-name"]}
	if said["container-type"] == string(runtimes.KindSandbox) {
		c.Kind, c.Pod.SandboxID = runtimes.KindSandbox, id
	} else if c.Pod.Container != "" {
		c.Name = c.Pod.Container
	}
	c.Rootfs.Problem = fmt.Errorf("only the end of its specification is left: %w", fs.ErrNotExist)
	out.ID, out.Container, out.Name, out.Pod = id, c, c.Name, c.Pod
	m.add(out)
}

// updatedBehind reads the time of the record's last change, which follows its
// specification in the page; zero where it doesn't.
func updatedBehind(b []byte) time.Time {
	if k := bytes.IndexByte(b, 0); k > 0 {
		b = b[:min(len(b), k+16)] // values end in the zeros of the page
	}
	g := specUpdated.FindSubmatch(b)
	if g == nil {
		return time.Time{}
	}
	t, err := decodeTime(g[1])
	if err != nil {
		return time.Time{}
	}
	return t
}
