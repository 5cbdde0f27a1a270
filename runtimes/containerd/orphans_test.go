package containerd_test

import (
	"strings"
	"testing"
	"testing/fstest"

	bolt "go.etcd.io/bbolt"

	"lagan/runtimes"
	"lagan/runtimes/containerd"
	"lagan/runtimes/internal/treetest"
)

var (
	waits  = strings.Repeat("5", 64) // the snapshot of a container, without a record in meta.db
	orphan = "sha256:" + strings.Repeat("d", 64)
)

const content = "var/lib/containerd/io.containerd.content.v1.content/"

// orphaned has an orphan of each kind.
func orphaned(tb testing.TB) fstest.MapFS {
	backends := string(treetest.Bolt(tb, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("v1"))
		if err == nil {
			b, err = b.CreateBucketIfNotExists([]byte("snapshots"))
		}
		if err == nil {
			err = b.SetSequence(9) // 3 to 5, 7 to 9 were given out
		}
		for name, id := range map[string]uint64{"ns/1/" + chain1: 1, "ns/2/" + chain2: 2, "ns/6/" + waits: 6} {
			kind := "\x03"
			if id == 6 {
				kind = "\x02"
			}
			if err == nil {
				err = treetest.Put(tx, "v1|snapshots|"+name, map[string]string{"id": treetest.Uvarint(id), "kind": kind, "createdat": stamp})
			}
		}
		return err
	}))
	meta := string(treetest.Bolt(tb, func(tx *bolt.Tx) error {
		for _, err := range []error{
			treetest.Put(tx, "v1|ns|content|blob|"+blob2, map[string]string{"createdat": stamp, "size": "\x02"}),
			treetest.Put(tx, "v1|ns|snapshots|overlayfs|"+chain1, map[string]string{"name": "ns/1/" + chain1, "createdat": stamp}),
			treetest.Put(tx, "v1|ns|snapshots|overlayfs|"+chain2, map[string]string{"name": "ns/2/" + chain2, "createdat": stamp}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	}))
	const root = "var/lib/containerd/"
	return treetest.Files(map[string]string{
		root + "io.containerd.metadata.v1.bolt/meta.db":         meta,
		below + "overlayfs/metadata.db":                         backends,
		below + "overlayfs/snapshots/1/fs/a":                    "",
		below + "overlayfs/snapshots/7/fs/implant":              "x",
		below + "overlayfs/snapshots/new-123/fs/a":              "",
		below + "overlayfs/snapshots/rm-456/fs/a":               "",
		below + "overlayfs/snapshots/lost+found/a":              "",
		content + "blobs/sha256/" + blob2[7:]:                   "x",
		content + "blobs/sha256/" + orphan[7:]:                  "y",
		content + "ingest/" + strings.Repeat("e", 64) + "/ref":  "ns/1/layer-x",
		content + "ingest/" + strings.Repeat("e", 64) + "/data": "half",
	})
}

// TestOrphans: folders, blobs and downloads that no database lists, removals and
// preparations that were not finished, a snapshot that waits for the collection of
// garbage with what its container wrote, and numbers of snapshots that are missing.
func TestOrphans(t *testing.T) {
	fsys := treetest.New(orphaned(t))
	s, err := containerd.Open(fsys, fsys.Root(), "/var/lib/containerd")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"snapshot " + waits:          "its record in meta.db is gone, the snapshotter still has it",
		"container " + waits:         "its writable snapshot is there: only its snapshotter lists it",
		"snapshot overlayfs/7":       "folder of a snapshot without a record",
		"snapshot overlayfs/new-123": "a snapshot whose making was not finished",
		"snapshot overlayfs/rm-456":  "a removal that was not finished",
		"snapshot overlayfs/3-5":     "3 numbers were given out that no snapshot has",
		"snapshot overlayfs/7-9":     "3 numbers were given out that no snapshot has",
		"content " + orphan:          "a blob without a record",
		"content /" + content + "ingest/" + strings.Repeat("e", 64): "a download that was not finished",
	}
	for r, err := range s.Remnants() {
		if err != nil {
			t.Error(err)
			continue
		}
		k := string(r.Object) + " " + r.ID
		if want[k] != r.Note || r.Sure == runtimes.Doubtful || r.Source == "" {
			t.Errorf("%s: %q, %s, in %q, want %q", k, r.Note, r.Sure, r.Source, want[k])
		}
		delete(want, k)
		if c := r.Container; c != nil && (c.Rootfs.Problem != nil || c.Rootfs.Upper.Dir != "/"+below+"overlayfs/snapshots/6/fs") {
			t.Errorf("the container that waits: %+v", c.Rootfs)
		}
	}
	for k := range want {
		t.Errorf("%s is not told", k)
	}
}

func FuzzRemnants(f *testing.F) {
	const meta, backends = "var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", below + "overlayfs/metadata.db"
	real := map[string][][]byte{meta: {treetest.File(f, "eks-xfs", "/"+meta)}, backends: {treetest.File(f, "eks-xfs", "/"+backends)}}
	treetest.FuzzRemnants(f, orphaned(f), []string{meta, backends, content + "ingest/" + strings.Repeat("e", 64) + "/ref"}, real,
		func(fsys *treetest.Tree) (treetest.Leaver, error) {
			return containerd.Open(fsys, fsys.Root(), "/var/lib/containerd")
		})
}
