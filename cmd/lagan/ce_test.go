package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lagan/analyzer"
	"lagan/fixtures"
	"lagan/runtimes"
)

// TestCeNames compares the names of JSON with those that container-explorer's
// types have (explorers.Container and others), in their order.
func TestCeNames(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{ceContainer{}, "Namespace Name Hostname ImageBase SupportContainer ContainerType ProcessID Status ID Labels Image Runtime Spec SnapshotKey Snapshotter " +
			"CreatedAt UpdatedAt Extensions SandboxID Running ExposedPorts"},
		{ceRuntime{}, "Name Options"},
		{ceImage{}, "Namespace ContainerType SupportContainerImage Name Labels Target CreatedAt UpdatedAt"},
		{ceTarget{}, "mediaType digest size"},
		{ceContent{}, "Namespace ContainerType Digest Size CreatedAt UpdatedAt Labels"},
		{ceSnapshot{}, "ContainerType Namespace Snapshotter Key ID Name Parent Kind Inodes Size OverlayPath Labels Children CreatedAt UpdatedAt"},
		{ceTask{}, "Namespace Name PID ContainerType Status"},
		{ceDrift{}, "ContainerID ContainerType AddedOrModified InaccessibleFiles"},
	} {
		var got []string
		for f := range reflect.TypeOf(c.v).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			got = append(got, firstNonEmpty(name, f.Name))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%T: %q", c.v, got)
		}
	}
	// As its own test has a file of which nothing more is known.
	b, err := json.Marshal(ceFile{Name: "test.txt", Path: "/path/to/test.txt", Size: 123, SHA256: "fake-sha256",
		Modified: "0001-01-01T00:00:00Z", Accessed: "0001-01-01T00:00:00Z", Changed: "0001-01-01T00:00:00Z", Birth: "0001-01-01T00:00:00Z"})
	if want := `{"file_name":"test.txt","full_path":"/path/to/test.txt","file_size":123,"file_modified":"0001-01-01T00:00:00Z","file_accessed":"0001-01-01T00:00:00Z",` +
		`"file_changed":"0001-01-01T00:00:00Z","file_birth":"0001-01-01T00:00:00Z","file_sha256":"fake-sha256"}`; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}

// TestCeSupport has the cases of container-explorer's own tests.
func TestCeSupport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "support.yaml")
	err := os.WriteFile(file, []byte("names:\n  - \"k8s_POD\"\n  - pause\nimages:\n  - \"gcr.io/google-containers/pause\"\n  - 'k8s.gcr.io/pause'\nlabels:\n  - io.kubernetes.docker.type=podsandbox\n  - App=Pause\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSupport(file)
	if err != nil {
		t.Fatal(err)
	}
	container := func(image, hostname string, labels map[string]string) *analyzer.Container {
		return &analyzer.Container{Container: runtimes.Container{Image: image, Hostname: hostname, Labels: labels}}
	}
	for i, c := range []struct {
		c    *analyzer.Container
		want bool
	}{
		{container("gcr.io/google-containers/pause-amd64:3.2", "", nil), true},
		{container("GCR.IO/GOOGLE-CONTAINERS/PAUSE:3.2", "", nil), true},
		{container("docker.io/library/nginx:latest", "", nil), false},
		{container("", "K8S_pod_abc123", nil), true},
		{container("nginx", "webserver", map[string]string{"app": "web"}), false},
		{container("nginx", "", map[string]string{"io.kubernetes.docker.type": "PodSandbox"}), true},
	} {
		if s.has(c.c) != c.want {
			t.Errorf("case %d: %v", i, !c.want)
		}
	}
}

// callers are the command lines of Turbinia's and OpenRelik's workers, as they
// write them, with what they do with the answer: the keys that they read.
var callers = []struct{ line, keys string }{
	{"ce --support-container-data SUPPORT --output json --output-file FILE --image-root EKS list containers", "Name Namespace Image ContainerType ID Hostname CreatedAt Labels"},
	{"ce --image-root EKS --output-file FILE --output json list containers", "Namespace ID Hostname Image ContainerType CreatedAt UpdatedAt"},
	{"ce --docker-managed --image-root DOCKER --output-file FILE --output json list containers", "Namespace ID Hostname Image ContainerType CreatedAt UpdatedAt"},
	{"ce --image-root EKS --output-file FILE --output json drift", "ContainerID ContainerType AddedOrModified InaccessibleFiles"},
	{"ce --docker-managed --image-root DOCKER --output-file FILE --output json drift", "ContainerID ContainerType AddedOrModified InaccessibleFiles"},
	{"de.py -d -r DOCKER list all_containers", "container_id image_name"},
	{"de.py -r DOCKER list all_containers", "image_name container_id image_id start_date mount_id upper_dir"},
}

// fileKeys are those that OpenRelik reads of a file.
const fileKeys = "file_name full_path file_size file_modified file_accessed file_changed file_birth"

func TestCallers(t *testing.T) {
	dir := t.TempDir()
	file, support := filepath.Join(dir, "answer.json"), filepath.Join(dir, "supportcontainer.yaml")
	if err := os.WriteFile(support, []byte("labels:\n  - io.kubernetes.pod.namespace=kube-system\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	put := strings.NewReplacer("SUPPORT", support, "FILE", file, "EKS", fixtures.Disk(t, "eks-xfs"), "DOCKER", fixtures.Disk(t, "docker-ext4"))
	for _, c := range callers {
		os.Remove(file)
		var out, errs bytes.Buffer
		if code := run(t.Context(), arguments(strings.Fields(put.Replace(c.line))), &out, &errs); code != exitOK {
			t.Errorf("%s: exit %d: %s", c.line, code, errs.String())
			continue
		}
		answer := out.Bytes()
		if strings.Contains(c.line, "FILE") {
			var err error
			if answer, err = os.ReadFile(file); err != nil || out.Len() > 0 {
				t.Errorf("%s: %v, and prints %q", c.line, err, out.String())
				continue
			}
		}
		var all []map[string]any
		if err := json.Unmarshal(answer, &all); err != nil || len(all) < 4 {
			t.Errorf("%s: %d of %s, %v", c.line, len(all), answer, err)
		}
		files := 0
		for _, one := range all {
			has(t, c.line, one, c.keys)
			for _, list := range []string{"AddedOrModified", "InaccessibleFiles"} {
				changed, _ := one[list].([]any)
				for _, f := range changed {
					files++
					has(t, c.line, f.(map[string]any), fileKeys)
				}
			}
		}
		if strings.HasSuffix(c.line, "drift") && files < 10 {
			t.Errorf("%s: %d files", c.line, files)
		}
	}
}

func has(t *testing.T, line string, object map[string]any, keys string) {
	t.Helper()
	for _, k := range strings.Fields(keys) {
		if _, ok := object[k]; !ok {
			t.Errorf("%s: %v has no %s", line, object, k)
		}
	}
}
