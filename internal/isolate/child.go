package isolate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
)

// Child is the process in which the evidence is read. Its methods may be called
// from several goroutines.
type Child struct {
	// Request is what the parent handed over, JSON.
	Request json.RawMessage

	mu     sync.Mutex
	report *os.File
	left   map[string]string
	next   int
}

// Attach returns what this process is as a child, nil where it is none. The
// process ends when its parent does.
func Attach() (*Child, error) {
	if os.Getenv(inherited) == "" {
		return nil, nil
	}
	os.Unsetenv(inherited)
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("reading what to do: %w", err)
	}
	var request json.RawMessage
	o := order{Request: &request}
	if err := json.Unmarshal(line, &o); err != nil {
		return nil, fmt.Errorf("reading what to do: %w", err)
	}
	go func() {
		io.Copy(io.Discard, in) // until the parent's end closes
		os.Exit(1)
	}()
	return &Child{Request: request, report: os.NewFile(reportFD, "report"), left: o.LeftOut}, nil
}

// Begin says that an object is about to be read, and the end of it. An error
// says that an earlier try died of the object: it is to be left out.
func (c *Child) Begin(object string) (end func(), err error) {
	if why, ok := c.left[object]; ok {
		return nil, leftOut(why)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	number := c.next
	c.write(fmt.Sprintf("b %d %d %s\n", number, goroutine(), strconv.Quote(object)))
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.write(fmt.Sprintf("e %d\n", number))
	}, nil
}

// Answer hands the parent the result, once.
func (c *Child) Answer(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write("a " + string(b) + "\n")
	return nil
}

// Done says that the process ends by itself, and how.
func (c *Child) Done(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write(fmt.Sprintf("d %d\n", code))
}

// write can't fail but where the parent is gone, and then this process ends too.
func (c *Child) write(line string) { c.report.WriteString(line) }

// goroutine is this goroutine's number, as a crash names it.
func goroutine() int {
	var b [64]byte
	text := bytes.TrimPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	n, _ := strconv.Atoi(string(digits)) // 0 for what isn't known
	return n
}
