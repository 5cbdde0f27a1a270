package builds

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/internal/node"
	"lagan/runtimes/internal/traces"
	"lagan/runtimes/oci"
)

// executorDir holds a bundle for each step that runs: executor/runcexecutor/executor.go
// of buildkit removes it when the step ends.
const executorDir = "executor"

// Steps returns the steps whose bundles are there: they ran when the disk was
// copied, or when the builder died. What can't be read is handed to fail.
func (d Dir) Steps(fail func(error)) []runtimes.Build {
	dir := d.join(executorDir)
	names := node.Entries(d.FS, d.Node, dir)
	slices.Sort(names)
	var out []runtimes.Build
	for _, name := range names {
		file := dir + "/" + name + "/config.json"
		raw, err := evidence.ReadFile(d.FS, d.Node, file, maxDocument)
		if errors.Is(err, fs.ErrNotExist) || err != nil && isFile(d.FS, d.Node, dir+"/"+name) {
			continue // hosts, resolv.conf, runc-log.json
		}
		b := runtimes.Build{Runtime: d.Runtime, StorePath: d.StorePath, Kind: runtimes.BuildStep, ID: name, Type: "exec", Size: -1,
			Created: traces.Born(d.FS, d.Node, dir+"/"+name), File: file}
		if err == nil {
			err = describeStep(&b, raw)
		}
		if err != nil {
			fail(fmt.Errorf("%s: %w", file, err))
		}
		out = append(out, b)
	}
	return out
}

// describeStep takes what a bundle's specification says of the step.
func describeStep(b *runtimes.Build, raw []byte) error {
	var spec struct {
		Process struct {
			Args []string `json:"args"`
			Env  []string `json:"env"`
			Cwd  string   `json:"cwd"`
		} `json:"process"`
	}
	if err := oci.Decode(raw, &spec); err != nil {
		return err
	}
	b.Name = strings.Join(spec.Process.Args, " ")
	b.Options = map[string]string{}
	if spec.Process.Cwd != "" {
		b.Options["cwd"] = spec.Process.Cwd
	}
	for _, e := range spec.Process.Env {
		k, v, _ := strings.Cut(e, "=")
		b.Options["env:"+k] = v
	}
	return nil
}

func isFile(fsys evidence.FS, top evidence.Ino, path string) bool {
	ino, err := evidence.Resolve(fsys, top, path, true)
	if err != nil {
		return false
	}
	info, err := fsys.Stat(ino)
	return err == nil && info.Type != evidence.TypeDir
}
