package analyzer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lagan/evidence"
	"lagan/fixtures"
	"lagan/internal/needs"
	"lagan/internal/text"
	"lagan/runtimes"
)

// allContainers is the specification of a mount of every container.
const allContainers = "@all"

// seenFile is what a mount says of a file: what the truth has too, and the rest.
type seenFile struct{ Line, More string }

// TestMountTruth mounts every fixture's node and containers and compares what
// the kernel says of each file with the truth: as root, and as an ordinary user.
func TestMountTruth(t *testing.T) {
	needs.FUSE(t)
	for _, name := range fixtures.Names {
		t.Run(name, func(t *testing.T) {
			n, tr := openFixture(t, name, Options{}), loadTruth(t, name)
			node := mountAndWalk(t, n, "@node")
			compareFiles(t, "@node", linesBelow(node, ""), tr.NodeFS.Files)
			compareMore(t, n, "@node", node)
			all := mountAndWalk(t, n, allContainers)
			for id, want := range mergedOf(tr) {
				c, err := n.FindContainer(id)
				if err != nil {
					t.Fatal(err)
				}
				compareFiles(t, c.DisplayName(), linesBelow(all, mountFolder(n, c)), want)
			}
			noGaps(t, n)
		})
	}
	t.Run("ordinary user", func(t *testing.T) {
		n, tr := openFixture(t, "docker-ext4", Options{}), loadTruth(t, "docker-ext4")
		compareFiles(t, "@node", linesBelow(walkAsUser(t, n, "@node"), ""), tr.NodeFS.Files)
		seen := walkAsUser(t, n, allContainers)
		for id, want := range mergedOf(tr) {
			c, err := n.FindContainer(id)
			if err != nil {
				t.Fatal(err)
			}
			compareFiles(t, c.DisplayName(), linesBelow(seen, mountFolder(n, c)), want)
		}
	})
}

// mergedOf returns the truth's merged views by the container's id.
func mergedOf(tr truth) map[string][]truthFile {
	out := make(map[string][]truthFile)
	for _, c := range tr.Containers {
		out[c.ID] = c.Merged
	}
	for _, ns := range tr.Namespaces {
		for _, c := range ns.Containers {
			out[c.ID] = c.Merged
		}
	}
	maps.DeleteFunc(out, func(_ string, files []truthFile) bool { return files == nil })
	return out
}

func mountFolder(n *Node, c *Container) string {
	all := n.Containers()
	return "/" + strings.Join(containerFolders(all)[slices.Index(all, c)], "/")
}

// linesBelow returns what stands below a folder of a mount, as compareFiles takes it.
func linesBelow(seen map[string]seenFile, folder string) map[string]string {
	out := make(map[string]string)
	for path, f := range seen {
		if rest, ok := strings.CutPrefix(path, folder); ok && (rest == "" || rest[0] == '/') {
			if rest == "" {
				rest = "/"
			}
			out[rest] = f.Line
		}
	}
	return out
}

// compareMore compares what the truth doesn't have with what ls says.
func compareMore(t *testing.T, n *Node, spec string, seen map[string]seenFile) {
	t.Helper()
	tree, err := n.FindTree(spec)
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	err = n.List(context.Background(), tree, "/", ListOptions{Recursive: true}, func(f File) error {
		path, _ := text.ForJSON(f.Path)
		if want := moreOf(f); seen[path].More != want {
			if bad++; bad < 5 {
				t.Errorf("%s: %s:\n got  %s\n want %s", spec, path, seen[path].More, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func moreOf(f File) string {
	return fmt.Sprintf("inode %d links %d atime %d ctime %d btime %v", f.Info.Inode, f.Info.Nlink, f.Info.Atime.UnixNano(), f.Info.Ctime.UnixNano(), f.Info.Btime)
}

// mountAndWalk mounts a tree, walks it as other programs do and unmounts it.
func mountAndWalk(t *testing.T, n *Node, spec string) map[string]seenFile {
	t.Helper()
	folder := t.TempDir()
	var seen map[string]seenFile
	whileMounted(t, n, spec, folder, ServeOptions{}, func() { seen = walkMount(t, folder) })
	return seen
}

// whileMounted calls use while a tree is mounted, and checks that the mount ends.
func whileMounted(t *testing.T, n *Node, spec, folder string, o ServeOptions, use func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready, ended := make(chan struct{}), make(chan error, 1)
	o.Mounted = func() { close(ready) }
	go func() {
		if spec == allContainers {
			ended <- n.ServeAll(ctx, folder, o)
			return
		}
		tree, err := n.FindTree(spec)
		if err == nil {
			err = n.Serve(ctx, folder, tree, o)
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("mounting %s: %v", spec, err)
	case <-ready:
	}
	use()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if table, _ := os.ReadFile("/proc/self/mounts"); bytes.Contains(table, []byte(folder)) {
		t.Errorf("%s is still mounted", folder)
	}
}

func walkMount(t *testing.T, root string) map[string]seenFile {
	t.Helper()
	seen := make(map[string]seenFile)
	sums := make(map[uint64]string) // containers share most inodes: each is read once
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := lookAt(path, sums)
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		place, _ := text.ForJSON("/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/"))
		seen[place] = seenFile{lineOf(f), moreOf(f)}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return seen
}

// lookAt returns what the kernel says of a file.
func lookAt(path string, sums map[uint64]string) (f File, err error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &s); err != nil {
		return f, err
	}
	when := func(t unix.StatxTimestamp, mask uint32) time.Time {
		if s.Mask&mask == 0 {
			return time.Time{}
		}
		return time.Unix(t.Sec, int64(t.Nsec)).UTC()
	}
	f.Info = evidence.Info{
		Inode: s.Ino, Type: evidence.TypeOfMode(s.Mode), Perm: s.Mode & 0o7777, UID: s.Uid, GID: s.Gid, Nlink: s.Nlink, Size: int64(s.Size),
		Major: s.Rdev_major, Minor: s.Rdev_minor,
		Mtime: when(s.Mtime, unix.STATX_MTIME), Atime: when(s.Atime, unix.STATX_ATIME), Ctime: when(s.Ctime, unix.STATX_CTIME), Btime: when(s.Btime, unix.STATX_BTIME),
	}
	if f.Xattrs, err = attributesOf(path); err != nil {
		return f, err
	}
	switch f.Info.Type {
	case evidence.TypeSymlink:
		f.Target, err = os.Readlink(path)
	case evidence.TypeFile:
		if f.SHA256 = sums[s.Ino]; f.SHA256 == "" {
			f.SHA256, err = sumOf(path)
			sums[s.Ino] = f.SHA256
		}
	}
	return f, err
}

func attributesOf(path string) (map[string][]byte, error) {
	size, err := unix.Llistxattr(path, nil)
	if err != nil || size == 0 {
		return nil, err
	}
	list, value := make([]byte, size), make([]byte, 64<<10)
	if _, err := unix.Llistxattr(path, list); err != nil {
		return nil, fmt.Errorf("listing attributes: %w", err)
	}
	out := make(map[string][]byte)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		out[name] = bytes.Clone(value[:n])
	}
	return out, nil
}

func sumOf(path string) (string, error) {
	r, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// nobody is an ordinary user on every Linux.
const nobody = 65534

// asUser names, for the process that walkAsUser starts, what is mounted where.
const asUser = "LAGAN_TEST_MOUNT"

// walkAsUser has a process of an ordinary user mount a tree and walk it.
func walkAsUser(t *testing.T, n *Node, spec string) map[string]seenFile {
	t.Helper()
	if os.Getuid() != 0 {
		return mountAndWalk(t, n, spec)
	}
	for _, lacks := range []func() string{lacksHelper, lacksDevice} {
		if what := lacks(); what != "" {
			needs.Lack(t, "%s", what)
		}
	}
	dir, err := os.MkdirTemp("", "lagan-mount-") // of testing's own folders ordinary users see nothing
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, err := range []error{os.Chmod(dir, 0o755), os.Mkdir(dir+"/m", 0o755), os.Chown(dir+"/m", nobody, nobody), copyProgram(dir + "/test")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(dir+"/test", "-test.run", "^TestMountChild$")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &errs, &errs
	cmd.Env = append(os.Environ(), asUser+"="+n.Evidence[0].Path+"\n"+spec+"\n"+dir+"/m", "TMPDIR=/tmp")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	io.Copy(&out, r)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("as an ordinary user: %v: %s", err, errs.String())
	}
	var seen map[string]seenFile
	if err := json.Unmarshal(out.Bytes(), &seen); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	return seen
}

func lacksHelper() string {
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return "fusermount3 is missing"
	}
	return ""
}

func lacksDevice() string {
	if info, err := os.Stat("/dev/fuse"); err != nil || info.Mode().Perm()&0o006 != 0o006 {
		return "/dev/fuse is not for ordinary users: chmod 666, as udev does"
	}
	return ""
}

func copyProgram(to string) error {
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// TestMountChild is the process that walkAsUser starts.
func TestMountChild(t *testing.T) {
	order := strings.Split(os.Getenv(asUser), "\n")
	if len(order) != 3 {
		t.Skip("for TestMountTruth alone")
	}
	if os.Getuid() == 0 {
		t.Fatal("still root")
	}
	n, err := Open(context.Background(), order[0], Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var seen map[string]seenFile
	whileMounted(t, n, order[1], order[2], ServeOptions{}, func() { seen = walkMount(t, order[2]) })
	if err := json.NewEncoder(os.NewFile(3, "result")).Encode(seen); err != nil {
		t.Fatal(err)
	}
}

// TestMountUpper shows a container's own folder as it lies on the disk, and an image.
func TestMountUpper(t *testing.T) {
	needs.FUSE(t)
	n := openFixture(t, "docker-ext4", Options{})
	c, err := n.FindContainer("tomcat-prod")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	whileMounted(t, n, c.ID, folder, ServeOptions{Upper: true}, func() {
		seen := walkMount(t, folder)
		ino, err := evidence.Resolve(n.Tree, n.Tree.Root(), c.Rootfs.Upper.Dir, true)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		evidence.Walk(n.Tree, ino, func(rel string, _ evidence.Entry, info evidence.Info, err error) error {
			want++
			if !strings.Contains(seen["/"+rel].More, fmt.Sprintf("inode %d ", info.Inode)) {
				t.Errorf("/%s: %q, want inode %d", rel, seen["/"+rel].More, info.Inode)
			}
			return err
		})
		if len(seen) != want || want < 5 {
			t.Errorf("%d files, want %d", len(seen), want)
		}
	})
	compareMore(t, n, "@image:tomcat:8.5.19", mountAndWalk(t, n, "@image:tomcat:8.5.19"))
}

// TestMountTools has the programs that analysts use go through a mount.
func TestMountTools(t *testing.T) {
	needs.FUSE(t)
	n := openFixture(t, "docker-ext4", Options{})
	folder, copied := t.TempDir(), t.TempDir()
	whileMounted(t, n, "@node", folder, ServeOptions{}, func() {
		for _, line := range []string{"ls -laR M", "find M -ls", "grep -rlI root M/etc", "tar -cf /dev/null -C M .", "cp -a --no-preserve=xattr,ownership M/etc C/etc", "rsync -rlpt M/usr/ C/usr"} {
			words := strings.Fields(strings.NewReplacer("M", folder, "C/", copied+"/").Replace(line))
			if _, err := exec.LookPath(words[0]); err != nil {
				if needs.All() {
					t.Fatal(err)
				}
				t.Logf("not tried: %v", err)
				continue
			}
			if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %.300s", line, err, out)
			}
		}
	})
}

// TestMountBusy ends a mount that a program stands in.
func TestMountBusy(t *testing.T) {
	needs.FUSE(t)
	n := openFixture(t, "docker-ext4", Options{})
	folder := t.TempDir()
	busy := false
	var held *os.File
	whileMounted(t, n, "@node", folder, ServeOptions{Busy: func() { busy = true }}, func() {
		var err error
		if held, err = os.Open(folder + "/etc/passwd"); err != nil {
			t.Fatal(err)
		}
	})
	held.Close()
	if !busy {
		t.Error("nobody was told that the mount was in use")
	}
}

func TestContainerFolders(t *testing.T) {
	long := strings.Repeat("x", 300)
	cases := []struct{ namespace, podNamespace, pod, name, id, want string }{
		{"k8s.io", "default", "web", "nginx", "0123456789abcdef", "k8s.io/default/web/nginx-0123456789ab"},
		{"k8s.io", "default", "web", "nginx", "1123456789abcdef", "k8s.io/default/web/nginx-1123456789ab"},
		{"k8s.io", "", "", "default", "2123456789abcdef", "k8s.io/default-2123456789ab"}, // where a folder of pods stands
		{"moby", "", "", "../x", "3123456789abcdef", `moby/..\x2fx`},
		{"moby", "", "", "..", "4123456789abcdef", `moby/\x2e\x2e`},
		{"moby", "", "", "", "5123456789abcdef", "moby/5123456789abcdef"},
		{"moby", "", "", long, "6", "moby/" + long[:255]},
	}
	var all []*Container
	for _, c := range cases {
		all = append(all, &Container{Container: runtimes.Container{
			Runtime: runtimes.Containerd, Namespace: c.namespace, Name: c.name, ID: c.id, Pod: runtimes.Pod{Namespace: c.podNamespace, Name: c.pod},
		}})
	}
	for i, path := range containerFolders(all) {
		if got := strings.Join(path, "/"); got != "containerd/"+cases[i].want {
			t.Errorf("got %s, want %s", got, cases[i].want)
		}
	}
}
