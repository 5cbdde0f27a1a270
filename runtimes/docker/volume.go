package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// The volumes: daemon/volume/service/db.go and daemon/volume/local/local.go.
const (
	volumesDir    = "volumes"
	volumesDB     = "volumes/metadata.db"
	volumesBucket = "volumes"
	volumeData    = "_data"
	volumeOptions = "opts.json"
	driverLocal   = "local"
	// labelAnonymous marks a volume without a name of its own: api/types/volume, Docker 23 and later.
	labelAnonymous = "com.docker.volume.anonymous"
)

// volumeJSON is what metadata.db keeps of a volume.
type volumeJSON struct {
	Name    string
	Driver  string
	Labels  map[string]string
	Options map[string]string
}

// Volumes yields the volumes that metadata.db names and those that have a
// folder, by name. One that has but one of both is said to.
func (s *Store) Volumes() iter.Seq2[runtimes.Volume, error] {
	return func(yield func(runtimes.Volume, error) bool) {
		file := join(s.root, volumesDB)
		var failed []error
		values, err := s.bolt(file, volumesBucket, func(err error) { failed = append(failed, err) })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
		recorded := make(map[string]*volumeJSON)
		for _, kv := range values {
			v := &volumeJSON{}
			if err := oci.Decode(kv.value, v); err != nil {
				failed = append(failed, fmt.Errorf("volume %q: %w", kv.key, err))
			}
			recorded[kv.key] = v
		}
		for _, err := range failed {
			if !yield(runtimes.Volume{}, fmt.Errorf("%s: %w", file, err)) {
				return
			}
		}
		folders := make(map[string]evidence.Ino)
		for _, e := range list(s.fsys, s.node, join(s.root, volumesDir)) {
			if e.Type == evidence.TypeDir || e.Type == evidence.TypeUnknown {
				folders[e.Name] = e.Ino
			}
		}
		names := slices.Collect(maps.Keys(recorded))
		for name := range folders {
			if recorded[name] == nil {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			folder, ok := folders[name]
			v, err := s.volume(name, recorded[name], folder, ok, len(recorded) > 0)
			if !yield(v, nil) || err != nil && !yield(runtimes.Volume{}, err) {
				return
			}
		}
	}
}

func (s *Store) volume(name string, known *volumeJSON, folder evidence.Ino, there, others bool) (runtimes.Volume, error) {
	v := runtimes.Volume{Runtime: runtimes.Docker, StorePath: s.root, Name: name, Driver: driverLocal}
	if known != nil {
		v.Labels, v.Options = known.Labels, known.Options
		if known.Driver != "" {
			v.Driver = known.Driver
		}
	}
	_, v.Anonymous = v.Labels[labelAnonymous]
	v.Anonymous = v.Anonymous || oci.IsHex64(name) // what a name that was made up looks like
	at := join(s.root, volumesDir+"/"+name)
	switch {
	case v.Driver != driverLocal:
		return v, nil // a plugin's, wherever that keeps it
	case !there || strings.Contains(name, "/"):
		v.Problem = "recorded, but its folder is gone"
		return v, nil
	case known == nil && others:
		v.Problem = "a folder without a record in " + volumesDB
	}
	v.Mountpoint = join(at, volumeData)
	if info, err := s.fsys.Stat(folder); err == nil {
		v.Created = info.Btime
	}
	raw, err := evidence.ReadFile(s.fsys, s.node, join(at, volumeOptions), maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	return v, localOptions(&v, join(at, volumeOptions), raw)
}

// localOptions reads opts.json, the options of the driver local: what is mounted there, from where.
func localOptions(v *runtimes.Volume, file string, raw []byte) error {
	var o struct {
		MountType, MountOpts, MountDevice string
		Quota                             struct{ Size uint64 }
	}
	err := oci.Decode(raw, &o)
	for _, f := range [...][2]string{{"type", o.MountType}, {"o", o.MountOpts}, {"device", o.MountDevice}} {
		if f[1] != "" {
			if v.Options == nil {
				v.Options = make(map[string]string)
			}
			v.Options[f[0]] = f[1]
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
