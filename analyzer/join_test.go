package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
	"lagan/evidence/memfs"
	"lagan/timeline"
)

// nodeOf makes a Node of trees in memory, each a volume with the UUID vN.
func nodeOf(t *testing.T, o Options, trees ...*memfs.FS) *Node {
	t.Helper()
	e := &Evidence{Name: "disk"}
	n := &Node{Evidence: []*Evidence{e}, options: o, layerRoots: make(map[layerKey]layerRoot), parents: make(map[string]bool)}
	for i, fsys := range trees {
		n.Volumes = append(n.Volumes, &Volume{
			Index: i + 1, Evidence: e, Number: i + 1, FS: fsys, Size: int64(i + 1),
			Description: evidence.Description{Type: "mem", UUID: fmt.Sprintf("v%d", i+1)},
		})
	}
	n.containers = func() []*Container { return nil }
	n.images = func() []*Image { return nil }
	n.kept = func() []*Checkpoint { return nil }
	n.join()
	return n
}

// paths walks the node's tree.
func paths(t *testing.T, n *Node) string {
	t.Helper()
	var out []string
	err := evidence.Walk(n.Tree, n.Tree.Root(), func(path string, _ evidence.Entry, info evidence.Info, err error) error {
		if err != nil {
			return err
		}
		if info.Type == evidence.TypeFile {
			out = append(out, "/"+path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

// told lists the display names of the files of the node's timeline.
func told(t *testing.T, n *Node) string {
	t.Helper()
	var out []string
	s := timeline.NewSorter(0, t.TempDir())
	defer s.Close()
	if err := n.Timeline(t.Context(), TimelineOptions{Scope: ScopeNode}, s.Add); err != nil {
		t.Fatal(err)
	}
	for e, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Text(timeline.FieldFileEntryType) == "file" {
			out = append(out, e.Text(timeline.FieldDisplayName))
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

func rootFS(fstab string) *memfs.FS {
	f := memfs.New()
	f.File("etc/fstab", fstab)
	f.File("etc/os-release", "ID=test\n")
	f.Dir("var")
	return f
}

func TestJoin(t *testing.T) {
	for _, c := range []struct {
		name  string
		opts  Options
		trees func() []*memfs.FS
		want  string
		told  string
	}{
		{
			name: "one volume",
			trees: func() []*memfs.FS {
				return []*memfs.FS{rootFS("")}
			},
			want: "/etc/fstab /etc/os-release",
			told: "NODE:/etc/fstab NODE:/etc/os-release",
		},
		{
			name: "a volume at /var, over what is there, and one below it",
			trees: func() []*memfs.FS {
				log := memfs.New()
				log.File("data", "x")
				data := memfs.New()
				data.Dir("log")
				data.File("lib/x", "x")
				root := rootFS("UUID=v1 /var/log ext4\nUUID=V2\t/var\text4 defaults 0 0\nUUID=v3 / ext4\n# UUID=v9 /srv\n")
				root.File("var/hidden", "x")
				return []*memfs.FS{log, data, root}
			},
			want: "/etc/fstab /etc/os-release /var/lib/x /var/log/data",
			told: "NODE:/etc/fstab NODE:/etc/os-release NODE:/var/lib/x NODE:/var/log/data VOLUME:3:/var/hidden",
		},
		{
			name: "by device name, and a bind mount",
			trees: func() []*memfs.FS {
				data := memfs.New()
				data.File("docker/x", "x")
				root := rootFS("/dev/nvme0n1p2 /data xfs\n/data/docker /var/lib/docker none bind\n")
				root.Dir("data")
				root.Dir("var/lib/docker")
				return []*memfs.FS{root, data}
			},
			want: "/data/docker/x /etc/fstab /etc/os-release /var/lib/docker/x",
			told: "NODE:/etc/fstab NODE:/etc/os-release NODE:/var/lib/docker/x",
		},
		{
			name: "a mount unit",
			trees: func() []*memfs.FS {
				data := memfs.New()
				data.File("x", "x")
				root := rootFS("")
				root.File("etc/systemd/system/srv.mount", "[Unit]\n[Mount]\nWhat=/dev/disk/by-uuid/v2\nWhere=/srv\n")
				root.Dir("srv")
				return []*memfs.FS{root, data}
			},
			want: "/etc/fstab /etc/os-release /etc/systemd/system/srv.mount /srv/x",
			told: "NODE:/etc/fstab NODE:/etc/os-release NODE:/etc/systemd/system/srv.mount NODE:/srv/x",
		},
		{
			name: "units with escaped names, drop-ins, masks; labels as udev writes them",
			trees: func() []*memfs.FS {
				data, more, not := memfs.New(), memfs.New(), memfs.New()
				data.File("x", "x")
				more.File("y", "y")
				not.File("z", "z")
				root := memfs.New()
				root.File("etc/fstab", "/dev/disk/by-uuid/V3 /srv/my\\040more ext4\n")
				root.File("usr/lib/os-release", "ID=test\n")
				root.Dir("srv/my more")
				root.Dir("srv/my-data")
				root.Dir("mnt")
				root.File("usr/lib/systemd/system/srv-my\\x2ddata.mount", "[Mount]\nWhat=LABEL=nope\n")
				root.File("etc/systemd/system/srv-my\\x2ddata.mount.d/10.conf", "[Mount]\nWhat=/dev/disk/by-uuid/v\\x32\n")
				root.File("usr/lib/systemd/system/mnt.mount", "[Mount]\nWhat=UUID=v4\nWhere=/mnt\n")
				root.Symlink("etc/systemd/system/mnt.mount", "/dev/null")
				return []*memfs.FS{root, data, more, not}
			},
			want: "/etc/fstab /etc/systemd/system/srv-my\\x2ddata.mount.d/10.conf /srv/my more/y /srv/my-data/x /usr/lib/os-release /usr/lib/systemd/system/mnt.mount /usr/lib/systemd/system/srv-my\\x2ddata.mount",
			told: "NODE:/etc/fstab NODE:/etc/systemd/system/srv-my\\x2ddata.mount.d/10.conf NODE:/srv/my more/y NODE:/srv/my-data/x NODE:/usr/lib/os-release NODE:/usr/lib/systemd/system/mnt.mount NODE:/usr/lib/systemd/system/srv-my\\x2ddata.mount VOLUME:4:/z",
		},
		{
			name: "the user says where",
			opts: Options{Mounts: []MountOption{{Volume: 2, Path: "/opt"}}},
			trees: func() []*memfs.FS {
				data := memfs.New()
				data.File("x", "x")
				root := rootFS("UUID=v2 /var ext4\n")
				root.Dir("opt")
				return []*memfs.FS{root, data}
			},
			want: "/etc/fstab /etc/os-release /opt/x",
			told: "NODE:/etc/fstab NODE:/etc/os-release NODE:/opt/x",
		},
		{
			name: "a data disk that no table names, over the usual empty folder",
			trees: func() []*memfs.FS {
				data := memfs.New()
				data.File("io.containerd.metadata.v1.bolt/meta.db", "x")
				root := rootFS("")
				root.Dir("var/lib/containerd")
				return []*memfs.FS{root, data}
			},
			want: "/etc/fstab /etc/os-release /var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
			told: "NODE:/etc/fstab NODE:/etc/os-release NODE:/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
		},
		{
			name: "a volume that nothing places is told aside",
			trees: func() []*memfs.FS {
				data := memfs.New()
				data.File("x", "x")
				return []*memfs.FS{rootFS("UUID=nope /srv ext4\n"), data}
			},
			want: "/etc/fstab /etc/os-release",
			told: "NODE:/etc/fstab NODE:/etc/os-release VOLUME:2:/x",
		},
		{
			name: "ostree",
			trees: func() []*memfs.FS {
				f := memfs.New()
				f.File("ostree/deploy/rhcos/deploy/abc.0/etc/os-release", "ID=rhcos\n")
				f.Dir("ostree/deploy/rhcos/deploy/abc.0/var")
				f.Dir("ostree/deploy/rhcos/deploy/abc.0/sysroot")
				f.File("ostree/deploy/rhcos/var/lib/x", "x")
				return []*memfs.FS{f}
			},
			want: "/etc/os-release /var/lib/x",
			told: "NODE:/etc/os-release NODE:/var/lib/x",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := nodeOf(t, c.opts, c.trees()...)
			if got := paths(t, n); got != c.want {
				t.Errorf("tree:\n got  %s\n want %s", got, c.want)
			}
			if got := told(t, n); got != c.told {
				t.Errorf("timeline:\n got  %s\n want %s", got, c.told)
			}
			for _, g := range n.Gaps() {
				t.Errorf("gap: %s", g)
			}
		})
	}
}

// TestDeviceNamed finds volumes by the names that devices had on the node.
func TestDeviceNamed(t *testing.T) {
	a, b := &Evidence{Name: "a"}, &Evidence{Name: "b"}
	n := &Node{Evidence: []*Evidence{a, b}, Volumes: []*Volume{
		{Index: 1, Evidence: a, Scheme: "gpt", Number: 1}, {Index: 2, Evidence: a, Scheme: "gpt", Number: 2, PartName: "data"},
		{Index: 3, Evidence: b, Scheme: "mbr", Number: 1, PartUUID: "1234abcd-01"},
		{Index: 4, Evidence: a, Scheme: "lvm2", PartName: "vg-0/my-lv"}, {Index: 5, Evidence: a, Scheme: "md", PartName: "node:zero"},
	}}
	whole := &Node{Evidence: []*Evidence{a, b}, Volumes: []*Volume{{Index: 1, Evidence: a, Scheme: "none"}, {Index: 2, Evidence: b, Scheme: "none"}}}
	for _, c := range []struct {
		n      *Node
		source string
		want   int
	}{
		{n, "/dev/sda1", 1}, {n, "/dev/sdb1", 3}, {n, "/dev/nvme1n1p1", 3}, {n, "/dev/nvme0n1p2", 2}, {n, "/dev/xvdf2", 2}, {n, "/dev/sdb", 0}, {n, "/dev/sdc9", 0},
		{n, "/dev/mapper/vg--0-my--lv", 4}, {n, "/dev/vg-0/my-lv", 4}, {n, "/dev/md/zero", 5}, {n, "/dev/md127", 5}, {n, "/dev/mapper/other", 0},
		{n, "PARTUUID=1234ABCD-01", 3}, {n, `PARTLABEL="data"`, 2}, {n, "/dev/disk/by-partlabel/da\\x74a", 2}, {n, "/dev/disk/by-partuuid/1234abcd-01", 3},
		{n, "/dev/disk/by-id/nvme-x-part2", 2}, {n, "LABEL=", 0}, {n, "tmpfs", 0}, {n, "10.0.0.1:/export", 0}, {n, "", 0},
		{whole, "/dev/sdb", 2}, {whole, "/dev/nvme1n1", 2}, {whole, "/dev/sda", 0},
	} {
		got := 0
		if v := c.n.volumeNamed(c.source); v != nil {
			got = v.Index
		}
		if got != c.want {
			t.Errorf("%q: volume %d, want %d", c.source, got, c.want)
		}
	}
}

// TestChosenSystem has two systems on a disk: the one that is started is the node's.
func TestChosenSystem(t *testing.T) {
	const high, low = 2 << 48, 1 << 48
	for _, c := range []struct {
		names [2]string
		by    [2]string
		a, b  uint64
		want  int
	}{
		{[2]string{"ROOT-A", "ROOT-B"}, [2]string{"KERN-A", "KERN-B"}, low, high, 2}, {[2]string{"ROOT-A", "ROOT-B"}, [2]string{"KERN-A", "KERN-B"}, high, low, 1},
		{[2]string{"BOTTLEROCKET-ROOT-A", "BOTTLEROCKET-ROOT-B"}, [2]string{"BOTTLEROCKET-BOOT-A", "BOTTLEROCKET-BOOT-B"}, 0, high, 2},
		{[2]string{"USR-A", "USR-B"}, [2]string{"", ""}, low, high, 2}, {[2]string{"a", "b"}, [2]string{"", ""}, low, high, 1},
	} {
		n := nodeOf(t, Options{}, rootFS(""), rootFS(""), memfs.New(), memfs.New())
		for i, v := range n.Volumes {
			v.MountPoint, v.PartName, v.attributes = "", append(c.names[:], c.by[:]...)[i], []uint64{c.a, c.b, c.a, c.b}[i]
			if c.by[0] != "" && i < 2 {
				v.attributes = 0
			}
		}
		if v, _, _ := n.findRoot(); v.Index != c.want {
			t.Errorf("%q %q: the root is volume %d", c.names, c.by, v.Index)
		}
	}
}

// TestOstreeBooted has two deployments, of which the older is started.
func TestOstreeBooted(t *testing.T) {
	f, boot := memfs.New(), memfs.New()
	for _, d := range []string{"old.0", "new.0"} {
		f.File("ostree/deploy/rhcos/deploy/"+d+"/etc/os-release", d)
	}
	f.At("ostree/deploy/rhcos/deploy/new.0").Info.Mtime = memfs.Epoch.AddDate(1, 0, 0)
	f.Symlink("ostree/boot.1/rhcos/0123/0", "../../../deploy/rhcos/deploy/old.0")
	n := nodeOf(t, Options{}, f, boot)
	if b, _ := evidence.ReadFile(n.Tree, n.Tree.Root(), "etc/os-release", 100); string(b) != "new.0" {
		t.Errorf("without a boot loader: %s", b)
	}
	boot.File("loader/entries/ostree-1-rhcos.conf", "options root=UUID=x ostree=/ostree/boot.1/rhcos/0123/1\n")
	boot.File("loader/entries/ostree-2-rhcos.conf", "title x\noptions root=UUID=x ostree=/ostree/boot.1/rhcos/0123/0\n")
	n = nodeOf(t, Options{}, f, boot)
	if b, _ := evidence.ReadFile(n.Tree, n.Tree.Root(), "etc/os-release", 100); string(b) != "old.0" {
		t.Errorf("with a boot loader: %s", b)
	}
}

// TestJoinHostile checks that a mount table can't lead a walk astray.
func TestJoinHostile(t *testing.T) {
	root := rootFS("/ /var none bind\n/var /etc none bind\nUUID=v1 /var/x ext4\n/../../.. /srv none bind\n" + strings.Repeat("UUID=v2 /var ext4\n", 1000))
	n := nodeOf(t, Options{}, root, memfs.New())
	visited := 0
	err := evidence.Walk(n.Tree, n.Tree.Root(), func(string, evidence.Entry, evidence.Info, error) error { visited++; return nil })
	if err != nil || visited > 1000 {
		t.Errorf("visited %d, %v", visited, err)
	}
	told(t, n)
}

func TestDevicePartition(t *testing.T) {
	for dev, want := range map[string]int{
		"/dev/sda2": 2, "/dev/xvda1": 1, "/dev/vdb15": 15, "/dev/nvme0n1p128": 128, "/dev/nvme0n1": 0, "/dev/mapper/vg-root": 0, "/dev/sda": 0, "proc": 0,
		"/dev/mmcblk0p2": 2, "/dev/dm-0": 0, "/dev/": 0, "/dev/disk/by-id/scsi-1-part12": 12, "/dev/disk/by-path/pci-0": 0,
	} {
		if got := devicePartition(dev); got != want {
			t.Errorf("%s: got %d, want %d", dev, got, want)
		}
	}
}

func TestParseFstab(t *testing.T) {
	got := parseFstab([]byte("UUID=a / xfs defaults,noatime 1 1\n\n#x\nLABEL=my\\040disk /mnt/my\\040disk ext4\nnone swap swap sw\nshort\n"))
	want := "[{UUID=a /  xfs [defaults noatime] } {LABEL=my disk /mnt/my disk  ext4 [] }]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
