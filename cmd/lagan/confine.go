package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lagan/analyzer"
	"lagan/internal/confine"
)

// fileFlags marks flags that name files which the command reads: they complete
// as file names, and the confined process may open what they name.
func fileFlags(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagFilename(name); err != nil {
			panic(err) // no such flag: a mistake in this program
		}
	}
}

func isFileFlag(f *pflag.Flag) bool {
	_, ok := f.Annotations[cobra.BashCompFilenameExt]
	return ok
}

// confinedBy says, a line each, what holds of this process and what does of
// those that other commands start.
func (u *ui) confinedBy(evidence string) []string {
	lines := []string{"this process: " + u.confinement.String()}
	if !u.sandbox || u.noSandbox {
		return lines
	}
	a := confine.Access{Read: readable(evidence, false), Write: []string{u.spoolDir()}}
	reach(&a, evidence)
	lines = append(lines, "mount, the process that reads and serves: "+confine.Plan(a).String()+"; the one that mounts for it reads no evidence, and nothing confines it")
	a.Write = append(a.Write, "-o/SNAPSHOT")
	lines = append(lines, "batch, the process of each snapshot: "+confine.Plan(a).String())
	a.Write[len(a.Write)-1], a.Itself = "-o", true
	return append(lines, "batch, the process that starts those: "+confine.Plan(a).String()+"; it starts this program alone")
}

// confine takes from the process what this command doesn't need. It is called
// before the evidence is opened, and again after: what is open stays open, and
// only a folder is opened file by file.
func (u *ui) confine(cmd *cobra.Command, evidence string, opened bool) error {
	if !u.sandbox || u.noSandbox {
		u.confinement = confine.State{"not confined: --no-sandbox"}
		return nil
	}
	a := confine.Access{
		Read:  append(namedFiles(cmd), "/proc/self/uid_map"), // says whether the kernel shows trusted attributes
		Write: []string{u.spoolDir()},
	}
	if f := cmd.Flags().Lookup("links"); f != nil {
		a.Link = f.Changed
	}
	if u.cacheDir != "" {
		a.Write = append(a.Write, u.cacheDir)
	}
	for _, out := range u.outputFiles() {
		a.Write = append(a.Write, filepath.Dir(out))
	}
	for _, e := range append([]string{evidence}, u.disks...) {
		a.Read = append(a.Read, readable(e, opened)...)
		reach(&a, e)
	}
	state, err := confine.Apply(a)
	u.confinement = state
	return err
}

// reach allows what it takes to read evidence behind the network.
func reach(a *confine.Access, evidence string) {
	if analyzer.SnapshotOf(evidence) == "" || a.Connect != nil {
		return
	}
	files, ports := analyzer.RemoteAccess()
	a.Read, a.Connect = append(a.Read, files...), ports
}

// readable is what has to be opened of a piece of evidence: a folder with all
// that is below it; a file, and those beside it that it may be continued in, as
// long as it isn't open; a device by itself.
func readable(evidence string, opened bool) []string {
	st, err := os.Stat(evidence)
	switch {
	case err != nil:
		return nil // opening it will say so better
	case st.IsDir():
		return []string{evidence}
	case opened:
		return nil
	case st.Mode().IsRegular():
		dirs := []string{filepath.Dir(evidence)}
		if real, err := filepath.EvalSymlinks(evidence); err == nil { // one that is a link
			dirs = append(dirs, filepath.Dir(real))
		}
		return dirs
	}
	return []string{evidence}
}

// namedFiles are the files that the command's flags name for reading: FILE or KEY=FILE.
func namedFiles(cmd *cobra.Command) []string {
	var files []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !isFileFlag(f) {
			return
		}
		values := []string{f.Value.String()}
		if s, ok := f.Value.(pflag.SliceValue); ok {
			values = s.GetSlice()
		}
		for _, v := range values {
			files = append(files, v)
			if _, file, ok := strings.Cut(v, "="); ok {
				files = append(files, file)
			}
		}
	})
	return files
}

// spoolDir is where what has to be unpacked or sorted goes.
func (u *ui) spoolDir() string {
	if u.tempDir != "" {
		return u.tempDir
	}
	return os.TempDir()
}

// outputFiles are the files that results are written to.
func (u *ui) outputFiles() []string {
	return u.outFiles
}
