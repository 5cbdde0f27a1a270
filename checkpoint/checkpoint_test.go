package checkpoint

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lagan/evidence"
)

func sourceOf(b []byte) Source {
	return func() (io.Reader, func(), error) { return bytes.NewReader(b), func() {}, nil }
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

// TestNewer looks at images as CRIU 4.2 writes them, whose pages are counted in another field.
func TestNewer(t *testing.T) {
	b := api(t)
	c, err := Read(sourceOf(b))
	if err != nil || len(c.Problems) > 0 {
		t.Fatal(err, c.Problems)
	}
	p := c.Processes[1]
	if p.Memory != 3*4096 || p.Shared != 3*4096 || !p.HasCreds || p.UID != 1000 || p.EUID != 0 || p.CapEff != 0x1ffffffffff || !p.ExeDeleted || !p.ExeChanged || p.State != "stopped" {
		t.Errorf("%+v", p)
	}
	if z := c.Processes[2]; z.HasCreds || z.State != "zombie" || z.Memory != 0 {
		t.Errorf("%+v", z)
	}
	var hits []string
	err = Search(t.Context(), sourceOf(b), c.Processes, regexp.MustCompile("stratum"), 10, func(h Hit) error {
		hits = append(hits, fmt.Sprintf("%d %#x %q", h.PID, h.Address, h.Text))
		return nil
	})
	// As checkpointctl memparse --search stratum --context 10 has it.
	want := []string{`1 0x600fff "\x00\x00\x00\x00\x00pool=stratum+tcp://203"`, `7 0x600fff "\x00\x00\x00\x00\x00pool=stratum+tcp://203"`}
	if err != nil || !slices.Equal(hits, want) {
		t.Errorf("hits %q, %v", hits, err)
	}
}

// TestPagemap counts pages as its entries have them: more than there are, or can be, is a problem.
func TestPagemap(t *testing.T) {
	entry := func(fields ...byte) []byte { return append([]byte{byte(len(fields)), 0, 0, 0}, fields...) }
	head := append([]byte("\x19\x43\x56\x54\x25\x40\x08\x56"), entry(8, 1)...)
	huge := []byte{8, 0, 0x10, 0, 0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	for _, c := range []struct {
		name     string
		entries  [][]byte
		memory   int64
		problems int
	}{
		{"old", [][]byte{entry(8, 0, 0x10, 1)}, 4096, 0},
		{"new", [][]byte{entry(8, 0, 0x10, 0, 0x20, 4, 0x28, 1)}, 4096, 0},
		{"in the parent", [][]byte{entry(8, 0, 0x10, 0, 0x20, 1, 0x28, 7), entry(8, 0, 0x10, 0, 0x20, 4, 0x28, 1)}, 4096, 0},
		{"too many for the file", [][]byte{entry(8, 0, 0x10, 2)}, 2 * 4096, 1},
		{"too many", [][]byte{entry(huge...), entry(huge...)}, 4096 << 35, 2},
	} {
		a := &archive{c: &Checkpoint{}, files: map[string][]byte{"checkpoint/pagemap-1.img": slices.Concat(append([][]byte{head}, c.entries...)...)}, pages: map[string]int64{"checkpoint/pages-1.img": 4096}}
		p := &Process{PID: 1}
		a.pagemap(p)
		if p.Memory != c.memory || len(a.c.Problems) != c.problems {
			t.Errorf("%s: %d bytes, %v", c.name, p.Memory, a.c.Problems)
		}
	}
}

// TestHostile reads archives that are made to harm: none takes memory or time by what it
// claims, and no name or link leads out of it.
func TestHostile(t *testing.T) {
	member := func(name string, typ byte, link string, size int64, content []byte) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		w.WriteHeader(&tar.Header{Name: name, Typeflag: typ, Linkname: link, Size: size, Mode: 0o600})
		w.Write(content)
		w.Flush() // what is missing of size is left out
		return b.Bytes()
	}
	config := func() []byte { return member("config.dump", '0', "", 10, []byte(`{"id":"x"}`)) }
	for name, c := range map[string]struct {
		tar      []byte
		problems int
	}{
		"links":          {slices.Concat(config(), member("spec.dump", '2', "/etc/passwd", 0, nil), member("checkpoint/pstree.img", '1', "/etc/passwd", 0, nil)), 0},
		"names":          {slices.Concat(config(), member("../../spec.dump", '0', "", 2, []byte("{}")), member("/checkpoint/pstree.img", '0', "", 1, []byte("x"))), 0},
		"a size":         {slices.Concat(config(), member("checkpoint/pstree.img", '0', "", 1<<40, []byte("x"))), 2},
		"pages":          {slices.Concat(config(), member("checkpoint/pages-1.img", '0', "", 1<<40, []byte("x"))), 1},
		"a tar in it":    {slices.Concat(config(), member("rootfs-diff.tar", '0', "", 1<<20, make([]byte, 1<<20))), 0},
		"a diff's file":  {slices.Concat(config(), member("rootfs-diff.tar", '0', "", 512, member("big", '0', "", 1<<40, nil)[:512])), 1},
		"deep documents": {slices.Concat(config(), member("spec.dump", '0', "", 1<<20, bytes.Repeat([]byte("["), 1<<20))), 1},
	} {
		c2, err := Read(sourceOf(c.tar))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c2.ID != "x" || len(c2.Command) > 0 || len(c2.Processes) > 0 || len(c2.Problems) != c.problems {
			t.Errorf("%s: %+v, want %d problems", name, c2.Problems, c.problems)
		}
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
