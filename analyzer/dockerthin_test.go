package analyzer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"lagan/evidence/volume/thin/thintest"
)

// TestDockerDevicemapper has a data root of the driver devicemapper, whose pool
// lies in two files (loop-lvm), on disks of its own (direct-lvm), or nowhere.
func TestDockerDevicemapper(t *testing.T) {
	dir := t.TempDir()
	meta, data := thintest.Pool(map[uint64][]byte{
		2: ext4Image(t, filepath.Join(dir, "base"), map[string]string{"id": "", "rootfs/etc/a": "1"}),
		3: ext4Image(t, filepath.Join(dir, "init"), map[string]string{"id": "", "rootfs/etc/a": "1", "rootfs/.dockerenv": ""}),
		4: ext4Image(t, filepath.Join(dir, "own"), map[string]string{"id": "", "rootfs/etc/a": "22", "rootfs/etc/c": "3", "rootfs/.dockerenv": ""}),
	})
	const root = "var/lib/docker/"
	id, image, layer := strings.Repeat("c", 64), strings.Repeat("1", 64), strings.Repeat("2", 64)
	for _, c := range []struct{ name, want string }{
		{"files", ".dockerenv= etc/a=22 etc/c=3"},
		{"disks", ".dockerenv= etc/a=22 etc/c=3"},
		{"nothing", "--disk adds its disks"},
	} {
		node := filepath.Join(dir, c.name)
		for name, content := range map[string]string{
			"containers/" + id + "/config.v2.json":                     fmt.Sprintf(`{"ID":%q,"Name":"/web","Driver":"devicemapper","Image":"sha256:%s"}`, id, image),
			"image/devicemapper/imagedb/content/sha256/" + image:       fmt.Sprintf(`{"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}`, layer),
			"image/devicemapper/layerdb/sha256/" + layer + "/cache-id": "base1",
			"image/devicemapper/layerdb/sha256/" + layer + "/diff":     "sha256:" + layer,
			"image/devicemapper/layerdb/mounts/" + id + "/mount-id":    "mount1",
			"image/devicemapper/layerdb/mounts/" + id + "/init-id":     "mount1-init",
			"image/devicemapper/layerdb/mounts/" + id + "/parent":      "sha256:" + layer,
			"devicemapper/metadata/base1":                              fmt.Sprintf(`{"device_id":2,"size":%d}`, 4<<20),
			"devicemapper/metadata/mount1-init":                        fmt.Sprintf(`{"device_id":3,"size":%d}`, 4<<20),
			"devicemapper/metadata/mount1":                             fmt.Sprintf(`{"device_id":4,"size":%d}`, 4<<20),
			"devicemapper/metadata/deviceset-metadata":                 `{"next_device_id":5,"BaseDeviceFilesystem":"ext4"}`,
		} {
			put(t, filepath.Join(node, root, name), content)
		}
		var o Options
		switch c.name {
		case "files":
			put(t, filepath.Join(node, root, "devicemapper/devicemapper/metadata"), string(meta))
			put(t, filepath.Join(node, root, "devicemapper/devicemapper/data"), string(data))
		case "disks":
			put(t, node+".meta", string(meta))
			put(t, node+".data", string(data))
			o.Disks = []string{node + ".data", node + ".meta"}
		}
		n, err := Open(t.Context(), node, o)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if got := viewOf(t, n); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s; %v", c.name, got, n.Gaps())
		}
		if c.name == "nothing" {
			continue
		}
		base, err := n.Base(n.Containers()[0])
		if got := filesOf(t, base, err); got != ".dockerenv= etc/a=1" {
			t.Errorf("%s: began as %s", c.name, got)
		}
		var changes []string
		err = n.Changes(t.Context(), n.Containers()[0], ChangeOptions{}, func(ch Change) error {
			changes = append(changes, ch.Kind.Letter()+" "+ch.Path)
			return nil
		})
		if got := strings.Join(changes, " "); err != nil || !strings.HasSuffix(got, "C /etc/a A /etc/c") {
			t.Errorf("%s: changes %s, %v", c.name, got, err)
		}
	}
}
