package checkpoint

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
)

func sourceOf(b []byte) Source {
	return func() (io.Reader, func(), error) { return bytes.NewReader(b), func() {}, nil }
}

// web is a checkpoint whose images go-criu's encoder wrote; testdata/README.md says how.
func web(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open("testdata/web.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ctl is what checkpointctl inspect --all --format json prints.
type ctl struct {
	Name    string `json:"container_name"`
	Image   string `json:"image"`
	ID      string `json:"id"`
	Runtime string `json:"runtime"`
	Engine  string `json:"engine"`
	Size    struct {
		Total  int64 `json:"total_size"`
		Memory int64 `json:"memory_pages_size"`
		Diff   int64 `json:"root_fs_diff_size"`
	} `json:"checkpoint_size"`
	Stats struct {
		Freezing uint64 `json:"freezing_time"`
		Frozen   uint64 `json:"frozen_time"`
		Memdump  uint64 `json:"memdump_time"`
		Memwrite uint64 `json:"memwrite_time"`
		Scanned  uint64 `json:"pages_scanned"`
		Written  uint64 `json:"pages_written"`
	} `json:"statistics"`
	Tree  ctlProcess `json:"process_tree"`
	Files []struct {
		PID  uint32 `json:"pid"`
		Open []struct {
			Type, FD, Path string
		} `json:"open_files"`
	} `json:"file_descriptors"`
	Sockets []struct {
		PID  uint32 `json:"pid"`
		Open []struct {
			Protocol string `json:"protocol"`
			Data     struct {
				Type    string `json:"type"`
				Address string `json:"address"`
				State   string `json:"state"`
				Src     string `json:"src"`
				SrcPort uint32 `json:"src_port"`
				Dst     string `json:"dst"`
				DstPort uint32 `json:"dst_port"`
			} `json:"data"`
		} `json:"open_sockets"`
	} `json:"sockets"`
	Mounts []Mount `json:"mounts"`
}

type ctlProcess struct {
	PID      uint32            `json:"pid"`
	Comm     string            `json:"command"`
	Cmdline  string            `json:"cmdline"`
	Env      map[string]string `json:"environment_variables"`
	Children []ctlProcess      `json:"children"`
}

// TestCheckpointctl compares everything that checkpointctl says of the archive.
func TestCheckpointctl(t *testing.T) {
	c, err := Read(sourceOf(web(t)))
	if err != nil || len(c.Problems) > 0 {
		t.Fatal(err, c.Problems)
	}
	b, err := os.ReadFile("testdata/web.checkpointctl.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []ctl
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	w := all[0]
	got := fmt.Sprint(c.Name, c.Image, c.ID, c.Runtime, c.Engine, c.Size, c.PagesSize, c.DiffSize, *c.Stats)
	want := fmt.Sprint(w.Name, w.Image, w.ID, w.Runtime, w.Engine, w.Size.Total, w.Size.Memory, w.Size.Diff, w.Stats)
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	byPID := make(map[uint32]*Process)
	for _, p := range c.Processes {
		byPID[p.PID] = p
	}
	compareProcess(t, byPID, 0, &w.Tree)
	if len(byPID) > 0 {
		t.Errorf("%d processes that checkpointctl doesn't tell", len(byPID))
	}
	compareFiles(t, c, &w)
	if fmt.Sprint(len(c.Mounts), c.Mounts[1].Source) != fmt.Sprint(len(w.Mounts), w.Mounts[1].Source) {
		t.Errorf("mounts %v, want %v", c.Mounts, w.Mounts)
	}
}

func compareProcess(t *testing.T, byPID map[uint32]*Process, parent uint32, w *ctlProcess) {
	t.Helper()
	p := byPID[w.PID]
	if p == nil {
		t.Fatalf("process %d is missing", w.PID)
	}
	delete(byPID, w.PID)
	env := make(map[string]string)
	for _, e := range p.Env {
		k, v, _ := strings.Cut(e, "=")
		env[k] = v
	}
	if p.Comm != w.Comm || strings.Join(p.Cmdline, " ") != strings.TrimSuffix(w.Cmdline, " ") || p.PPID != parent || !maps.Equal(env, w.Env) && len(env)+len(w.Env) > 0 {
		t.Errorf("process %d: %q %q %v, want %q %q %v", p.PID, p.Comm, p.Cmdline, env, w.Comm, w.Cmdline, w.Env)
	}
	for i := range w.Children {
		compareProcess(t, byPID, w.PID, &w.Children[i])
	}
}

func compareFiles(t *testing.T, c *Checkpoint, w *ctl) {
	t.Helper()
	for _, p := range c.Processes {
		var got, want []string
		for _, f := range p.Files {
			got = append(got, f.Type+" "+f.FD+" "+f.Path)
		}
		got = append(got, "cwd "+p.Cwd, "root "+p.Root)
		for _, f := range w.Files {
			for _, o := range f.Open {
				switch {
				case f.PID != p.PID || strings.HasSuffix(o.Type, "SK"):
				case o.Type == "":
					want = append(want, o.FD+" "+o.Path)
				default:
					want = append(want, o.FD+" "+o.Path) // "REG 1"
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("files of %d: %q, want %q", p.PID, got, want)
		}
		got, want = nil, nil
		for _, s := range p.Sockets {
			if s.Type == "UNIXSK" {
				got = append(got, s.Source)
				continue
			}
			got = append(got, fmt.Sprint(s.Protocol, s.State, s.Source, s.SourcePort, s.Remote, s.RemotePort))
		}
		for _, s := range w.Sockets {
			for _, o := range s.Open {
				d := o.Data
				switch {
				case s.PID != p.PID:
				case d.Address != "":
					want = append(want, strings.TrimRight(d.Address, "\x00"))
				default:
					want = append(want, fmt.Sprint(o.Protocol, d.State, d.Src, d.SrcPort, d.Dst, d.DstPort))
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("sockets of %d: %q, want %q", p.PID, got, want)
		}
	}
}

// TestBeyond looks at what checkpointctl doesn't tell.
func TestBeyond(t *testing.T) {
	c, err := Read(sourceOf(web(t)))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Processes[2]
	if p.Exe != "/tmp/.x/dnsd" || !p.ExeDeleted || p.ExeChanged || p.UID != 33 || p.CapEff != 0x25fb || p.Memory != 5*4096 || p.State != "alive" {
		t.Errorf("%+v", p)
	}
	if q := c.Processes[3]; !q.ExeChanged || q.ExeDeleted || q.Exe != "/malicious" {
		t.Errorf("%+v", q)
	}
	if m := p.Maps[0]; m.Path != "/tmp/.x/dnsd (deleted)" || m.Prot != "r-x" {
		t.Errorf("%+v", m)
	}
	if c.Pod != "web-7c5ddbdf54-x2k9q" || c.Namespace != "default" || c.Checkpointed.IsZero() || len(c.Deleted) != 2 {
		t.Errorf("%+v", c)
	}
	var changed []string
	for _, x := range c.Changed {
		changed = append(changed, fmt.Sprint(x.Path, x.Deleted))
	}
	if want := "/tmpfalse /malicious" + "false /etc/cron.d/0updatefalse /etc/motdtrue"; strings.Join(changed, " ") != want {
		t.Errorf("changed %q", changed)
	}
}

func TestSearch(t *testing.T) {
	b := web(t)
	c, err := Read(sourceOf(b))
	if err != nil {
		t.Fatal(err)
	}
	var hits []string
	err = Search(t.Context(), sourceOf(b), c.Processes, regexp.MustCompile(`http://[0-9.]+/\w+|heap of`), 7, func(h Hit) error {
		hits = append(hits, fmt.Sprintf("%d %#x %q", h.PID, h.Address, bytes.Trim(h.Text, "\x00")))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// The third crosses from one page to the next; checkpointctl memparse finds it at 0x10ffa + 7.
	want := []string{`1 0x10064 "heap of proces"`, `15 0x10064 "heap of proces"`, `31 0x10064 "heap of proces"`, `31 0x11001 "beacon http://203.0.113.80/gate.php?id"`, `32 0x10064 "heap of proces"`}
	if !slices.Equal(hits, want) {
		t.Errorf("hits %q", hits)
	}
	total := 0
	if err := Memory(t.Context(), sourceOf(b), c.Processes[:1], func(_ *Process, _ uint64, b []byte) error { total += len(b); return nil }); err != nil || total != 5*4096 {
		t.Errorf("%d bytes of memory, %v", total, err)
	}
}

func TestErrors(t *testing.T) {
	if _, err := Read(sourceOf([]byte("no tar at all, but a text that is long enough to be read"))); !errors.Is(err, evidence.ErrFormat) {
		t.Errorf("a text is %v", err)
	}
	b := web(t)
	c, err := Read(sourceOf(b[:len(b)/2]))
	if err != nil || len(c.Problems) == 0 {
		t.Errorf("half an archive: %v, %v", err, c)
	}
	magic := bytes.Clone(b)
	at := bytes.Index(magic, []byte{0x30, 0x30, 0x27, 0x50}) // PSTREE
	magic[at] ^= 1
	if c, err = Read(sourceOf(magic)); err != nil || len(c.Processes) != 0 || len(c.Problems) != 1 {
		t.Errorf("a wrong magic number: %v, %v", err, c.Problems)
	}
}

func TestWire(t *testing.T) {
	for _, c := range []struct {
		b    string
		want string
	}{
		{"\x08\x96\x01", "1:150"}, {"\x12\x07testing", "2:testing"}, {"\x1d\x01\x00\x00\x00", "3:1"}, {"\x21\x01\x00\x00\x00\x00\x00\x00\x00", "4:1"},
		{"\x08", "error"}, {"\x12\x09short", "error"}, {"\x00\x01", "error"}, {"\x0f", "error"}, {"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "error"},
	} {
		got := ""
		for f, err := range fields([]byte(c.b)) {
			switch {
			case err != nil:
				got += "error"
			case f.bytes != nil:
				got += fmt.Sprintf("%d:%s", f.number, f.bytes)
			default:
				got += fmt.Sprintf("%d:%d", f.number, f.num)
			}
		}
		if got != c.want {
			t.Errorf("%q is %q, want %q", c.b, got, c.want)
		}
	}
}

// FuzzRead takes a whole archive: a small one, for its speed.
func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for name, content := range map[string]string{"config.dump": `{"id":"x"}`, "checkpoint/pstree.img": "\x19\x43\x56\x54\x30\x30\x27\x50\x02\x00\x00\x00\x08\x01"} {
		t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))})
		t.Write([]byte(content))
	}
	t.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Read(sourceOf(b))
		if err != nil {
			if c != nil {
				t.Error("an error and a checkpoint")
			}
			return
		}
		Search(t.Context(), sourceOf(b), c.Processes, regexp.MustCompile("x"), 4, func(Hit) error { return nil })
	})
}

// FuzzProcesses takes the images of a checkpoint without the tar around them: one
// process of number 1, and for each image a length of two bytes before it.
func FuzzProcesses(f *testing.F) {
	names := []string{"inventory", "pstree", "files", "remap-fpath", "core-1", "mm-1", "fs-1", "fdinfo-1", "pagemap-1", "mountpoints-12", "reg-files", "inetsk", "unixsk", "ids-1"}
	a := &archive{c: &Checkpoint{}, files: map[string][]byte{}, pages: map[string]int64{}}
	if err := a.read(bytes.NewReader(web(f))); err != nil {
		f.Fatal(err)
	}
	var seed []byte
	for _, name := range names {
		b := a.files["checkpoint/"+name+".img"]
		seed = append(append(seed, byte(len(b)), byte(len(b)>>8)), b...)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &archive{c: &Checkpoint{}, files: map[string][]byte{}, pages: map[string]int64{"checkpoint/pages-1.img": 1 << 20}}
		for _, name := range names {
			if len(b) < 2 {
				break
			}
			n := min(int(b[0])|int(b[1])<<8, len(b)-2)
			a.files["checkpoint/"+name+".img"], b = b[2:2+n], b[2+n:]
		}
		a.processes()
		for _, err := range a.c.Problems {
			if err == nil {
				t.Error("a problem that is none")
			}
		}
		for _, p := range a.c.Processes {
			p.want(all, nil)
		}
	})
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte("\x19\x43\x56\x54\x30\x30\x27\x50\x02\x00\x00\x00\x08\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for m, err := range entries(b, magicPstree) {
			if err != nil && !errors.Is(err, evidence.ErrCorrupt) {
				t.Error(err)
			}
			m.nums(pstreeThreads)
		}
	})
}
