package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"lagan/internal/durable"
)

// behindLinks is the file that a link leads to, or name itself: what is renamed
// to a link's name would take the link's place.
func behindLinks(name string) string {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		return real
	}
	return name
}

// write hands f the place where results go. A file named by -o appears whole
// or not at all: it is written beside, synced and renamed.
func (u *ui) write(f func(w io.Writer) error) error {
	if u.outFile == "" {
		w := bufio.NewWriterSize(u.stdout, 64<<10)
		if err := f(w); err != nil {
			w.Flush() // what was found before it failed
			return err
		}
		return w.Flush()
	}
	return u.writeFiles([]string{u.outFile}, func(files []*os.File) error {
		early := newEarlyWriter(files[0])
		defer early.Close()
		w := bufio.NewWriterSize(early, 1<<20)
		if err := f(w); err != nil {
			return err
		}
		return w.Flush()
	})
}

// writeFiles hands f new files beside those that are named, and gives them
// their names when f has written all of them. A terminal, a pipe or /dev/null
// is written itself.
func (u *ui) writeFiles(names []string, f func(files []*os.File) error) error {
	var outs []output
	defer func() {
		for _, o := range outs {
			o.discard()
		}
	}()
	var files []*os.File
	for _, name := range names {
		o, err := newOutput(name)
		if err != nil {
			return err
		}
		outs, files = append(outs, o), append(files, o.File)
	}
	if err := f(files); err != nil {
		return outError(err, outs)
	}
	for _, o := range outs {
		if err := o.store(); err != nil {
			return outError(err, outs)
		}
	}
	for _, o := range outs {
		if err := o.finish(); err != nil {
			return err
		}
	}
	return nil
}

// outError names the output that could not be written as the user called it, not
// by the name that it has until it is whole.
func outError(err error, outs []output) error {
	var pe *fs.PathError
	if !errors.As(err, &pe) {
		return err
	}
	for _, o := range outs {
		if pe.Path == o.Name() {
			return fmt.Errorf("-o %s: %w; nothing of it was kept", o.name, pe.Err)
		}
	}
	return err
}

// output is one file that results are written to.
type output struct {
	*os.File
	name   string
	itself bool // no file that could be replaced: a pipe, a terminal
}

func newOutput(name string) (output, error) {
	st, err := os.Stat(name)
	switch {
	case err != nil: // it is new, or creating it says what is wrong
	case st.IsDir():
		return output{}, usageError{fmt.Errorf("-o %s: is a folder; name a file in it", name)}
	case st.Mode().IsRegular():
	case st.Mode().Type() == fs.ModeDevice: // a block device: character devices have a bit more
		return output{}, usageError{fmt.Errorf("-o %s: is a disk, which is never written to; name a file", name)}
	default:
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err == nil && isTerminal(f) { // where names are shown otherwise than in files
			f.Close()
			return output{}, usageError{fmt.Errorf("-o %s: is a terminal; leave -o out", name)}
		}
		return output{File: f, name: name, itself: true}, err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	return output{File: f, name: name}, err
}

// store has the system keep what was written.
func (o output) store() error {
	if o.itself {
		return nil
	}
	if err := o.Chmod(0o644); err != nil {
		return err
	}
	return o.Sync()
}

// finish gives a stored file its name.
func (o output) finish() error {
	if o.itself {
		return o.Close()
	}
	if err := os.Rename(o.Name(), o.name); err != nil {
		return err
	}
	return durable.Name(o.name)
}

// discard takes away what did not get its name, and is harmless after finish.
func (o output) discard() {
	o.Close()
	if !o.itself {
		os.Remove(o.Name())
	}
}
