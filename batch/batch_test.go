package batch

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lagan/internal/needs"
)

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestManifest(t *testing.T) {
	dir := t.TempDir()
	at := func(s string) string { return filepath.Join(dir, s) }
	cases := map[string][]Snapshot{
		"# two\n a.img.zst \n\n/abs/a.E01\n":                                        {{Name: "a", Evidence: at("a.img.zst")}, {Name: "a-2", Evidence: "/abs/a.E01"}},
		"evidence,name,disks,options\nx.img,one,d1;d2,--volume 2\n\"b c.img\",,,\n": {{Name: "one", Evidence: at("x.img"), Disks: []string{at("d1"), at("d2")}, Options: []string{"--volume", "2"}}, {Name: "b_c", Evidence: at("b c.img")}},
		"evidence\nx\n": {{Name: "x", Evidence: at("x")}},
		"{\"evidence\":\"x.dd\",\"name\":\"n\",\"options\":[\"--no-scan\"]}\n\n{\"evidence\":\"../..\"}\n": {
			{Name: "n", Evidence: at("x.dd"), Options: []string{"--no-scan"}}, {Name: "snapshot", Evidence: filepath.Join(dir, "../..")}},
		"ebs:snap-0123456789abcdef0\nebs:eu-west-1/snap-0123456789abcdef1\n": {
			{Name: "snap-0123456789abcdef0", Evidence: "ebs:snap-0123456789abcdef0"}, {Name: "snap-0123456789abcdef1", Evidence: "ebs:eu-west-1/snap-0123456789abcdef1"}},
		"# which\n\nEvidence , NAME\r\nx.img,one\r\n# not this\r\ny.img,\r\n": {{Name: "one", Evidence: at("x.img")}, {Name: "y", Evidence: at("y.img")}},
		"\xef\xbb\xbf\"evidence\",\"name\"\n\"x,y.img\",\"n\"\n":              {{Name: "n", Evidence: at("x,y.img")}},
		"x.failed.json\nx\nX-2\nx\n":                                          {{Name: "x.failed.json_", Evidence: at("x.failed.json")}, {Name: "x", Evidence: at("x")}, {Name: "X-2", Evidence: at("X-2")}, {Name: "x-3", Evidence: at("x")}},
		"a\nA\n":                                                              {{Name: "a", Evidence: at("a")}, {Name: "A-2", Evidence: at("A")}},
	}
	for content, want := range cases {
		got, err := ReadManifest(write(t, at("m"), content))
		if err != nil {
			t.Errorf("%q: %v", content, err)
			continue
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) && !strings.Contains(content, "../..") {
			t.Errorf("%q:\n got  %q\n want %q", content, got, want)
		}
	}
	for _, bad := range []string{
		"", "# nothing\n", "{\"evidence\":\"x\",\"nmae\":\"y\"}\n", "{\"name\":\"y\"}\n", "{\n", "evidence,name\nx,../y\n", "evidence,name\nx,.y\n",
		"evidence,name\nx,y\nz,Y\n", "name,options\nx,y\n", "evidence,name\n,x\n", "evidence,name\nx,a.tmp-b\n", "evidence,name\nx,_DONE/..\n",
		"{\"evidence\":\"x\"} {\"evidence\":\"y\"}\n", "[{\"evidence\":\"x\"}]\n", "[\n{\"evidence\":\"x\"}\n]\n", "evidence,name,comment\nx,y,z\n", "evidence,evidence\nx,y\n",
		"evidence,name\nx,y.Failed.json\n", "evidence,name\nx\n", "evidence,name\n\"x,y\n", "\xff\xfee\x00v\x00", "evidence,name\nx,\xff\n", "evidence,name\nx,con\u202efig\n",
	} {
		if got, err := ReadManifest(write(t, at("m"), bad)); err == nil {
			t.Errorf("%q was read as %q", bad, got)
		}
	}
}

// TestManifestLarge names 100,000 snapshots that are all called the same. Were
// each to try all numbers from the first on, the test would not end within its time.
func TestManifestLarge(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "/archive/snap-%06d/Disk.img\n", i)
	}
	got, err := ReadManifest(write(t, filepath.Join(t.TempDir(), "m"), b.String()))
	if err != nil || len(got) != 100_000 || got[99_999].Name != "Disk-100000" || got[1].Name != "Disk-2" {
		t.Errorf("%d snapshots, %v", len(got), err)
	}
}

func TestManifestFolder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.E01", "a.E02", "a.EAA", "b.001", "b.002", "c.img", ".hidden", "root/etc/passwd"} {
		write(t, filepath.Join(dir, name), "x")
	}
	got, err := ReadManifest(dir)
	var names []string
	for _, s := range got {
		names = append(names, s.Name)
	}
	if want := []string{"a", "b", "c", "root"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%v, %v", names, err)
	}
}

func TestShards(t *testing.T) {
	all := make([]Snapshot, 7)
	if n := Shards(7, 3); n != 3 {
		t.Errorf("%d shards", n)
	}
	if s, err := Shard(all, 3, 2); err != nil || len(s) != 1 {
		t.Errorf("%d, %v", len(s), err)
	}
	for _, bad := range []int{-1, 3} {
		if _, err := Shard(all, 3, bad); err == nil {
			t.Errorf("shard %d", bad)
		}
	}
	for _, v := range indexVariables {
		n, from, err := Index(func(s string) string { return map[string]string{v: "12"}[s] })
		if n != 12 || from != v || err != nil {
			t.Errorf("%s: %d %s %v", v, n, from, err)
		}
	}
	if n, from, err := Index(func(string) string { return "" }); n != -1 || from != "" || err != nil {
		t.Errorf("%d %s %v", n, from, err)
	}
	if _, _, err := Index(func(string) string { return "x" }); err == nil {
		t.Error("x is an index")
	}
}

// worker counts how often each snapshot is done, and fails where it is told to.
type worker struct {
	mu   sync.Mutex
	done map[string]int
	fail map[string]error
	hook func(folder string)
}

func (w *worker) work(_ context.Context, s Snapshot, folder string) (Result, error) {
	w.mu.Lock()
	w.done[s.Name]++
	w.mu.Unlock()
	if err := os.WriteFile(filepath.Join(folder, "containers.jsonl"), []byte("{\"id\":\""+s.Name+"\"}\n"), 0o644); err != nil {
		return Result{}, err
	}
	if w.hook != nil {
		w.hook(folder)
	}
	if s.Name == "panics" {
		panic("reader")
	}
	return Result{Gaps: 1, Bytes: 10, Counts: map[string]int{"containers.jsonl": 1}}, w.fail[s.Name]
}

// tree returns the files below a folder, those with times left out.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		content := []byte("(a run)")
		if d.Name() != RunFile && !strings.HasSuffix(path, failedEnding) {
			content, err = os.ReadFile(path)
		}
		out = append(out, rel+": "+string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "")
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	var all []Snapshot
	for _, name := range []string{"a", "b", "panics", "missing"} {
		if name != "missing" {
			write(t, filepath.Join(dir, name), "evidence")
		}
		all = append(all, Snapshot{Name: name, Evidence: filepath.Join(dir, name)})
	}
	w := &worker{done: map[string]int{}, fail: map[string]error{"b": errors.New("bad disk")}}
	o := Options{Dir: out, Version: "1", Config: "c", Work: w.work}
	states := func(o Options) string {
		t.Helper()
		outcomes, err := Run(t.Context(), all, o)
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, x := range outcomes {
			s += string(x.State) + " "
		}
		return s
	}
	if got := states(o); got != "done failed failed failed " {
		t.Errorf("first: %s", got)
	}
	if b, err := os.ReadFile(filepath.Join(out, "b"+failedEnding)); !strings.Contains(string(b), "bad disk") {
		t.Errorf("why b failed: %s, %v", b, err)
	}
	before := tree(t, filepath.Join(out, "a"))
	write(t, filepath.Join(out, ".b.tmp-123", "half"), "x") // a run was killed
	delete(w.fail, "b")
	if got := states(o); got != "skipped done failed failed " {
		t.Errorf("second: %s", got)
	}
	if after := tree(t, filepath.Join(out, "a")); after != before || w.done["a"] != 1 {
		t.Errorf("a was done %d times: %s", w.done["a"], after)
	}
	for _, gone := range []string{".b.tmp-123", "b" + failedEnding, "panics"} {
		if exists(filepath.Join(out, gone)) {
			t.Errorf("%s is there", gone)
		}
	}
	// Another version, options and evidence are done again; and jobs change nothing.
	for i, change := range []func(){
		func() { o.Version = "2" }, func() { o.Config = "d" },
		func() { os.Chtimes(all[0].Evidence, time.Unix(1, 0), time.Unix(1, 0)) },
		func() { all[0].Options = []string{"--no-scan"} },
		func() { o.Hash, o.Jobs = true, 3 },
	} {
		change()
		states(o)
		if w.done["a"] != i+2 {
			t.Errorf("change %d: a was done %d times", i, w.done["a"])
		}
	}
	if b, _ := os.ReadFile(filepath.Join(out, "a", RunFile)); !strings.Contains(string(b), `"sha256": "`) {
		t.Errorf("no hash: %s", b)
	}
}

// TestSlow has the first snapshot's work wait until all others are done: with two jobs, one that is slow
// does not hold the rest, and outcomes are in the snapshots' order all the same.
func TestSlow(t *testing.T) {
	dir := t.TempDir()
	var all []Snapshot
	for _, name := range []string{"slow", "b", "c", "d", "e"} {
		all = append(all, Snapshot{Name: name, Evidence: write(t, filepath.Join(dir, name), name)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for who holds the rest
	defer cancel()
	ended := make(chan string, len(all))
	work := func(ctx context.Context, s Snapshot, _ string) (Result, error) {
		for i := 1; s.Name == "slow" && i < len(all); i++ {
			select {
			case <-ended:
			case <-ctx.Done():
				return Result{}, fmt.Errorf("%d others are done: %w", i-1, ctx.Err())
			}
		}
		return Result{}, nil
	}
	outcomes, err := Run(ctx, all, Options{Dir: filepath.Join(dir, "out"), Jobs: 2, Work: work, Ended: func(o Outcome) { ended <- o.Snapshot.Name }})
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if o.Snapshot.Name != all[i].Name || o.State != Done {
			t.Errorf("outcome %d is of %s: %s, %v", i, o.Snapshot.Name, o.State, o.Err)
		}
	}
}

// TestForeign leaves alone what no batch made.
func TestForeign(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ev"), "x")
	kept := write(t, filepath.Join(dir, "out", "a", "thesis.txt"), "years of work")
	w := &worker{done: map[string]int{}}
	outcomes, err := Run(t.Context(), []Snapshot{{Name: "a", Evidence: filepath.Join(dir, "ev")}}, Options{Dir: filepath.Join(dir, "out"), Work: w.work})
	if err != nil || outcomes[0].State != Failed || !exists(kept) {
		t.Errorf("%v, %v", outcomes, err)
	}
}

// TestCancelled ends in the middle of a snapshot, and leaves nothing of it.
func TestCancelled(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ev"), "x")
	ctx, cancel := context.WithCancel(t.Context())
	w := &worker{done: map[string]int{}, hook: func(string) { cancel() }}
	_, err := Run(ctx, []Snapshot{{Name: "a", Evidence: filepath.Join(dir, "ev")}, {Name: "b", Evidence: filepath.Join(dir, "ev")}}, Options{Dir: filepath.Join(dir, "out"), Work: w.work})
	if !errors.Is(err, context.Canceled) || w.done["b"] != 0 {
		t.Errorf("%v, %v", err, w.done)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "out")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func event(ns int64, text string) string {
	return fmt.Sprintf(`{"datetime":"x","timestamp_nanoseconds":"%d","message":"%s"}`+"\n", ns, text)
}

// TestMerge merges more timelines than are open at once, and compares with sorting.
func TestMerge(t *testing.T) {
	dir, rng := t.TempDir(), rand.New(rand.NewSource(1))
	type line struct {
		at   int64
		text string
	}
	var want []line
	const snapshots = 2*maxOpen + 7
	for i := range snapshots {
		name := fmt.Sprintf("s%04d", i)
		content, at := "", int64(-50)
		for j := range rng.Intn(needs.Rounds(30, 6)) {
			at += int64(rng.Intn(4))
			text := strings.Repeat("x", rng.Intn(3)*lineBuffer/2) + fmt.Sprint(j)
			content += event(at, text)
			want = append(want, line{at, strings.TrimSuffix(event(at, text), "}\n") + `,"snapshot":"` + name + `"}`})
		}
		write(t, filepath.Join(dir, "out", name, TimelineFile), content)
		write(t, filepath.Join(dir, "out", name, "containers.jsonl"), `{"id":"`+name+`"}`+"\n")
		write(t, filepath.Join(dir, "out", name, DoneFile), "x")
	}
	write(t, filepath.Join(dir, "out", "half", TimelineFile), "no record") // without _DONE
	slices.SortStableFunc(want, func(a, b line) int { return int(a.at - b.at) })
	m, err := Merge(t.Context(), filepath.Join(dir, "out"), filepath.Join(dir, "merged"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "merged", TimelineFile))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(got) != len(want) || m.Lines[TimelineFile] != int64(len(want)) || m.Snapshots != snapshots {
		t.Fatalf("%d lines, want %d; %v", len(got), len(want), m)
	}
	for i := range got {
		if got[i] != want[i].text {
			t.Fatalf("line %d: got %.200s, want %.200s", i, got[i], want[i].text)
		}
	}
	list, _ := os.ReadDir(filepath.Join(dir, "merged"))
	if len(list) != 2 {
		t.Errorf("files: %v", list)
	}
	if c, _ := os.ReadFile(filepath.Join(dir, "merged", "containers.jsonl")); !strings.HasPrefix(string(c), `{"id":"s0000","snapshot":"s0000"}`+"\n"+`{"id":"s0001"`) {
		t.Errorf("containers: %.100s", c)
	}
	if _, err := Merge(t.Context(), filepath.Join(dir, "out"), filepath.Join(dir, "merged")); err == nil {
		t.Error("merged over what was there")
	}
}

func TestMergeRefuses(t *testing.T) {
	for _, bad := range []string{"text\n", "[]\n", event(2, "a") + event(1, "b"), "{\n"} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "out", "a", TimelineFile), bad)
		write(t, filepath.Join(dir, "out", "a", DoneFile), "x")
		if _, err := Merge(t.Context(), filepath.Join(dir, "out"), filepath.Join(dir, "merged")); err == nil {
			t.Errorf("%q was merged", bad)
		}
		if list, _ := os.ReadDir(dir); len(list) != 1 {
			t.Errorf("%q: left behind: %v", bad, list)
		}
	}
}

func TestTimeOf(t *testing.T) {
	for line, want := range map[string]int64{
		event(-5, ""): -5,
		`{"timestamp_nanoseconds":"99999999999999999999"}`:                              1<<63 - 1,
		`{"timestamp_nanoseconds":"-99999999999999999999"}`:                             -1 << 63,
		`{"timestamp_nanoseconds":"7","message":"x\",\"timestamp_nanoseconds\":\"9\""}`: 7,
		`{"message":""}`: -1 << 63,
	} {
		if got := timeOf([]byte(line)); got != want {
			t.Errorf("%s: %d, want %d", line, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	for name, files := range map[string][2]string{
		"a": {`{"id":"1","name":"web","state":"running"}` + "\n" + `{"id":"2","name":"gone"}` + "\n" + `{"record":"warning","message":"x"}` + "\n",
			`{"container":"1","container_name":"web","path":"/x","change":"added","atime":"1"}` + "\n"},
		"b": {`{"id":"1","name":"web","state":"exited","exit_code":1}` + "\n" + `{"id":"3","name":"new"}` + "\n",
			`{"container":"1","container_name":"web","path":"/x","change":"added","atime":"2"}` + "\n"},
	} {
		write(t, filepath.Join(dir, name, "containers.jsonl"), files[0])
		write(t, filepath.Join(dir, name, "diff.jsonl"), files[1])
		write(t, filepath.Join(dir, name, DoneFile), "x")
	}
	var got []string
	err := Compare(t.Context(), dir, "a", "b", func(d Difference) error {
		s := d.File + " " + d.Change + " " + d.Name
		for _, f := range d.Fields {
			s += fmt.Sprintf(" %s %s>%s", f.Name, f.Old, f.New)
		}
		got = append(got, s)
		return nil
	})
	want := []string{`containers.jsonl changed web 1 exit_code >1 state "running">"exited"`, "containers.jsonl removed gone 2", "containers.jsonl added new 3"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"c", "../" + filepath.Base(dir) + "/a", ""} {
		if err := Compare(t.Context(), dir, "a", bad, nil); err == nil {
			t.Errorf("%q was compared", bad)
		}
	}
}

func TestMetrics(t *testing.T) {
	got := string(Metrics([]Outcome{{State: Done, Seconds: 1.5, Result: Result{Gaps: 2, Bytes: 3}}, {State: Failed}}, 5, time.Unix(9, 0)))
	for _, want := range []string{"lagan_batch_snapshots{state=\"done\"} 1\n", "{state=\"waiting\"} 3\n", "lagan_batch_gaps 2\n", "lagan_batch_seconds 1.5\n", "seconds 9\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}
