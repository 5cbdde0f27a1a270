package docker_test

import (
	"fmt"
	"strings"
	"testing"

	"lagan/runtimes/docker"
	"lagan/runtimes/internal/treetest"
)

// driverTree is a data root with one image of one layer and one container.
func driverTree(driver string, more map[string]string) map[string]string {
	id, image, layer := strings.Repeat("c", 64), strings.Repeat("1", 64), strings.Repeat("2", 64)
	files := map[string]string{
		"containers/" + id + "/config.v2.json":                       fmt.Sprintf(`{"ID":%q,"Name":"/web","Driver":%q,"Image":"sha256:%s"}`, id, driver, image),
		"image/" + driver + "/imagedb/content/sha256/" + image:       fmt.Sprintf(`{"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}`, layer),
		"image/" + driver + "/layerdb/sha256/" + layer + "/cache-id": "base1",
		"image/" + driver + "/layerdb/sha256/" + layer + "/diff":     "sha256:" + layer,
		"image/" + driver + "/layerdb/mounts/" + id + "/mount-id":    "mount1",
		"image/" + driver + "/layerdb/mounts/" + id + "/init-id":     "mount1-init",
		"image/" + driver + "/layerdb/mounts/" + id + "/parent":      "sha256:" + layer,
	}
	for name, content := range more {
		files[name] = content
	}
	return files
}

func TestDriversElsewhere(t *testing.T) {
	for _, c := range []struct {
		driver string
		more   map[string]string
		upper  string // its folder, image, device
		says   string // of the container's and the image's files
	}{
		{"zfs", nil, "", "the ZFS dataset mount1, below that of /: not supported"},
		{"zfs", map[string]string{"etc/docker/daemon.json": `{"storage-opts":["zfs.fsname=tank/docker"]}`}, "", "mount1, below tank/docker: not supported"},
		{"windowsfilter", map[string]string{"windowsfilter/mount1/layerchain.json": `["C:\\ProgramData\\docker\\windowsfilter\\base1"]`}, "", "/windowsfilter/mount1/sandbox.vhdx, above 1 layers of Windows: not supported"},
		{"lcow", nil, "", `storage driver "lcow": not supported`},
		{"devicemapper", map[string]string{"devicemapper/metadata/mount1": `{"device_id":3,"size":10737418240,"transaction_id":4,"initialized":true}`,
			"devicemapper/metadata/base": `{"device_id":1}`, "devicemapper/metadata/deviceset-metadata": `{}`},
			"/devicemapper/mnt/mount1 rootfs 3 10737418240  /devicemapper/devicemapper/metadata", ""},
		{"devicemapper", map[string]string{"devicemapper/metadata/mount1": `{"device_id":3,"size":5}`, "etc/docker/daemon.json": `{"storage-opts":["dm.thinpooldev=/dev/mapper/vg-pool"]}`},
			"/devicemapper/mnt/mount1 rootfs 3 5 vg-pool /devicemapper/devicemapper/metadata", ""},
		{"devicemapper", map[string]string{"devicemapper/metadata/mount1": `{"device_id":3,"size":5}`, "etc/sysconfig/docker-storage": `DOCKER_STORAGE_OPTIONS="--storage-driver devicemapper --storage-opt dm.directlvm_device=/dev/xvdf"`},
			"/devicemapper/mnt/mount1 rootfs 3 5 docker-thinpool /devicemapper/devicemapper/metadata", ""},
		{"devicemapper", nil, "", "no thin device is recorded for it"},
		{"devicemapper", map[string]string{"devicemapper/metadata/mount1": `{"device_id":`}, "", "/devicemapper/metadata/mount1: decoding JSON"},
	} {
		t.Run(c.driver, func(t *testing.T) {
			fsys := treetest.New(treetest.Files(driverTree(c.driver, c.more)))
			s, err := docker.Open(fsys, fsys.Root(), "/")
			if err != nil {
				t.Fatal(err)
			}
			containers, _ := treetest.Collect(s.Containers())
			if len(containers) != 1 || containers[0].Name != "web" {
				t.Fatalf("containers %+v", containers)
			}
			r := containers[0].Rootfs
			if c.says != "" {
				if r.Problem == nil || !strings.Contains(r.Problem.Error(), c.says) {
					t.Errorf("says %v, want %s", r.Problem, c.says)
				}
			} else {
				u := r.Upper
				treetest.Equal(t, "upper", fmt.Sprint(u.Dir, " ", u.Inside, " ", u.Thin.ID, " ", u.Thin.Size, " ", u.Thin.Pool, " ", u.Thin.Files[0].Metadata), c.upper)
			}
			images, _ := treetest.Collect(s.Images())
			if len(images) != 1 || len(images[0].Rootfs.Lower) != 1 || images[0].Rootfs.Lower[0].ID != "base1" {
				t.Errorf("images %+v", images)
			}
			snapshots, _ := treetest.Collect(s.Snapshots())
			for _, sn := range snapshots {
				if sn.ID == "base" || strings.Contains(sn.ID, "metadata") {
					t.Errorf("snapshot %s", sn.ID)
				}
			}
		})
	}
}

// TestGraphDamaged has the layout before Docker 1.10 with what can be wrong in it.
func TestGraphDamaged(t *testing.T) {
	a, b, c := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	fsys := treetest.New(treetest.Files(map[string]string{
		"graph/" + a + "/json": `{"id":"` + a + `","parent":"` + b + `"}`, // whose parent is its child
		"graph/" + b + "/json": `{"id":"` + b + `","parent":"` + a + `"}`,
		"graph/" + c + "/json": `{"id":`,
		"repositories-vfs":     `{"Repositories":{"x":{"1":"` + a + `","gone":"` + strings.Repeat("d", 64) + `"}}}`,
		"vfs/dir/" + c + "/x":  "",
		"containers/" + strings.Repeat("e", 64) + "/config.json": `{"Name":"/old","Driver":"vfs","Image":"` + a + `","NetworkSettings":{"IPAddress":"172.17.0.2"},` +
			`"Volumes":{"/data":"/var/lib/docker/vfs/dir/v"},"VolumesRW":{"/data":true}}`,
	}))
	s, err := docker.Open(fsys, fsys.Root(), "/")
	if err != nil {
		t.Fatal(err)
	}
	images, said := treetest.Collect(s.Images())
	if len(images) != 4 || strings.Count(said, "no end") != 2 || !strings.Contains(said, "decoding JSON") || !strings.Contains(said, "called x:gone") {
		t.Errorf("%d images; said %s", len(images), said)
	}
	containers, said := treetest.Collect(s.Containers())
	if len(containers) != 1 || said != "" {
		t.Fatalf("%d containers; said %s", len(containers), said)
	}
	old := containers[0]
	treetest.Equal(t, "container", fmt.Sprint(old.Name, " ", old.ImageID == a, old.IP, old.Mounts, " ", old.Rootfs.Upper.Dir), "old true [172.17.0.2] [{bind  /var/lib/docker/vfs/dir/v /data false }] /vfs/dir/"+strings.Repeat("e", 64))

	// What a later daemon moved to image/ is there once.
	moved := treetest.Files(map[string]string{"graph/" + a + "/json": `{}`, "repositories-vfs": `{}`, "vfs/dir/x/y": "",
		".migration-v1-images.json": `{"` + a + `":"sha256:` + b + `"}`})
	fsys = treetest.New(moved)
	if s, err = docker.Open(fsys, fsys.Root(), "/"); err != nil {
		t.Fatal(err)
	}
	if images, said := treetest.Collect(s.Images()); len(images) != 0 || said != "" {
		t.Errorf("%d images; said %s", len(images), said)
	}
}
