package containerd_test

import (
	"fmt"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"lagan/runtimes/containerd"
	"lagan/runtimes/internal/treetest"
	"lagan/runtimes/oci"
)

// elf is the beginning of a program for a machine.
func elf(machine byte) string {
	return "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 11) + string([]byte{machine, 0})
}

// TestPlatform has an index of two platforms of one layer each, and what of them
// is on the disk decides which is the image, as containerd would have it.
func TestPlatform(t *testing.T) {
	const content = "var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/"
	layer := map[string]string{"amd64": "sha256:" + strings.Repeat("a", 64), "arm64": "sha256:" + strings.Repeat("c", 64)}
	configs, manifests := map[string]string{}, map[string]string{}
	var list []string
	for _, arch := range []string{"amd64", "arm64"} {
		configs[arch] = fmt.Sprintf(`{"architecture":%q,"os":"linux","rootfs":{"diff_ids":[%q]}}`, arch, layer[arch])
		manifests[arch] = fmt.Sprintf(`{"config":{"digest":%q},"layers":[{"digest":%q}]}`, oci.Digest([]byte(configs[arch])), layer[arch])
		list = append(list, fmt.Sprintf(`{"digest":%q,"platform":{"architecture":%q,"os":"linux"}}`, oci.Digest([]byte(manifests[arch])), arch))
	}
	index := `{"manifests":[{"digest":"` + blob2 + `","platform":{"architecture":"unknown","os":"unknown"}},` + strings.Join(list, ",") + `]}`
	for _, c := range []struct {
		name      string
		program   byte
		have      string // "M" and "C" of amd64, "m" and "c" of arm64
		unpacked  string
		container string // the layer that it stands on
		want      string // of the image, and of the container
	}{
		{"one is there", 0, "mc", "", "arm64", "arm64 arm64"},
		{"both are, the node's wins", 183, "MCmc", "", "arm64", "arm64 arm64"},
		{"both are, the node's is the first", 62, "MCmc", "", "amd64", "amd64 amd64"},
		{"both are, nothing tells the node's", 0, "MCmc", "", "amd64", "amd64 amd64"},
		{"what was unpacked wins", 62, "MCmc", "arm64", "arm64", "arm64 arm64"},
		{"a container of the other platform", 62, "MCmc", "", "arm64", "amd64 arm64"},
		{"a configuration counts more than the platform", 62, "Mmc", "", "arm64", "arm64 arm64"},
		{"manifests alone", 183, "Mm", "", "arm64", "arm64 arm64: blob"},
		{"none", 183, "", "", "arm64", " : none of its 3 manifests is in the content store, nor " + oci.Digest([]byte(manifests["arm64"])) + " for arm64"},
	} {
		meta := treetest.Bolt(t, func(tx *bolt.Tx) error {
			for path, values := range map[string]map[string]string{
				"v1|k8s.io|images|img|target":                     {"digest": oci.Digest([]byte(index)), "mediatype": "application/vnd.oci.image.index.v1+json"},
				"v1|k8s.io|containers|c":                          {"image": "img", "snapshotter": "overlayfs", "snapshotKey": "c"},
				"v1|k8s.io|snapshots|overlayfs|c":                 {"name": "k8s.io/2/c", "parent": layer[c.container]},
				"v1|k8s.io|snapshots|overlayfs|" + layer["amd64"]: {"name": "k8s.io/1/" + layer["amd64"]},
				"v1|k8s.io|snapshots|overlayfs|" + layer["arm64"]: {"name": "k8s.io/3/" + layer["arm64"]},
			} {
				if err := treetest.Put(tx, path, values); err != nil {
					return err
				}
			}
			if c.unpacked == "" {
				return nil
			}
			return treetest.Put(tx, "v1|k8s.io|content|blob|"+oci.Digest([]byte(configs[c.unpacked]))+"|labels", map[string]string{"containerd.io/gc.ref.snapshot.overlayfs": layer[c.unpacked]})
		})
		files := map[string]string{"var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db": string(meta), content + oci.Digest([]byte(index))[7:]: index}
		for letter, blob := range map[string]string{"M": manifests["amd64"], "C": configs["amd64"], "m": manifests["arm64"], "c": configs["arm64"]} {
			if strings.Contains(c.have, letter) {
				files[content+oci.Digest([]byte(blob))[7:]] = blob
			}
		}
		if c.program != 0 {
			files["usr/bin/containerd"] = elf(c.program)
		}
		fsys := treetest.New(treetest.Files(files))
		s, err := containerd.Open(fsys, fsys.Root(), "/var/lib/containerd")
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]string{"": ""}
		for arch, b := range configs {
			named[oci.Digest([]byte(b))] = arch
		}
		var got, said string
		for img, err := range s.Images() {
			if err != nil {
				said = err.Error()
				continue
			}
			got = named[img.ID]
		}
		for ctr, err := range s.Containers() {
			if err == nil {
				got += " " + named[ctr.ImageID]
			}
		}
		want, says, _ := strings.Cut(c.want, ": ")
		if got != want || !strings.Contains(said, says) || says == "" && said != "" && c.program != 0 {
			t.Errorf("%s: %q, want %q; said %q", c.name, got, want, said)
		}
	}
}
