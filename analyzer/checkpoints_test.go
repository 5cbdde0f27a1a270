package analyzer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
