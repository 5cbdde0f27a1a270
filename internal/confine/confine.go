// Package confine takes from the process what reading evidence never needs:
// on Linux it may then open only the files that it was told of, make files only
// in the folders for them, start no program and, unless the evidence lies behind one, talk to no network. The
// evidence is hostile; a decoder that it led astray finds nothing to open.
//
// It uses Landlock (Documentation/userspace-api/landlock.rst), no_new_privs and
// a seccomp filter, each as far as the kernel has it. Files that are open when
// Apply is called stay open. What Apply took is not given back; a second call
// can only take more.
package confine

import (
	"os"
	"strings"
)

// Access is what the process may still open. Paths that don't exist are left out.
type Access struct {
	Read  []string // files and folders, with all that is below, for reading
	Write []string // folders in which files may be made, written and removed
	// Link allows hard links from one folder of Write to another, which a kernel
	// before 5.19 can't tell apart: it then confines no files.
	Link bool
	// Itself lets the process start its own program again, which inherits all that
	// was given up and can give up more.
	Itself bool
	// Connect are the TCP ports that may be connected to, for evidence that lies behind the
	// network: none of them, no sockets at all. Names are asked for by datagrams, which
	// Landlock doesn't hold back. A kernel before 6.7 lets any port be connected to.
	Connect []uint16
}

// State is what holds, in the words of the people who read `info -v`: one
// line a mechanism, and why one doesn't hold.
type State []string

// String joins the state for one line.
func (s State) String() string { return strings.Join(s, "; ") }

// existing leaves out what is not there: a rule for it would be refused, and
// nothing can be opened there anyway.
func existing(paths []string) (files, dirs []string) {
	for _, p := range paths {
		st, err := os.Stat(p)
		switch {
		case err != nil:
		case st.IsDir():
			dirs = append(dirs, p)
		default:
			files = append(files, p)
		}
	}
	return files, dirs
}
