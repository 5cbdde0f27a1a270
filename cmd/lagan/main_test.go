package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"lagan/fixtures"
	"lagan/internal/needs"
)

var update = flag.Bool("update", false, "write what the scripts print into their files")

// tellPeak, in the environment, has the program end with its largest resident
// size in KiB, where the system tells it.
const tellPeak = "LAGAN_TEST_PEAK"

// tellMisbehaving, in the environment, adds decoders that misbehave.
const tellMisbehaving = "LAGAN_TEST_MISBEHAVING"

func TestMain(m *testing.M) {
	program := func() {
		debug.SetMaxStack(maxStack)
		if os.Getenv(tellMisbehaving) != "" {
			registerMisbehaving()
		}
		// Opened before the process confines itself. getrusage won't do: it counts
		// the parent, whose memory a child has until it starts its own program.
		status, err := os.Open("/proc/self/status")
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		code := runConfined(ctx, arguments(os.Args), os.Stdout, os.Stderr)
		stop()
		if err == nil && os.Getenv(tellPeak) != "" {
			b, _ := io.ReadAll(status)
			_, peak, _ := strings.Cut(string(b), "VmHWM:")
			fmt.Fprintf(os.Stderr, "peak %s\n", strings.Join(strings.Fields(peak)[:1], ""))
		}
		os.Exit(code)
	}
	testscript.Main(m, map[string]func(){"lagan": program, "ce": program, "de.py": program})
}

// TestScripts runs the command line as users do. $DOCKER and $EKS are the
// fixtures' raw disks, $PACKED a compressed one.
func TestScripts(t *testing.T) {
	docker, eks := fixtures.Disk(t, "docker-ext4"), fixtures.Disk(t, "eks-xfs")
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("DOCKER", docker)
			e.Setenv("EKS", eks)
			e.Setenv("CHECKPOINT", filepath.Join(filepath.Dir(fixtures.Path("")), "checkpoint", "testdata", "web.tar.gz"))
			e.Setenv("PACKED", fixtures.Path("docker-ext4.img.zst"))
			e.Setenv("TMPDIR", e.WorkDir)
			return nil
		},
		Condition: needs.Condition,
	})
}

// TestJSON checks that every output format of every listing command is whole.
func TestJSON(t *testing.T) {
	needs.Time(t)
	disk := fixtures.Disk(t, "docker-ext4")
	for _, args := range [][]string{
		{"info", disk}, {"containers", disk}, {"images", disk}, {"inspect", disk, "tomcat-prod"}, {"inspect", disk, "@image:tomcat:8.5.19"},
		{"pods", disk}, {"snapshots", disk}, {"contents", disk}, {"volumes", disk}, {"networks", disk}, {"namespaces", disk}, {"tasks", disk}, {"swarm", disk}, {"plugins", disk}, {"builds", disk},
		{"ls", disk, "tomcat-prod", "/etc"}, {"diff", disk, "tomcat-prod"}, {"recover", disk},
	} {
		t.Run(args[0], func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(t.Context(), append(args, "--output", "json"), &out, &errs); code != exitOK {
				t.Fatalf("exit %d: %s", code, errs.String())
			}
			if !json.Valid(out.Bytes()) {
				t.Errorf("not JSON: %.200s", out.String())
			}
			out.Reset()
			if code := run(t.Context(), append(args, "--output", "jsonl"), &out, &errs); code != exitOK {
				t.Fatalf("exit %d: %s", code, errs.String())
			}
			if args[0] == "inspect" {
				return // one object, for people
			}
			for line := range strings.Lines(out.String()) {
				if !json.Valid([]byte(line)) {
					t.Errorf("not JSON: %.200s", line)
				}
			}
		})
	}
}

// TestOutputIsWhole checks that a command that fails leaves nothing behind.
func TestOutputIsWhole(t *testing.T) {
	dir := t.TempDir()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"cat", fixtures.Disk(t, "docker-ext4"), "@node", "/none", "-o", filepath.Join(dir, "x")}, &out, &errs)
	if code != exitFailed {
		t.Errorf("exit %d", code)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCancelled checks that a cancelled command ends with an error and no file.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"timeline", fixtures.Path("docker-ext4.img.zst"), "-o", filepath.Join(dir, "t.jsonl")}, &out, &errs); code != exitFailed {
		t.Errorf("exit %d", code)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
