//go:build !linux

package confine

// Apply does nothing on this system, and says so.
func Apply(a Access) (State, error) { return Plan(a), nil }

// Plan says what would hold of a process: nothing.
func Plan(Access) State {
	return State{"this system has no landlock and no seccomp: nothing confines the process"}
}
