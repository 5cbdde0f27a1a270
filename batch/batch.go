package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"lagan/internal/durable"
)

// The files beside a snapshot's results.
const (
	DoneFile = "_DONE"    // the last that is written: what was done, as a digest
	RunFile  = "run.json" // how it went: the one file that holds times of the analysis
)

// failedEnding ends the name of the file that says why a snapshot failed.
const failedEnding = ".failed.json"

// State is what came of a snapshot.
type State string

// The states.
const (
	Done    State = "done"
	Skipped State = "skipped" // done before, of the same evidence, by the same version with the same options
	Failed  State = "failed"
)

// Result is what the work on a snapshot says of itself; run.json holds it.
type Result struct {
	Gaps   int            `json:"gaps"`
	Bytes  int64          `json:"bytes"` // of evidence
	Counts map[string]int `json:"counts,omitempty"`
	// Detail is more for run.json: the evidence as it was recognised, the gaps.
	Detail any `json:"detail,omitempty"`
}

// Outcome is one line of a batch's report.
type Outcome struct {
	Snapshot Snapshot
	State    State
	Seconds  float64
	Result   Result
	Err      error
}

// Options say how a batch runs.
type Options struct {
	Dir     string // where the folders of snapshots go
	Version string // of the program: another one does everything again
	Config  string // all that changes the results beside the snapshot's own options
	Args    []string
	Jobs    int
	// Hash adds the SHA-256 of the evidence's files to run.json.
	Hash bool
	// Work writes a snapshot's files into a folder.
	Work func(ctx context.Context, s Snapshot, folder string) (Result, error)
	// Ended, if set, is told of each outcome as it is known. It is called from one
	// goroutine at a time.
	Ended func(Outcome)
}

// run is run.json.
type run struct {
	Tool      string         `json:"tool"`
	Version   string         `json:"version"`
	Arguments []string       `json:"arguments"`
	Snapshot  Snapshot       `json:"snapshot"`
	Evidence  []evidenceFile `json:"evidence"`
	Started   time.Time      `json:"started"`
	Finished  time.Time      `json:"finished"`
	Seconds   float64        `json:"seconds"`
	Host      string         `json:"host,omitempty"`
	Error     string         `json:"error,omitempty"`
	Result
}

// evidenceFile says which file was read, so that another one isn't taken for it.
type evidenceFile struct {
	Path     string    `json:"path"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified,omitzero"`
	SHA256   string    `json:"sha256,omitempty"`
}

// Run works on snapshots, Jobs at a time, and returns what came of each, in
// their order. One that fails doesn't stop the others; an error is that of the
// batch itself, or of the context.
func Run(ctx context.Context, all []Snapshot, o Options) ([]Outcome, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	out := make([]Outcome, len(all))
	next := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range max(o.Jobs, 1) {
		wg.Go(func() {
			for i := range next {
				if ctx.Err() != nil {
					continue // it waited while the batch was ended
				}
				out[i] = o.one(ctx, all[i])
				if o.Ended != nil && ctx.Err() == nil {
					mu.Lock()
					o.Ended(out[i])
					mu.Unlock()
				}
			}
		})
	}
	for i := range all {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return out, ctx.Err()
}

// one does a snapshot, unless it is done.
func (o *Options) one(ctx context.Context, s Snapshot) Outcome {
	began := time.Now()
	out := Outcome{Snapshot: s}
	r := run{Tool: "lagan", Version: o.Version, Arguments: o.Args, Snapshot: s, Started: began.UTC()}
	r.Host, _ = os.Hostname()
	files, digest, err := o.identify(s)
	if err == nil {
		r.Evidence = files
		if was, ok := o.done(s, digest); ok {
			out.State, out.Result, out.Seconds = Skipped, was.Result, was.Seconds
			return out
		}
		err = o.sum(ctx, &r)
	}
	if err == nil {
		err = o.write(ctx, s, digest, &r)
	}
	out.Result, out.State = r.Result, Done
	if err == nil {
		err = removed(o.failedFile(s))
	}
	out.Seconds = time.Since(began).Seconds()
	if was, ok := o.done(s, digest); err != nil && digest != "" && ok {
		// Another process has done the same, and took this one's folder for one left behind.
		out.State, out.Result, out.Seconds = Skipped, was.Result, was.Seconds
		return out
	}
	if err != nil {
		out.State, out.Err = Failed, err
		r.Error, r.Seconds, r.Finished = err.Error(), out.Seconds, time.Now().UTC()
		if ctx.Err() == nil {
			if err := writeJSON(o.failedFile(s), &r); err != nil {
				out.Err = errors.Join(out.Err, err)
			}
		}
	}
	return out
}

func (o *Options) failedFile(s Snapshot) string { return filepath.Join(o.Dir, s.Name+failedEnding) }

func removed(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// identify returns the evidence's files and the digest of all that the results
// depend on. Where evidence lies doesn't matter, and what it is called does:
// the results name it.
func (o *Options) identify(s Snapshot) ([]evidenceFile, string, error) {
	var files []evidenceFile
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q %q %q\n", o.Version, o.Config, s.Name, s.Options)
	for _, path := range append([]string{s.Evidence}, s.Disks...) {
		if elsewhere.MatchString(path) {
			files = append(files, evidenceFile{Path: path, Size: -1})
			fmt.Fprintf(sum, "%q\n", path)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, "", err
		}
		f := evidenceFile{Path: path, Size: info.Size(), Modified: info.ModTime().UTC()}
		if info.IsDir() {
			f.Size = -1
		}
		files = append(files, f)
		fmt.Fprintf(sum, "%q %d %d\n", filepath.Base(path), f.Size, f.Modified.UnixNano())
	}
	return files, hex.EncodeToString(sum.Sum(nil)), nil
}

// done says whether a snapshot's folder is whole and of this digest.
func (o *Options) done(s Snapshot, digest string) (run, bool) {
	var was run
	dir := filepath.Join(o.Dir, s.Name)
	b, err := readFile(filepath.Join(dir, DoneFile))
	if err != nil || strings.TrimSpace(string(b)) != digest {
		return was, false
	}
	if b, err = readFile(filepath.Join(dir, RunFile)); err != nil || json.Unmarshal(b, &was) != nil {
		return was, false
	}
	return was, !o.Hash || len(was.Evidence) > 0 && (was.Evidence[0].SHA256 != "" || was.Evidence[0].Size < 0)
}

// sum adds the digests of the evidence's files, if they are asked for.
func (o *Options) sum(ctx context.Context, r *run) error {
	for i := range r.Evidence {
		f := &r.Evidence[i]
		if !o.Hash || f.Size < 0 {
			continue
		}
		in, err := os.Open(f.Path)
		if err != nil {
			return err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, contextReader{ctx, in})
		in.Close()
		if err != nil {
			return fmt.Errorf("hashing %s: %w", f.Path, err)
		}
		f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	return nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// tempPrefix begins the names of folders that are being written: hidden, and
// known by the snapshot's name, so that the next run takes them away.
func tempPrefix(s Snapshot) string { return "." + s.Name + tempPart }

// tempPart is in no snapshot's name.
const tempPart = ".tmp-"

// write does the work in a temporary folder and gives it its name.
func (o *Options) write(ctx context.Context, s Snapshot, digest string, r *run) (err error) {
	if err := o.clean(s); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(o.Dir, tempPrefix(s))
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if r.Result, err = o.guarded(ctx, s, tmp); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.Finished = time.Now().UTC()
	r.Seconds = r.Finished.Sub(r.Started).Seconds()
	if err := writeJSON(filepath.Join(tmp, RunFile), r); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, DoneFile), []byte(digest+"\n"), 0o644); err != nil {
		return err
	}
	if err := durable.Tree(tmp); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	place := filepath.Join(o.Dir, s.Name)
	if err := o.displace(s, place); err != nil {
		return err
	}
	if err := os.Rename(tmp, place); err != nil {
		return err
	}
	return errors.Join(durable.Name(place), o.clean(s))
}

// guarded does the work; a panic is its error.
func (o *Options) guarded(ctx context.Context, s Snapshot, folder string) (r Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error, please report it: %v", p)
		}
	}()
	return o.Work(ctx, s, folder)
}

// removeTries is how often clean removes a folder: the process of an earlier run
// may be ending while it still writes there.
const removeTries = 20

// clean removes what an earlier run left behind.
func (o *Options) clean(s Snapshot) error {
	list, err := os.ReadDir(o.Dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), tempPrefix(s)) || strings.HasPrefix(e.Name(), "."+s.Name+failedEnding+".") {
			err = errors.Join(err, removeAll(filepath.Join(o.Dir, e.Name())))
		}
	}
	return err
}

func removeAll(path string) (err error) {
	for try := range removeTries {
		if err = os.RemoveAll(path); err == nil {
			break
		}
		time.Sleep(time.Duration(try) * time.Millisecond)
	}
	return err
}

// displace moves results of another version or other options out of the way.
// A folder that no batch made stays, and is an error.
func (o *Options) displace(s Snapshot, place string) error {
	if _, err := os.Lstat(place); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(place, DoneFile)); err != nil {
		return fmt.Errorf("%s is there already, and not a batch's: %w", place, err)
	}
	old, err := os.MkdirTemp(o.Dir, tempPrefix(s))
	if err != nil {
		return err
	}
	return os.Rename(place, filepath.Join(old, "old"))
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(path, append(b, '\n'))
}

// WriteFile writes a file whole or not at all.
func WriteFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
