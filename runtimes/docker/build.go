package docker

import (
	"errors"
	"iter"
	"slices"

	"lagan/runtimes"
	"lagan/runtimes/internal/builds"
)

// buildkit is the folder of the BuildKit inside of dockerd.
func (s *Store) buildkit() builds.Dir {
	return builds.Dir{FS: s.fsys, Node: s.node, Path: join(s.root, "buildkit"), Runtime: runtimes.Docker, StorePath: s.root}
}

// Builds yields what was built, what is kept of its steps, and those that ran, each in the order of time.
func (s *Store) Builds() iter.Seq2[runtimes.Build, error] {
	return func(yield func(runtimes.Build, error) bool) {
		var failed []error
		fail := func(err error) { failed = append(failed, err) }
		kit := s.buildkit()
		out := slices.Concat(kit.History(fail), kit.Cache(fail), kit.Steps(fail))
		builds.Sort(out)
		for _, b := range out {
			if !yield(b, nil) {
				return
			}
		}
		if err := errors.Join(failed...); err != nil {
			yield(runtimes.Build{}, err)
		}
	}
}
