package containerd

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// containerID finds a container's id in its own record; "" where it doesn't say.
func containerID(r *record) string {
	ext := r.sub(bucketExtensions)
	for _, name := range []string{extensionContainer, extensionSandbox, extensionMetadata} {
		if _, ok := ext.values[name]; !ok {
			continue
		}
		any, err := decodeAny(ext.bytes(name))
		if err != nil {
			continue
		}
		if m := criID.FindSubmatch(any.value); m != nil {
			return string(m[1])
		}
	}
	return r.text(keySnapshotKey) // the CRI plugin, nerdctl and ctr call it by the container's id
}

var criID = regexp.MustCompile(`^\{"Version":"[^"]*","Metadata":\{"ID":"([^"]{1,128})"`)

func (m *remnants) container(kind string, at place, name string, r *record, shared bool) {
	out := runtimes.Remnant{Object: runtimes.ObjectContainer, Namespace: at.space(), ID: name, Sure: runtimes.Likely, Note: "only its name is left"}
	at.fill(&out)
	if r != nil {
		own := containerID(r)
		switch {
		case shared && own != name:
			r = nil // the page is another container's by now
		case own == "" || own == name:
			out.Sure = runtimes.Sure
			if name == "" || own == "" && kind == recordContainer {
				out.Sure = runtimes.Likely
			}
		case name == "":
			out.ID = own
		default:
			// Either the page was used again, or the snapshot has a name of its own. Both are told apart by the keys.
			if len(own) == 64 {
				m.container(kind, place{source: at.source, gone: at.gone, page: at.page}, "", r, shared)
				r = nil
			}
			if !at.confirmed[recordContainer] {
				return // the page that leads here is no list of containers
			}
		}
	}
	// A name alone is believed where it is an id as the CRI plugin makes them: what
	// leads to an old page may be of a time when its number was another page's.
	if m.live[liveKey(recordContainer, "", out.ID)] || r == nil && !oci.IsHex64(out.ID) {
		return
	}
	if r != nil {
		m.fillContainer(&out, kind, r, at)
	}
	m.add(out)
}

// fillContainer reads what is left of a container's record.
func (m *remnants) fillContainer(out *runtimes.Remnant, kind string, r *record, at place) {
	r.errs = nil
	ns := m.space(out.Namespace)
	c, err := m.shadow.container(ns, out.ID, r)
	if kind == recordSandbox {
		c.Kind = runtimes.KindSandbox
	}
	if c.Started.IsZero() && c.Finished.IsZero() {
		c.State, c.Reason = runtimes.StateUnknown, "" // the absence of its task says nothing any more
	}
	out.Note, out.Complete = "", err == nil && (at.page.Whole || at.kv != nil)
	if err != nil {
		out.Sure, out.Note = runtimes.Doubtful, "part of the record is gone"
		if c.Created.IsZero() && len(r.values) < 3 {
			return
		}
	}
	if out.Namespace == "" {
		c.Namespace = ""
		if c.Pod.Name != "" {
			c.Namespace = criNamespace
		}
		out.Namespace = c.Namespace
	}
	out.Container, out.Name, out.Pod, out.Existed = &c, c.Name, c.Pod, c.Created
}

func (m *remnants) image(at place, name string, r *record, shared bool) {
	ns := at.space()
	// Which namespace an old page belongs to is as old as the pages above it: a
	// name that any namespace lists is not told as removed.
	if m.live[liveKey(recordImage, "", name)] || name != "" && !strings.ContainsAny(name, "/:@.") {
		return
	}
	out := runtimes.Remnant{Object: runtimes.ObjectImage, Namespace: ns, ID: name, Name: name, Sure: runtimes.Likely, Note: "only its name is left"}
	at.fill(&out)
	if shared && at.kv != nil {
		r = nil // its page is another image's by now
	}
	if r != nil {
		target := r.sub(bucketTarget)
		img := &runtimes.Image{Runtime: m.s.layout.Runtime, Namespace: ns, StorePath: m.s.root, Digest: target.text(keyDigest), Size: -1,
			Pulled: decoded(r, keyCreated, decodeTime), Updated: decoded(r, keyUpdated, decodeTime), Labels: r.texts(bucketLabels)}
		if name != "" {
			img.Names = []string{name}
		}
		if c := m.s.readContent(m.space(ns), img.Digest); c.config != "" {
			names, labels := img.Names, img.Labels
			pulled, updated, digest := img.Pulled, img.Updated, img.Digest
			*img = c.image
			img.ID, img.Names, img.Labels, img.Pulled, img.Updated, img.Digest = c.config, names, labels, pulled, updated, digest
			img.Runtime, img.Namespace, img.StorePath = m.s.layout.Runtime, ns, m.s.root
		}
		out.Image, out.Existed, out.Note = img, img.Pulled, ""
		out.Complete = len(r.errs) == 0 && len(target.errs) == 0
		if name != "" {
			out.Sure = runtimes.Sure
			doubtName(&out, at)
		} else {
			out.ID = img.Digest
			if out.ID == "" || m.targeted(img.Digest) {
				return // an older state of an image that is listed
			}
		}
	}
	if out.ID != "" {
		m.add(out)
	}
}

// targeted says whether an image that is listed leads to the digest.
func (m *remnants) targeted(digest string) bool {
	for _, ns := range m.s.namespaces {
		for _, i := range ns.images {
			if i.digest == digest {
				return true
			}
		}
	}
	return false
}

func (m *remnants) snapshot(at place, key string, r *record, shared bool) {
	ns, snapshotter := at.space(), ""
	if n := len(at.path); n >= 3 && at.path[n-3] == bucketSnapshots {
		snapshotter = at.path[n-2]
	}
	out := runtimes.Remnant{Object: runtimes.ObjectSnapshot, Namespace: ns, ID: key, Name: key, Sure: runtimes.Likely, Note: "only its key is left"}
	at.fill(&out)
	if r != nil {
		name := r.text(keyName)
		space, own := keyOf(name)
		if (own == key || key == "") && m.live[liveKey(recordBackend, "", name)] {
			return // an older state of it, whichever snapshotter old pages say that it was of
		}
		switch {
		case key == "":
			out.ID, out.Name, ns = own, own, space
		case own == key:
			out.Sure, ns = runtimes.Sure, space
		case shared:
			r = nil
		default: // the page is another snapshot's
			m.snapshot(place{source: at.source, gone: at.gone, page: at.page}, "", r, false)
			if r = nil; !at.confirmed[recordSnapshot] {
				return
			}
		}
		if r != nil {
			out.Snapshot = &runtimes.Snapshot{Runtime: m.s.layout.Runtime, Namespace: ns, Snapshotter: snapshotter, StorePath: m.s.root,
				Key: out.ID, Name: name, Parent: r.text(keyParent), Kind: kindName(0), Size: -1, Inodes: -1, Labels: r.texts(bucketLabels),
				Created: decoded(r, keyCreated, decodeTime), Updated: decoded(r, keyUpdated, decodeTime)}
			out.Existed, out.Note, out.Complete, out.Namespace = out.Snapshot.Created, "", len(r.errs) == 0, ns
		}
	}
	named := out.Sure == runtimes.Sure && snapshotter != "" && !m.live[liveKey(recordSnapshot, ns, snapshotter+"/"+out.ID)]
	if out.ID == "" || !named && m.live[liveKey(recordSnapshot, "", out.ID)] {
		return
	}
	m.add(out)
}

func (m *remnants) blob(at place, digest string, r *record, shared bool) {
	// A layer's snapshot is called by a digest too, and old pages may lead to others' by now.
	if !strings.Contains(digest, ":") || m.live[liveKey(recordBlob, "", digest)] || m.live[liveKey(recordSnapshot, "", digest)] {
		return
	}
	out := runtimes.Remnant{Object: runtimes.ObjectContent, Namespace: at.space(), ID: digest, Sure: runtimes.Likely, Note: "only its digest is left"}
	at.fill(&out)
	if r != nil && !shared {
		out.Existed, out.Complete = decoded(r, keyCreated, decodeTime), len(r.errs) == 0
		labels := r.texts(bucketLabels)
		out.Note = ""
		for _, k := range slices.Sorted(maps.Keys(labels)) {
			if repo, ok := strings.CutPrefix(k, "containerd.io/distribution.source."); ok {
				out.Name = repo + "/" + labels[k]
			}
		}
		doubtName(&out, at)
	}
	m.add(out)
}

// doubtName marks a record that doesn't say its own name and that old pages lead to
// by several: all but one are of a time when the page's number was another one's.
func doubtName(out *runtimes.Remnant, at place) {
	if at.kv == nil && at.names > 1 {
		out.Sure, out.Note = runtimes.Doubtful, fmt.Sprintf("one of %d names that old pages give it", at.names)
	}
}
