package timeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Format is a form of output.
type Format string

// The formats.
const (
	JSONL    Format = "jsonl"    // Timesketch's
	CSV      Format = "csv"      // the same fields
	L2TCSV   Format = "l2tcsv"   // log2timeline's 17 columns
	Bodyfile Format = "bodyfile" // The Sleuth Kit's: files only, not sorted
	Plaso    Format = "plaso"    // plaso's storage file, an SQLite database
	ECS      Format = "ecs"      // Elastic Common Schema, for the bulk interface
)

// formats lists what can be written, the default first, with the endings of
// files that tell it and what renders it; a Bodyfile's lines need no order and
// are rendered as records come.
var formats = []struct {
	format  Format
	endings []string
	encoder func(*Sorter) encoder
}{
	{JSONL, []string{".jsonl", ".json"}, func(s *Sorter) encoder { return &jsonl{commons: s.commons} }},
	{CSV, []string{".csv"}, func(s *Sorter) encoder { return newCSV(s) }},
	{L2TCSV, []string{".l2tcsv"}, func(s *Sorter) encoder { return &l2tcsv{commons: s.commons} }},
	{TLN, []string{".tln"}, newTLN},
	{Bodyfile, []string{".body", ".bodyfile", ".mactime"}, nil},
	{Plaso, []string{".plaso"}, func(s *Sorter) encoder { return newPlaso(s) }},
	{ECS, []string{".ndjson"}, func(s *Sorter) encoder { return &ecs{commons: s.commons} }},
}

// Formats lists what can be written, the default first.
var Formats = func() (all []Format) {
	for _, f := range formats {
		all = append(all, f.format)
	}
	return all
}()

// ParseFormat returns the format of a name; "" is the default.
func ParseFormat(name string) (Format, error) {
	if name == "" {
		return Formats[0], nil
	}
	known := make([]string, len(Formats))
	for i, f := range Formats {
		if string(f) == name {
			return f, nil
		}
		known[i] = string(f)
	}
	return "", fmt.Errorf("no timeline format is called %q; there are %s", name, strings.Join(known, ", "))
}

// FormatOf returns the format that the ending of a file's name tells.
func FormatOf(name string) (Format, bool) {
	ending := strings.ToLower(path.Ext(name))
	for _, f := range formats {
		if slices.Contains(f.endings, ending) {
			return f.format, true
		}
	}
	return "", false
}

// Output is one file to write.
type Output struct {
	W      io.Writer
	Format Format
}

// Options of a Writer. The zero value is the default.
type Options struct {
	// Memory bounds what is kept to be sorted; 0 is 160 MiB. What is more goes
	// to a temporary file in TempDir, by default the system's.
	Memory  int64
	TempDir string
	// Jobs is how many goroutines render lines; 0: one a core. It changes no byte.
	Jobs int
	// PlasoVersion is the version of plaso's storage file, one of PlasoVersions; 0: the newest.
	PlasoVersion int
	// Filter says which events are kept.
	Filter Filter
	// Progress, where set, is told how many of how many events are written.
	Progress func(done, total int64)
	// Stats says that what is kept is counted too.
	Stats bool
}

// encoder renders events, in one goroutine.
type encoder interface {
	// header appends what stands before the first event.
	header(dst []byte) []byte
	// append appends events. All events of one record and time come together.
	append(dst []byte, items []item) ([]byte, error)
}

// newEncoder returns an encoder for events of s.
func newEncoder(format Format, s *Sorter) (encoder, error) {
	for _, f := range formats {
		if f.format == format && f.encoder != nil {
			return f.encoder(s), nil
		}
	}
	return nil, fmt.Errorf("no such timeline format: %q", format)
}

// Writer takes records in any order and writes them to each of its outputs, in
// order. Bodyfiles are not ordered: their lines are written as records come.
type Writer struct {
	opt     Options
	sorter  *Sorter
	sorted  []Output
	bodies  []*bodyOutput
	plasos  []*plasoFile
	mu      sync.Mutex // of bodies, filter and stats
	filter  *filter
	stats   *Stats
	written atomic.Int64
}

type bodyOutput struct {
	w   io.Writer
	enc bodyfile
	buf []byte
	err error
}

// bodyBuffer is what is written to a bodyfile at a time.
const bodyBuffer = 1 << 20

// NewWriter returns a writer. Its Finish writes; its Close must be called in any case.
func NewWriter(o Options, outputs ...Output) (*Writer, error) {
	w := &Writer{opt: o, filter: newFilter(o.Filter)}
	if o.Stats {
		w.stats = newStats()
	}
	for _, out := range outputs {
		if out.Format == Bodyfile {
			w.bodies = append(w.bodies, &bodyOutput{w: out.W, buf: make([]byte, 0, bodyBuffer+64<<10)})
			continue
		}
		if _, err := newEncoder(out.Format, &Sorter{}); err != nil {
			return nil, err
		}
		if out.Format == Plaso {
			file, err := newPlasoFile(out.W, o)
			if err != nil {
				return nil, errors.Join(err, w.Close())
			}
			w.plasos, out.W = append(w.plasos, file), file
		}
		w.sorted = append(w.sorted, out)
	}
	if len(w.sorted) > 0 {
		w.sorter = NewSorter(o.Memory, o.TempDir)
	}
	return w, nil
}

// Add takes a record, which may be reused afterwards. It may be called from
// several goroutines; the order of a bodyfile's lines is then theirs.
func (w *Writer) Add(r *Record) error {
	if !w.keep(r) {
		return nil
	}
	if len(w.bodies) > 0 {
		if err := w.addBodies(r); err != nil {
			return err
		}
	}
	if w.sorter == nil {
		return nil
	}
	return w.sorter.Add(r)
}

// keep filters and counts.
func (w *Writer) keep(r *Record) bool {
	if w.filter.all() && w.stats == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.filter.keep(r) {
		return false
	}
	if w.stats != nil {
		w.stats.add(r)
	}
	return true
}

// Stats returns what was counted, nil where Options didn't ask for it.
func (w *Writer) Stats() *Stats { return w.stats }

func (w *Writer) addBodies(r *Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.bodies {
		if b.err != nil {
			return b.err
		}
		before := len(b.buf)
		b.buf, b.err = b.enc.record(b.buf, r)
		if len(b.buf) > before {
			w.written.Add(1)
		}
		if len(b.buf) >= bodyBuffer {
			b.flush()
		}
		if b.err != nil {
			return b.err
		}
	}
	return nil
}

func (b *bodyOutput) flush() {
	if b.err == nil && len(b.buf) > 0 {
		if _, err := b.w.Write(b.buf); err != nil {
			b.err = fmt.Errorf("writing bodyfile: %w", err)
		}
	}
	b.buf = b.buf[:0]
}

// Written returns how many events were written so far.
func (w *Writer) Written() int64 { return w.written.Load() }

// Events returns how many events were added, those of bodyfiles alone apart.
func (w *Writer) Events() int64 {
	if w.sorter == nil {
		return 0
	}
	n, _ := w.sorter.Len()
	return n
}

// Close gives up memory and temporary files. What Finish didn't write is lost.
func (w *Writer) Close() error {
	var failed error
	for _, p := range w.plasos {
		failed = errors.Join(failed, p.close())
	}
	w.plasos = nil
	if w.sorter == nil {
		return failed
	}
	return errors.Join(failed, w.sorter.Close())
}

// Finish orders and writes everything. Records can't be added afterwards.
func (w *Writer) Finish(ctx context.Context) error {
	var failed error
	for _, b := range w.bodies {
		b.flush()
		failed = errors.Join(failed, b.err)
	}
	if w.sorter == nil || failed != nil {
		return failed
	}
	if err := w.write(ctx); err != nil {
		return err
	}
	for _, p := range w.plasos {
		if err := p.finish(); err != nil {
			return fmt.Errorf("writing %s: %w", Plaso, err)
		}
	}
	return nil
}

// write runs the pipeline: one goroutine takes batches from the sorter, some
// render them, and the caller's writes them in their order.
func (w *Writer) write(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs := w.opt.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	depth := jobs + 2
	free := make(chan *batch, depth) // batches to fill
	todo := make(chan *batch, depth) // filled, to be rendered
	order := make(chan *batch, depth)
	for range depth {
		free <- &batch{done: make(chan struct{}, 1), outs: make([][]byte, len(w.sorted))}
	}
	if err := w.headers(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for range jobs {
		wg.Go(func() { w.render(todo) })
	}
	var sortErr error
	wg.Go(func() {
		defer close(order)
		defer close(todo)
		sortErr = w.produce(ctx, free, todo, order)
	})
	var failed error
	for b := range order {
		<-b.done
		if failed == nil {
			failed = w.writeBatch(b)
		}
		if failed != nil {
			cancel()
		}
		free <- b
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	return sortErr
}

// headers writes what stands before the first event.
func (w *Writer) headers() error {
	for _, out := range w.sorted {
		e, err := newEncoder(out.Format, w.sorter)
		if err != nil {
			return err
		}
		if h := e.header(nil); len(h) > 0 {
			if _, err := out.W.Write(h); err != nil {
				return fmt.Errorf("writing %s: %w", out.Format, err)
			}
		}
	}
	return nil
}

// produce hands batches on until there are no more or ctx is done.
func (w *Writer) produce(ctx context.Context, free <-chan *batch, todo, order chan<- *batch) error {
	for b, err := range w.sorter.batches(ctx, func() *batch { return <-free }) {
		if err != nil {
			return err
		}
		order <- b
		todo <- b
	}
	return nil
}

// render renders batches for each output.
func (w *Writer) render(todo <-chan *batch) {
	encoders := make([]encoder, len(w.sorted))
	for b := range todo {
		b.err = nil
		for i, out := range w.sorted {
			if encoders[i] == nil {
				encoders[i], b.err = newEncoder(out.Format, w.sorter)
			}
			if b.err == nil {
				b.outs[i], b.err = encoders[i].append(b.outs[i][:0], b.items)
			}
		}
		b.done <- struct{}{}
	}
}

func (w *Writer) writeBatch(b *batch) error {
	if b.err != nil {
		return b.err
	}
	for i, out := range w.sorted {
		if len(b.outs[i]) == 0 {
			continue
		}
		if _, err := out.W.Write(b.outs[i]); err != nil {
			return fmt.Errorf("writing %s: %w", out.Format, err)
		}
	}
	done := w.written.Add(int64(len(b.items)))
	if w.opt.Progress != nil {
		w.opt.Progress(done, w.sorter.events)
	}
	return nil
}
