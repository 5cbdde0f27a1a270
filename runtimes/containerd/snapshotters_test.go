package containerd_test

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	bolt "go.etcd.io/bbolt"

	"lagan/runtimes"
	"lagan/runtimes/containerd"
	"lagan/runtimes/internal/treetest"
)

var (
	stamp  = treetest.Stamp(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	chain1 = "sha256:" + strings.Repeat("1", 64)
	chain2 = "sha256:" + strings.Repeat("2", 64)
	blob2  = "sha256:" + strings.Repeat("b", 64)
)

const below = "var/lib/containerd/io.containerd.snapshotter.v1."

// metaOf is a meta.db whose container c is a snapshot over two layers, in each of the snapshotters.
func metaOf(t *testing.T, snapshotters ...string) string {
	return string(treetest.Bolt(t, func(tx *bolt.Tx) error {
		for _, name := range snapshotters {
			if err := treetest.Put(tx, "v1|ns|containers|c-"+name, map[string]string{"snapshotter": name, "snapshotKey": "c", "createdat": stamp}); err != nil {
				return err
			}
			for key, v := range map[string]string{"c": "ns/3/c", chain2: "ns/2/" + chain2, chain1: "ns/1/" + chain1} {
				if err := treetest.Put(tx, "v1|ns|snapshots|"+name+"|"+key, map[string]string{"name": v, "createdat": stamp}); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// backendOf is a snapshotter's database; labels are those of the second layer.
func backendOf(t *testing.T, labels map[string]string) string {
	return string(treetest.Bolt(t, func(tx *bolt.Tx) error {
		for i, name := range []string{chain1, chain2, "c"} {
			values := map[string]string{"id": treetest.Uvarint(uint64(i + 1)), "kind": "\x03", "createdat": stamp}
			if i > 0 {
				values["parent"] = fmt.Sprintf("ns/%d/%s", i, []string{chain1, chain2}[i-1])
			}
			if name == "c" {
				values["kind"] = "\x02"
			}
			at := fmt.Sprintf("v1|snapshots|ns/%d/%s", i+1, name)
			if err := treetest.Put(tx, at, values); err != nil {
				return err
			}
			if name == chain2 && labels != nil {
				if err := treetest.Put(tx, at+"|labels", labels); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

func devicesOf(t *testing.T, pool string, ids ...int) string {
	return string(treetest.Bolt(t, func(tx *bolt.Tx) error {
		values := map[string]string{}
		for _, id := range ids {
			name := fmt.Sprintf("%s-snap-%d", pool, id)
			values[name] = fmt.Sprintf(`{"device_id":%d,"size":1048576,"name":%q,"state":3}`, id+40, name)
		}
		return treetest.Put(tx, "devices", values)
	}))
}

// described is what a root filesystem is made of: the upper layer, the lower
// ones, and how they are read.
func described(r runtimes.Rootfs) string {
	one := func(l runtimes.Layer) string {
		out := l.Dir
		if out == "" {
			out = "nowhere:" + strings.Join(slices.DeleteFunc([]string{l.DiffID[:min(len(l.DiffID), 9)], l.Blob[:min(len(l.Blob), 9)]}, func(s string) bool { return s == "" }), "+")
		}
		out = strings.TrimPrefix(out, "/"+below)
		if l.Image {
			out += "[" + l.Inside + "]"
		}
		if l.Thin != nil {
			out += fmt.Sprintf("{%s %d %d}", l.Thin.Pool, l.Thin.ID, l.Thin.Size)
		}
		return out
	}
	var lower []string
	for _, l := range r.Lower {
		lower = append(lower, one(l))
	}
	out := string(r.Kind) + string(r.Marks) + " " + one(r.Upper) + " over " + strings.Join(lower, " ")
	if r.Problem != nil {
		out += ": " + r.Problem.Error()
	}
	return out
}

// TestSnapshotters has one container in each snapshotter that there is, where
// and as the snapshotter keeps it.
func TestSnapshotters(t *testing.T) {
	plain := backendOf(t, nil)
	remote := map[string]string{"containerd.io/snapshot/remote": "remote snapshot", "containerd.io/snapshot/cri.layer-digest": blob2}
	const config = "etc/containerd/config.toml"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"overlayfs", map[string]string{below + "overlayfs/metadata.db": plain}, "overlay overlayfs/snapshots/3/fs over overlayfs/snapshots/2/fs overlayfs/snapshots/1/fs"},
		{"overlayfs", map[string]string{config: "version = 2\n[plugins.\"io.containerd.snapshotter.v1.overlayfs\"]\n  root_path = \"/data/snap\"\n", "data/snap/metadata.db": plain},
			"overlay /data/snap/snapshots/3/fs over /data/snap/snapshots/2/fs /data/snap/snapshots/1/fs"},
		{"overlayfs", map[string]string{config: "[plugins.overlayfs]\n  root_path = \"/data/snap\"\n", "data/snap/metadata.db": plain},
			"overlay /data/snap/snapshots/3/fs over /data/snap/snapshots/2/fs /data/snap/snapshots/1/fs"},
		{"overlay", map[string]string{below + "overlay/metadata.db": plain, below + "overlay/snapshots/1/fs/a": "", below + "overlay/snapshots/2/fs/a": ""}, "overlay overlay/snapshots/3/fs over overlay/snapshots/2/fs overlay/snapshots/1/fs"},
		{"native", map[string]string{below + "native/metadata.db": plain}, "bind native/snapshots/3 over native/snapshots/2"},
		{"naive", map[string]string{below + "naive/metadata.db": plain}, "bind naive/snapshots/3 over naive/snapshots/2"},
		{"btrfs", map[string]string{below + "btrfs/metadata.db": plain}, "bind btrfs/active/3 over btrfs/snapshots/2"},
		{"blockfile", map[string]string{below + "blockfile/metadata.db": plain}, "bind blockfile/snapshots/3[] over blockfile/snapshots/2[]"},
		{"aufs", map[string]string{below + "aufs/metadata.db": plain}, "overlayaufs aufs/snapshots/3/fs over aufs/snapshots/2/fs aufs/snapshots/1/fs"},
		{"erofs", map[string]string{below + "erofs/metadata.db": plain, below + "erofs/snapshots/2/layer.erofs": "x", below + "erofs/snapshots/3/rwlayer.img": "x"},
			"overlay erofs/snapshots/3/rwlayer.img[upper] over erofs/snapshots/2/layer.erofs[] erofs/snapshots/1/fs"},
		{"zfs", map[string]string{below + "zfs/metadata.db": plain}, ` nowhere: over nowhere:: snapshot "ns/3/c": its files are in the dataset 3 of a ZFS pool: not supported`},
		{"devmapper", map[string]string{config: "version = 2\n[plugins.\"io.containerd.snapshotter.v1.devmapper\"]\n  root_path = \"/data/dm\"\n  pool_name = \"the-pool\"\n", "data/dm/metadata.db": plain, "data/dm/the-pool.db": devicesOf(t, "the-pool", 1, 2, 3)},
			"bind /dev/mapper/the-pool-snap-3[]{the-pool 43 1048576} over /dev/mapper/the-pool-snap-2[]{the-pool 42 1048576}"},
		{"devmapper", map[string]string{below + "devmapper/metadata.db": plain, below + "devmapper/p.db": devicesOf(t, "p", 1, 2)},
			`bind nowhere: over /dev/mapper/p-snap-2[]{p 42 1048576}: snapshot "ns/3/c": no device of a thin pool is recorded for its number 3: corrupt`},
		{"fuse-overlayfs", map[string]string{"var/lib/containerd-fuse-overlayfs-grpc/metadata.db": plain}, "overlayfuse-overlayfs /var/lib/containerd-fuse-overlayfs-grpc/snapshots/3/fs over /var/lib/containerd-fuse-overlayfs-grpc/snapshots/2/fs /var/lib/containerd-fuse-overlayfs-grpc/snapshots/1/fs"},
		{"stargz", map[string]string{"var/lib/containerd-stargz-grpc/snapshotter/metadata.db": backendOf(t, remote), "var/lib/containerd-stargz-grpc/snapshotter/snapshots/1/fs/a": ""},
			"overlay /var/lib/containerd-stargz-grpc/snapshotter/snapshots/3/fs over nowhere:sha256:bb /var/lib/containerd-stargz-grpc/snapshotter/snapshots/1/fs"},
		{"stargz", map[string]string{"etc/systemd/system/stargz-snapshotter.service": "[Service]\nExecStart=/usr/local/bin/containerd-stargz-grpc --log-level=debug -root=/data/sg\n", "data/sg/snapshotter/metadata.db": backendOf(t, remote)},
			"overlay /data/sg/snapshotter/snapshots/3/fs over nowhere:sha256:bb nowhere:sha256:11"},
		{"soci", map[string]string{"var/lib/soci-snapshotter-grpc/snapshotter/metadata.db": backendOf(t, remote), "var/lib/soci-snapshotter-grpc/snapshotter/snapshots/2/fs/fetched": ""},
			"overlay /var/lib/soci-snapshotter-grpc/snapshotter/snapshots/3/fs over /var/lib/soci-snapshotter-grpc/snapshotter/snapshots/2/fs nowhere:sha256:11"},
		{"lazy", map[string]string{config: "version = 2\n[proxy_plugins]\n  [proxy_plugins.lazy]\n    type = \"snapshot\"\n    address = \"/run/soci-snapshotter-grpc/soci-snapshotter-grpc.sock\"\n", "var/lib/soci-snapshotter-grpc/snapshotter/metadata.db": plain},
			"overlay /var/lib/soci-snapshotter-grpc/snapshotter/snapshots/3/fs over nowhere: nowhere:sha256:11"},
		{"nydus", map[string]string{"etc/nydus/config.toml": "version = 1\nroot = \"/data/nydus\"\n", "data/nydus/metadata.db": backendOf(t, map[string]string{"containerd.io/snapshot/nydus-bootstrap": "true"}), "data/nydus/snapshots/2/fs/image/image.boot": "x"},
			"overlay /data/nydus/snapshots/3/fs over nowhere:sha256:11"},
		{"overlaybd", map[string]string{"etc/overlaybd-snapshotter/config.json": `{"root": "/data/obd/"}`, "data/obd/metadata.db": backendOf(t, map[string]string{"containerd.io/snapshot/overlaybd/blob-digest": blob2}), "data/obd/snapshots/2/fs/overlaybd.commit": "x", "data/obd/snapshots/1/fs/etc/x": ""},
			"overlay /data/obd/snapshots/3/fs over nowhere:sha256:bb /data/obd/snapshots/1/fs"},
		{"gcfs", map[string]string{below + "gcfs/snapshotter/metadata.db": plain, below + "gcfs/snapshotter/layers/sha256=" + chain1[7:] + "/bin/sh": "", "-" + below + "gcfs/snapshotter/snapshots/1/fs": "/run/gcfsd/mnt/layers/sha256=" + chain1[7:],
			"-" + below + "gcfs/snapshotter/snapshots/2/fs": "/run/gcfsd/mnt/layers/sha256=" + blob2[7:]},
			"overlay gcfs/snapshotter/snapshots/3/fs over nowhere:sha256:bb gcfs/snapshotter/layers/sha256=" + chain1[7:]},
		{"gone", nil, `  over : snapshotter "gone": nothing of it below /var/lib/containerd: file does not exist`},
	} {
		tree := fstest.MapFS{"var/lib/containerd/" + meta: {Data: []byte(metaOf(t, c.name))}}
		for _, name := range slices.Sorted(maps.Keys(c.files)) {
			f := &fstest.MapFile{Data: []byte(c.files[name])}
			if strings.HasPrefix(name, "-") {
				f.Mode = fs.ModeSymlink
			}
			tree[strings.TrimPrefix(name, "-")] = f
		}
		fsys := treetest.New(tree)
		s, err := containerd.Open(fsys, fsys.Root(), "/var/lib/containerd")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ctr, err := range s.Containers() {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			n++
			want := strings.Replace(c.want, "  over ", " nowhere: over ", 1)
			if got := described(ctr.Rootfs); got != want {
				t.Errorf("%s:\n got %s\nwant %s", c.name, got, want)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d containers", c.name, n)
		}
	}
}

// TestDamagedSnapshotter has one snapshotter's database broken: the others are read.
func TestDamagedSnapshotter(t *testing.T) {
	fsys := treetest.New(treetest.Files(map[string]string{
		"var/lib/containerd/" + meta:      metaOf(t, "overlayfs"),
		below + "overlayfs/metadata.db":   backendOf(t, nil),
		below + "btrfs/metadata.db":       "damaged",
		below + "devmapper/metadata.db":   backendOf(t, nil),
		below + "erofs/snapshots/nothing": "",
	}))
	s, err := containerd.Open(fsys, fsys.Root(), "/var/lib/containerd")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for c, err := range s.Containers() {
		if err != nil {
			said = append(said, err.Error())
		} else if c.Rootfs.Problem != nil {
			t.Error(c.Rootfs.Problem)
		}
	}
	if all := strings.Join(said, "\n"); len(said) != 2 || !strings.Contains(all, "v1.btrfs/metadata.db") || !strings.Contains(all, "v1.devmapper/metadata.db: no database of a thin pool") {
		t.Errorf("said %q", said)
	}
}
