package docker_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"lagan/runtimes"
	"lagan/runtimes/docker"
	"lagan/runtimes/internal/treetest"
)

// explorerTree unpacks the documents of one of docker-explorer's data roots.
func explorerTree(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	packed, err := os.ReadFile("testdata/docker-explorer." + name + ".tgz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	out := fstest.MapFS{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeSymlink {
			b = []byte(h.Linkname)
		}
		if at := strings.Trim(strings.TrimPrefix(h.Name, "."), "/"); at != "" {
			out[at] = &fstest.MapFile{Data: b, Mode: h.FileInfo().Mode(), ModTime: h.ModTime}
		}
	}
}

// explorerTrees has what docker-explorer's own tests expect of its data roots:
// testGetAllContainers, testGetContainersJson, testGetRepositoriesString,
// testGetHistory, testMakeMountCommands of its tests.py. Running is the only
// container that ran.
var explorerTrees = []struct {
	name, driver        string
	containers          int
	running, id, at     string
	started, image      string
	repositories        string // names and ids of images
	step                string // the last one of the running container's image
	upper               string
	lower               []string
	mounts, unnamedIDs  string
	layersOfItsOwnImage int
}{
	{"aufs.v1", "aufs", 3, "angry_rosalind", "de44dd97cfd1c8d1c1aad7f75a435603991a7a39fa4f6b20a69bf4458809209c", "2018-12-27T10:53:17.096746609Z",
		"2018-12-27T10:53:17.409426", "busybox", "busybox:latest 1cee97b18f87b5fa91633db35f587e2c65c093facfa2cbbe83d5ebe06e1d9125",
		`2018-12-26T08:20:42.831353376Z /bin/sh -c #(nop)  CMD ["sh"]`, "/aufs/diff/de44dd97cfd1c8d1c1aad7f75a435603991a7a39fa4f6b20a69bf4458809209c",
		[]string{"/aufs/diff/de44dd97cfd1c8d1c1aad7f75a435603991a7a39fa4f6b20a69bf4458809209c-init", "/aufs/diff/1cee97b18f87b5fa91633db35f587e2c65c093facfa2cbbe83d5ebe06e1d9125",
			"/aufs/diff/df557f39d413a1408f5c28d8aab2892f927237ec22e903ef04b331305130ab38"}, "", "df557f39d413a1408f5c28d8aab2892f927237ec22e903ef04b331305130ab38", 2},
	{"aufs.v2", "aufs", 7, "dreamy_snyder", "7b02fb3e8a665a63e32b909af5babb7d6ba0b64e10003b2d9534c7d5f2af8966", "2017-02-13T16:45:05.629904159Z",
		"2017-02-13T16:45:05.785658", "busybox", "busybox:latest sha256:7968321274dc6b6171697c33df7815310468e694ac5be0ec03ff053bb135e768",
		`2017-01-13T22:13:54.401355854Z /bin/sh -c #(nop)  CMD ["sh"]`, "/aufs/diff/b16a494082bba0091e572b58ff80af1b7b5d28737a3eedbe01e73cd7f4e01d23",
		[]string{"/aufs/diff/b16a494082bba0091e572b58ff80af1b7b5d28737a3eedbe01e73cd7f4e01d23-init", "/aufs/diff/d1c54c46d331de21587a16397e8bd95bdbb1015e1a04797c76de128107da83ae"},
		"/volumes/28297de547b5473a9aff90aaab45ed108ebf019981b40c3c35c226f54c13ac0d/_data /var/jenkins_home", "", 1},
	{"overlay.v2", "overlay", 6, "elastic_booth", "5dc287aa80b460652a5584e80a5c8c1233b0c0691972d75424cf5250b917600a", "2018-01-26T14:55:56.280943771Z",
		"2018-01-26T14:55:56.574924", "busybox:latest", "busybox:latest sha256:5b0d59026729b68570d99bc4f3f7c31a2e4f2a5736435641565d93e7c25bd2c3",
		`2018-01-24T04:29:35.590938514Z /bin/sh -c #(nop)  CMD ["sh"]`, "/overlay/974e2b994f9db74e1ddd6fc546843bc65920e786612a388f25685acf84b3fed1/upper",
		[]string{"/overlay/974e2b994f9db74e1ddd6fc546843bc65920e786612a388f25685acf84b3fed1-init/upper", "/overlay/a94d714512251b0d8a9bfaacb832e0c6cb70f71cb71976cca7a528a429336aae/root"}, "", "", 1},
	{"overlay2.v2", "overlay2", 5, "festive_perlman", "8e8b7f23eb7cbd4dfe7e91646ddd0e0f524218e25d50113559f078dfb2690206", "2018-05-16T10:51:39.271019533Z",
		"2018-05-16T10:51:39.625989", "busybox", "busybox:latest sha256:8ac48589692a53a9b8c2d1ceaa6b402665aa7fe667ba51ccc03002300856d8c7",
		`2018-04-05T10:41:28.876407948Z /bin/sh -c #(nop)  CMD ["sh"]`, "/overlay2/92fd3b3e7d6101bb701743c9518c45b0d036b898c8a3d7cae84e1a06e6829b53/diff",
		[]string{"/overlay2/92fd3b3e7d6101bb701743c9518c45b0d036b898c8a3d7cae84e1a06e6829b53-init/diff", "*"}, "", "", 1},
}

func TestDockerExplorersTrees(t *testing.T) {
	for _, want := range explorerTrees {
		t.Run(want.name, func(t *testing.T) {
			fsys := treetest.New(explorerTree(t, want.name))
			roots, err := docker.Roots(fsys, fsys.Root())
			if err != nil || !slices.Equal(roots, []string{"/"}) {
				t.Fatalf("roots %q, %v", roots, err)
			}
			s, err := docker.Open(fsys, fsys.Root(), "/")
			if err != nil {
				t.Fatal(err)
			}
			containers, said := treetest.Collect(s.Containers())
			if len(containers) != want.containers {
				t.Errorf("%d containers; said %q", len(containers), said)
			}
			for _, got := range containers {
				treetest.Equal(t, got.Name+": driver", got.Snapshotter, want.driver)
				if got.State == runtimes.StateRunning != (got.ID == want.id) {
					t.Errorf("%s is %s", got.Name, got.State)
				}
				if got.ID != want.id {
					continue
				}
				treetest.Equal(t, "container", got.Name+" "+got.Created.Format(time.RFC3339Nano)+" "+got.Image, want.running+" "+want.at+" "+want.image)
				treetest.Equal(t, "started", got.Started.Format("2006-01-02T15:04:05.000000"), want.started)
				treetest.Equal(t, "upper", got.Rootfs.Upper.Dir, want.upper)
				for i, l := range got.Rootfs.Lower {
					if i >= len(want.lower) || l.Dir != want.lower[i] && want.lower[i] != "*" {
						t.Errorf("lower %d is %s", i, l.Dir)
					}
				}
				treetest.Equal(t, "lower", len(got.Rootfs.Lower), len(want.lower))
				for _, m := range got.Mounts {
					if want.mounts != "" {
						treetest.Equal(t, "mount", m.Source+" "+m.Destination, want.mounts)
					}
				}
			}
			checkExplorersImages(t, s, want.repositories, want.step, want.unnamedIDs, want.layersOfItsOwnImage)
		})
	}
}

func checkExplorersImages(t *testing.T, s *docker.Store, repositories, step, unnamed string, layers int) {
	t.Helper()
	images, said := treetest.Collect(s.Images())
	treetest.Equal(t, "said of images", said, "")
	for _, img := range images {
		if len(img.Names) == 0 {
			treetest.Equal(t, "image without a name", img.ID, unnamed)
			continue
		}
		treetest.Equal(t, "image", img.Names[0]+" "+img.ID, repositories)
		last := img.History[len(img.History)-1]
		treetest.Equal(t, "step", last.Created.Format(time.RFC3339Nano)+" "+last.CreatedBy, step)
		treetest.Equal(t, "layers", len(img.Rootfs.Lower), layers)
	}
}

// TestDockerExplorersMounts expects the sources of mounts that docker-explorer's
// TestDEVolumes does.
func TestDockerExplorersMounts(t *testing.T) {
	fsys := treetest.New(explorerTree(t, "vols.v2"))
	s, err := docker.Open(fsys, fsys.Root(), "/")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"8b6e90cc742bd63f6acb7ecd40ddadb4e5dee27d8db2b739963f7cd2c7bcff4a": {"bind /opt/vols/bind /opt",
			"volume /volumes/eda9ee495beccf988d963bf91de0276847e838b9531ab9118caef38a33894bb4/_data /var/jenkins_home"},
		"712909b5ab80d8785841f12e361c218a2faf5365f9ed525f2a0d6b6590ba89cb": {
			"volume /volumes/f5479c534bbc6e2b9861973c2fbb4863ff5b7b5843c098d7fb1a027fe730a4dc/_data /opt/vols/volume"},
	}
	containers, _ := treetest.Collect(s.Containers())
	for _, c := range containers {
		var got []string
		for _, m := range c.Mounts {
			got = append(got, m.Type+" "+m.Source+" "+m.Destination)
		}
		if w, ok := want[c.ID]; ok && !slices.Equal(got, w) {
			t.Errorf("%s: %q, want %q", c.Name, got, w)
		}
	}
	treetest.Equal(t, "containers", len(containers), 4)
}
