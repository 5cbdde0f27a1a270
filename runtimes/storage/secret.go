package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// Where Podman keeps secrets: libpod/runtime.go and pkg/secrets of containers/common.
//
//	<graph root>/secrets/secrets.json                  by id: name, driver, times, labels
//	<graph root>/secrets/filedriver/secretsdata.json   by id: the content, in base64
const (
	secretsFile = "secrets/secrets.json"
	secretsData = "secretsdata.json"
	driverFile  = "file"
	optionPath  = "path"

	// healthFile is beside the folder of a container's state, which a disk has no copy
	// of, or where the user wanted it: libpod/healthcheck.go.
	healthFile = "healthcheck.log"
)

// secretJSON is pkg/secrets/secrets.go, Secret.
type secretJSON struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Created string            `json:"createdAt"`
	Updated string            `json:"updatedAt"`
	Driver  string            `json:"driver"`
	Labels  map[string]string `json:"labels"`
	Options map[string]string `json:"driverOptions"`
}

// secretNames returns the names of the secrets that a container was given, as
// files and in its environment.
func (c *containerConfig) secretNames() []string {
	var out []string
	for _, s := range c.Secrets {
		out = append(out, s.Name)
	}
	for _, variable := range sorted(c.SecretEnv) {
		out = append(out, c.SecretEnv[variable].Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Secrets yields the secrets that are recorded, by name, and those of which only
// the content is left. What they say is not read.
func (s *Store) Secrets() iter.Seq2[runtimes.Secret, error] {
	return func(yield func(runtimes.Secret, error) bool) {
		var doc struct {
			Secrets map[string]secretJSON `json:"secrets"`
		}
		err := s.document(join(s.root, secretsFile), &doc)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !yield(runtimes.Secret{}, err) {
			return
		}
		contents := map[string]map[string]any{} // by file: by id
		out := []runtimes.Secret{}
		for _, id := range sorted(doc.Secrets) {
			j := doc.Secrets[id]
			v := runtimes.Secret{Runtime: runtimes.Podman, StorePath: s.root, ID: firstOf(j.ID, id), Name: j.Name, Driver: firstOf(j.Driver, driverFile),
				Created: oci.Time(j.Created), Updated: oci.Time(j.Updated), Labels: j.Labels, Options: j.Options}
			if v.Driver == driverFile {
				if _, there := s.secretData(contents, path.Join("/", j.Options[optionPath], secretsData))[id]; !there {
					v.Problem = "recorded, but its content is gone"
				}
			}
			out = append(out, v)
		}
		for _, id := range sorted(s.secretData(contents, join(s.root, "secrets/filedriver/"+secretsData))) {
			if _, known := doc.Secrets[id]; !known {
				out = append(out, runtimes.Secret{Runtime: runtimes.Podman, StorePath: s.root, ID: id, Driver: driverFile, Problem: "content without a record"})
			}
		}
		for _, v := range out {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// secretData returns the ids that a file of contents has. What is wrong with it
// shows as contents that are gone.
func (s *Store) secretData(known map[string]map[string]any, file string) map[string]any {
	if _, ok := known[file]; !ok {
		var ids map[string]any
		_ = s.document(file, &ids)
		known[file] = ids
	}
	return known[file]
}

// health reads what a container's health checks told: the last few of them.
func (s *Store) health(c *runtimes.Container, cfg *containerConfig, state []byte) error {
	var files []string
	if dir := cfg.HealthLogs; path.IsAbs(dir) { // since 5.3 the user may say where
		files = append(files, path.Join(dir, c.ID+"-"+healthFile))
	}
	var st struct {
		RunDir string `json:"runDir"`
	}
	_ = oci.Decode(state, &st) // what is wrong with it is said where it is read whole
	for _, dir := range []string{st.RunDir, cfg.StaticDir} {
		if path.IsAbs(dir) {
			files = append(files, path.Join(path.Dir(dir), healthFile))
		}
	}
	for _, file := range files {
		raw, err := evidence.ReadFile(s.fsys, s.node, file, maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var doc struct {
			Status        string
			FailingStreak int
			Log           []struct {
				Start, End string
				ExitCode   int
				Output     string
			}
		}
		if err == nil {
			err = keep(c, "libpod/healthcheck", raw, &doc)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", file, err)
		}
		c.Health = &runtimes.Health{Status: doc.Status, Failing: doc.FailingStreak}
		for _, p := range doc.Log {
			c.Health.Log = append(c.Health.Log, runtimes.HealthProbe{Start: oci.Time(p.Start), End: oci.Time(p.End), ExitCode: p.ExitCode, Output: p.Output})
		}
		return err
	}
	return nil
}
