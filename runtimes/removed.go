package runtimes

import (
	"iter"
	"time"
)

// Object is a kind of thing that a runtime keeps.
type Object string

// The objects that leave traces.
const (
	ObjectContainer Object = "container"
	ObjectImage     Object = "image"
	ObjectSnapshot  Object = "snapshot"
	ObjectPod       Object = "pod"
	ObjectVolume    Object = "volume"
	ObjectNetwork   Object = "network"
	ObjectContent   Object = "content"
	ObjectBuild     Object = "build"
)

// Sureness says how far a trace can be believed.
type Sureness string

// How sure a trace is.
const (
	// Sure: it says so itself, and what leads to it agrees.
	Sure Sureness = "high"
	// Likely: it says so itself, or what leads to it does.
	Likely Sureness = "medium"
	// Doubtful: it is damaged, or was put together from pieces.
	Doubtful Sureness = "low"
)

// Remnant is one trace of an object that its runtime has no record of any more,
// or that it has a record of and nothing else.
type Remnant struct {
	Object    Object
	Runtime   Name
	StorePath string
	Namespace string
	ID        string // "" unknown
	Name      string
	// What of the object could be read; nil: no more than that it was there.
	Container *Container
	Image     *Image
	Snapshot  *Snapshot
	Pod       Pod
	// Existed is a time at which it was there, the earliest that the trace tells;
	// Gone one at which it was no more, or at which it was no longer in its store.
	Existed time.Time
	Gone    time.Time
	Source  string // the file or folder that has the trace, as the node named it
	Place   string // where in it: "page 37, freed page"; "folder slack"
	Offset  int64  // in Source; -1 where that says nothing
	Sure    Sureness
	// Complete says that nothing of the record is missing.
	Complete bool
	Note     string
	Files    []string // some that it had, as its containers saw them
	Blobs    []string // digests of documents and layers that went with it
}

// RemnantStore is a store whose files keep traces of what was removed.
type RemnantStore interface {
	Remnants() iter.Seq2[Remnant, error]
}

// DocumentStore is a store that understands documents of its own wherever they
// were found: in deleted files, in free space.
type DocumentStore interface {
	// Document returns what a document says of objects that the store doesn't
	// list. path is where it stood, as the node named it, "" where that isn't known.
	Document(path string, raw []byte) []Remnant
}
