// Package batch holds what runs lagan's batches on clusters; see docs/batch.md.
package batch

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"lagan/fixtures"
	"lagan/internal/needs"
)

// build makes the program.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lagan")
	cmd := exec.Command("go", "build", "-o", path, "lagan/cmd/lagan")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// commands are those that the files for engines give to the program.
func commands(t *testing.T) map[string][]string {
	t.Helper()
	var job struct {
		Spec struct {
			Template struct {
				Spec struct{ Containers []struct{ Args []string } }
			}
		}
	}
	var flow struct {
		Spec struct {
			Templates []struct {
				Name      string
				Container struct{ Args []string }
			}
		}
	}
	var definition struct {
		ContainerProperties struct{ Command []string } `yaml:"containerProperties"`
	}
	for name, v := range map[string]any{"kubernetes.yaml": &job, "argo.yaml": &flow, "aws-batch.json": &definition} {
		b, err := os.ReadFile(name)
		if err == nil && strings.HasSuffix(name, ".json") && !json.Valid(b) {
			t.Errorf("%s is no JSON", name)
		}
		if err == nil {
			err = yaml.Unmarshal(b, v) // which JSON is too
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	out := map[string][]string{"kubernetes": job.Spec.Template.Spec.Containers[0].Args, "aws": definition.ContainerProperties.Command}
	for _, tmpl := range flow.Spec.Templates {
		if len(tmpl.Container.Args) > 0 {
			out["argo "+tmpl.Name] = tmpl.Container.Args
		}
	}
	return out
}

// TestCommands runs what the engines would run, with folders of the test's in
// the places of the volumes, and the index in the engine's own variable.
func TestCommands(t *testing.T) {
	needs.Time(t)
	program, dir := build(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "manifest.csv"), []byte("evidence,name\n"+fixtures.Path("podman-ext4.img.zst")+",one\n"+fixtures.Path("podman-ext4.img.zst")+",two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := commands(t)
	if len(all) != 5 {
		t.Fatalf("%d commands: %q", len(all), all)
	}
	for _, c := range []struct{ name, env, prints, leaves string }{
		{"argo count", "", "2\n", ""},
		{"kubernetes", "JOB_COMPLETION_INDEX=1", "two ", "kubernetes/two/_DONE"},
		{"aws", "AWS_BATCH_JOB_ARRAY_INDEX=0", "one ", "aws/one/_DONE"},
		{"argo snapshot", "", "two ", "argo snapshot/snapshots/two/_DONE"},
		{"argo merge", "", "", "argo snapshot/merged/containers.jsonl"},
	} {
		results := filepath.Join(dir, strings.ReplaceAll(c.name, "merge", "snapshot"))
		if err := os.MkdirAll(results, 0o755); err != nil {
			t.Fatal(err)
		}
		args := slices.Clone(all[c.name])
		for i, a := range args {
			args[i] = strings.NewReplacer("{{inputs.parameters.index}}", "1", "/results", results, "/evidence", dir, "/scratch", dir, "/tmp", dir).Replace(a)
		}
		if args[1] != "merge" && c.leaves != "" {
			args = append(args, "--tasks", "containers")
		}
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "SLURM_ARRAY_TASK_ID=", c.env)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), c.prints) {
			t.Errorf("%s: %q: %v: %s%s", c.name, args, err, out, errs.String())
		}
		if _, err := os.Stat(filepath.Join(dir, c.leaves)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestOpenRelik runs the worker's task, with modules of ours in the place of OpenRelik's.
func TestOpenRelik(t *testing.T) {
	python := needs.Tool(t, "python3")
	cmd := exec.Command(python, "openrelik/test_tasks.py", fixtures.Path("podman-ext4.img.zst"))
	cmd.Env = append(os.Environ(), "LAGAN="+build(t), "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), " in files that OpenRelik is told of") {
		t.Errorf("%v: %s", err, out)
	}
}
