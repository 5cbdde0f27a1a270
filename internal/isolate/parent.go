package isolate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Job is work for a child.
type Job struct {
	Args    []string // the command first
	Request any      // becomes Child.Request
	Stdout  *os.File // truncated before each try
	Memory  int64    // resident bytes that end the child, 0: any number
	// Died, if set, is told why there is another try.
	Died func(Death)
}

// End is how the child ended that ended by itself.
type End struct {
	Code   int
	Said   []byte          // on standard error, the beginning of it
	Answer json.RawMessage // of Child.Answer
	Deaths []Death
}

// Run does the work, again without an object where the child died of it.
func Run(ctx context.Context, j Job) (*End, error) {
	left := map[string]string{}
	var deaths []Death
	serial := false
	for range maxTries {
		t := try{job: &j, open: map[int]object{}, serial: serial}
		if err := t.run(ctx, order{LeftOut: left, Request: j.Request}); err != nil {
			return nil, err
		}
		if t.done {
			return &End{Code: t.code, Said: t.said.Bytes(), Answer: t.answer, Deaths: deaths}, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		why, of := t.blame()
		if of == nil && len(t.open) > 1 && !serial {
			serial = true // one after the other: the last that began is the one
			continue
		}
		if of == nil {
			return nil, fmt.Errorf("%w: %s", ErrDied, why)
		}
		left[of.name] = why
		deaths = append(deaths, Death{of.name, why})
		if j.Died != nil {
			j.Died(deaths[len(deaths)-1])
		}
	}
	return nil, fmt.Errorf("%w: %d times, the last time of %s: %s", ErrDied, maxTries, deaths[len(deaths)-1].Object, deaths[len(deaths)-1].Why)
}

// try is one child.
type try struct {
	job    *Job
	serial bool
	open   map[int]object // by the number of their beginning
	said   bytes.Buffer
	answer json.RawMessage
	done   bool
	code   int
	killed string // by this process, and why
	state  *os.ProcessState
}

type object struct {
	number, goroutine int
	name              string
}

// run starts the child and follows it to its end.
func (t *try) run(ctx context.Context, o order) error {
	first, err := json.Marshal(o)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	pipes, err := newPipes()
	if err != nil {
		return err
	}
	defer pipes.close()
	if err := rewind(t.job.Stdout); err != nil {
		return err
	}
	env := append(os.Environ(), fmt.Sprintf("%s=%d", inherited, reportFD))
	if t.serial {
		env = append(env, "GOMAXPROCS=1")
	}
	// The thread that starts the child has to live as long as the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := os.StartProcess(program, append([]string{os.Args[0]}, t.job.Args...), &os.ProcAttr{
		Env: env, Files: []*os.File{pipes.in[0], t.job.Stdout, pipes.errs[1], pipes.report[1]}, Sys: withParent(),
	})
	if err != nil {
		return fmt.Errorf("starting a process to read the evidence in: %w", err)
	}
	pipes.started()
	said := make(chan struct{})
	go func() {
		io.Copy(&t.said, io.LimitReader(pipes.errs[0], maxSaid))
		io.Copy(io.Discard, pipes.errs[0])
		close(said)
	}()
	go pipes.in[1].Write(append(first, '\n')) // open until the end of run: the child's lifeline
	watched := t.watch(ctx, p)
	t.follow(pipes.report[0])
	t.state, err = p.Wait()
	watched()
	<-said
	return err
}

func rewind(f *os.File) error {
	if f == nil {
		return nil
	}
	_, err := f.Seek(0, io.SeekStart)
	return errors.Join(err, f.Truncate(0))
}

// follow reads the report to its end.
func (t *try) follow(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxReport)
	for lines.Scan() {
		kind, rest, _ := strings.Cut(lines.Text(), " ")
		switch kind {
		case "b":
			var o object
			var quoted string
			if f := strings.SplitN(rest, " ", 3); len(f) == 3 {
				o.number, _ = strconv.Atoi(f[0])
				o.goroutine, _ = strconv.Atoi(f[1])
				quoted = f[2]
			}
			var err error
			if o.name, err = strconv.Unquote(quoted); err == nil && len(t.open) < maxOpen {
				t.open[o.number] = o
			}
		case "e":
			number, _ := strconv.Atoi(rest)
			delete(t.open, number)
		case "a":
			t.answer = json.RawMessage(rest)
		case "d":
			code, err := strconv.Atoi(rest)
			t.done, t.code = err == nil, code
		}
	}
	io.Copy(io.Discard, r) // after a line that is too long
}

// watch passes the end of the context on to the child, and ends one that takes
// too much memory. The caller ends the watch.
func (t *try) watch(ctx context.Context, p *os.Process) (end func()) {
	over, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		ended := ctx.Done()
		for {
			select {
			case <-over:
				return
			case <-ended:
				p.Signal(syscall.SIGTERM)
				ended = nil
			case <-tick.C:
				if n := resident(p.Pid); t.job.Memory > 0 && n > t.job.Memory && t.killed == "" {
					t.killed = fmt.Sprintf("%d MiB of memory", n>>20)
					p.Kill()
				}
			}
		}
	}()
	return func() { close(over); <-stopped }
}

// resident is a process's memory, 0 where /proc doesn't tell.
func resident(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	f := strings.Fields(string(b))
	if err != nil || len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// What a dying Go program says: runtime/panic.go, runtime/traceback.go.
var (
	deadly  = regexp.MustCompile(`(?m)^(?:fatal error|panic): (.*)$`)
	running = regexp.MustCompile(`(?m)^goroutine (\d+) (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\[running`)
)

// blame says why the child died and which object it died of: what the goroutine
// had begun last that the crash names; else the last of all, where only one was
// read at a time.
func (t *try) blame() (why string, of *object) {
	why = t.killed
	if m := deadly.FindSubmatch(t.said.Bytes()); why == "" && m != nil {
		why = string(m[1])
	}
	if why == "" {
		why = t.state.String()
	}
	var all []object
	for _, o := range t.open {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b object) int { return b.number - a.number })
	if m := running.FindSubmatch(t.said.Bytes()); m != nil {
		number, _ := strconv.Atoi(string(m[1]))
		if i := slices.IndexFunc(all, func(o object) bool { return o.goroutine == number }); i >= 0 {
			return why, &all[i]
		}
	}
	if len(all) == 1 || t.serial && len(all) > 0 {
		return why, &all[0]
	}
	return why, nil
}

// pipes lead to and from a child; [0] is the end to read.
type pipes struct{ in, errs, report [2]*os.File }

func newPipes() (p *pipes, err error) {
	p = &pipes{}
	for _, pair := range []*[2]*os.File{&p.in, &p.errs, &p.report} {
		if pair[0], pair[1], err = os.Pipe(); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// started closes the child's ends.
func (p *pipes) started() {
	for _, f := range []*os.File{p.in[0], p.errs[1], p.report[1]} {
		f.Close()
	}
}

func (p *pipes) close() {
	for _, pair := range [][2]*os.File{p.in, p.errs, p.report} {
		for _, f := range pair {
			if f != nil {
				f.Close() // a second close is an error that says nothing
			}
		}
	}
}
