//go:build unix

// Command events measures the timeline's writers: it makes so many events, of
// files and of logs, in an order of no time, and writes them sorted. It prints
// events a second, the processor's time and the memory, and checks the order.
//
//	go run ./scripts/events -n 10000000 -format jsonl -o /tmp/events.jsonl
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"lagan/timeline"
)

func main() {
	n := flag.Int("n", 10_000_000, "events to make")
	format := flag.String("format", "jsonl", "format to write")
	out := flag.String("o", os.DevNull, "file to write")
	check := flag.Bool("check", true, "read the file and check its order (jsonl)")
	flag.Parse()
	if err := run(*n, timeline.Format(*format), *out, *check); err != nil {
		log.Fatal(err)
	}
}

func run(n int, format timeline.Format, name string, check bool) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	began := time.Now()
	w, err := timeline.NewWriter(timeline.Options{}, timeline.Output{W: f, Format: format})
	if err != nil {
		return err
	}
	defer w.Close()
	if err := make10(n, w.Add); err != nil {
		return err
	}
	added := time.Since(began)
	if err := w.Finish(context.Background()); err != nil {
		return err
	}
	took := time.Since(began)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	user, system := time.Duration(usage.Utime.Nano()), time.Duration(usage.Stime.Nano())
	fmt.Printf("%s: %d events in %.1f s (%.1f s of it to add them): %.0f a second on %d processors; processor %.1f s user, %.1f s system: %.0f a second of one; %d MiB resident\n",
		format, w.Written(), took.Seconds(), added.Seconds(), float64(w.Written())/took.Seconds(), runtime.GOMAXPROCS(0), user.Seconds(), system.Seconds(),
		float64(w.Written())/(user+system).Seconds(), usage.Maxrss>>10)
	if check && format == timeline.JSONL && name != os.DevNull {
		return ordered(name, int(w.Written()))
	}
	return nil
}

// make10 makes ten events at a time: two files with four times each, and two
// lines of logs.
func make10(n int, add func(*timeline.Record) error) error {
	node, web := commons()
	start := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	var r timeline.Record
	path := make([]byte, 0, 200)
	for i := 0; i*10 < n; i++ {
		// A multiplication by an odd number goes through all times in no order.
		at := start.Add(time.Duration(uint32(i)*2654435761>>4) * 31 * time.Microsecond)
		for k := range 2 {
			path = fmt.Appendf(path[:0], "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/%d/fs/usr/lib/d%d/file-%d.py", i%97, i%61, 2*i+k)
			r.Reset(timeline.FSStat, node)
			r.PathBytes("NODE:", path)
			r.File(timeline.RegularFile, 0o644)
			r.Int(timeline.FieldFileSize, int64(i%9000))
			r.Uint(timeline.FieldInode, uint64(2*i+k))
			r.Bool(timeline.FieldIsAllocated, true)
			r.Int(timeline.FieldNumberOfLinks, 1)
			r.Int(timeline.FieldOwnerIdentifier, 0)
			r.Int(timeline.FieldGroupIdentifier, 0)
			r.Template(timeline.FileMessage)
			r.Time(timeline.Modified, at)
			r.Time(timeline.Accessed, at.Add(time.Duration(i%1000)*time.Hour))
			r.Time(timeline.MetadataChanged, at)
			r.Time(timeline.Created, at.Add(-time.Duration(i%7)*time.Second))
			if err := add(&r); err != nil {
				return err
			}
		}
		for k := range 2 {
			r.Reset(timeline.CRILogEntry, web)
			r.Path("NODE:", "/var/log/pods/default_web_uid/nginx/0.log")
			r.Int(timeline.FieldOffset, int64(i)*200+int64(k))
			r.Time(timeline.Modified, at.Add(time.Duration(k)*time.Millisecond))
			r.String(timeline.FieldStream, "stdout")
			path = append(strconv.AppendInt(append(path[:0], `10.0.3.7 - - "GET /index.html?n=`...), int64(i), 10), ` HTTP/1.1" 200 615`...)
			r.Bytes(timeline.FieldBody, path)
			r.Bytes(timeline.FieldMessageBody, path)
			r.Template(logLine)
			if err := add(&r); err != nil {
				return err
			}
		}
	}
	return nil
}

var logLine = timeline.NewTemplate("[{container_name}] {message_body}")

// commons are what the files of a node and the lines of a container share.
func commons() (node, web *timeline.Common) {
	var r timeline.Record
	r.Reset(timeline.Unknown, nil)
	r.String(timeline.FieldParser, "lagan/filesystem")
	r.String(timeline.FieldHostname, "ip-10-0-1-17")
	r.String(timeline.FieldEvidence, "node.img, volume 1")
	r.String(timeline.FieldFileSystemType, "ext4")
	node = r.Common()
	r.Reset(timeline.Unknown, nil)
	r.String(timeline.FieldParser, "lagan/cri_log")
	r.String(timeline.FieldHostname, "ip-10-0-1-17")
	r.String(timeline.FieldContainerID, "a8666bc29f51f6e4eca620bf20470be30d62844cffd76d9e7801843563cc3b8d")
	r.String(timeline.FieldContainerName, "nginx")
	r.String(timeline.FieldKubernetesNamespace, "default")
	r.String(timeline.FieldKubernetesPodName, "web-7c5ddbdf54-x2k9q")
	r.String(timeline.FieldImageName, "docker.io/library/nginx:1.25.3")
	return node, r.Common()
}

// ordered checks that the lines of a file are as many and in the order of time.
func ordered(name string, want int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	last, n := int64(-1<<63), 0
	for {
		line, err := in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		if err != nil {
			return err
		}
		_, rest, _ := bytes.Cut(line, []byte(`"timestamp":`))
		digits, _, _ := bytes.Cut(rest, []byte(","))
		at, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		if at < last {
			return fmt.Errorf("line %d is before the one before it", n+1)
		}
		last = at
		n++
	}
	if n != want {
		return fmt.Errorf("%d lines, not %d", n, want)
	}
	fmt.Printf("%d lines in order\n", n)
	return nil
}
