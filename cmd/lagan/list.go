package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

// listing is a command that prints the records of one kind.
type listing struct {
	verb
	columns columns
	// like is a record of the kind, which says what --filter may name.
	like record
	// choose are the flags of the command that choose among the records.
	choose  []string
	records func(n *analyzer.Node, s *selection) ([]record, error)
	// more adds flags of the command's own.
	more func(cmd *cobra.Command)
}

// selection is what the user chose among the records.
type selection struct {
	filters []string
	running bool
	since   string
	image   string
	pod     string
	space   string
	exposed, privileged,
	noInfra bool
	infraFile string
	wide      bool

	from    time.Time
	matches []filter
	infra   *analyzer.Infra
}

// traits are what the flags of a selection look at, whatever the kind of record.
type traits struct {
	running, exposed, privileged, infra bool
	images                              []string // names, ids and digests
	pod, podUID                         string   // NAMESPACE/NAME
	namespaces                          []string // containerd's and Kubernetes'
	times                               []string // of what began: created, started, pulled
}

// selectable is a record that more can be chosen by than its fields.
type selectable interface {
	traits(*analyzer.Infra) traits
}

const filterHelp = `
--filter KEY=VALUE keeps the records whose field has the value: a field as --output json names
it (state=exited, mounts.source=/etc, ip=10.0.*), or a label (app=web, label=app, label=app=web). * stands for
any text; KEY!=VALUE turns it round. Repeated filters must all hold. A KEY that no field and no label has is an
error; label=KEY isn't where none has it.`

func (u *ui) list(l listing) *cobra.Command {
	s := &selection{}
	l.long += filterHelp
	l.min, l.max = 1, 1
	l.run = func(n *analyzer.Node, args []string) error {
		records, err := l.records(n, s)
		if err != nil {
			return err
		}
		if err := checkGuesses(s.matches, records); err != nil {
			return err
		}
		return u.write(func(w io.Writer) error {
			columns := l.columns
			if s.wide {
				columns.table = nil
				for _, name := range columns.wide {
					columns.table = append(columns.table, strings.ToUpper(name))
				}
			}
			p := u.newPrinter(w, columns)
			p.wide = s.wide
			for _, r := range records {
				ok, err := s.keeps(r)
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				if err := p.print(r); err != nil {
					return err
				}
			}
			return p.close(n)
		})
	}
	l.check = func() error { return s.prepare(l.like) }
	cmd := u.command(l.verb)
	s.addFlags(cmd, l.choose)
	if l.more != nil {
		l.more(cmd)
	}
	return cmd
}

func (s *selection) addFlags(cmd *cobra.Command, choose []string) {
	f := cmd.Flags()
	f.StringArrayVar(&s.filters, "filter", nil, "keep what has KEY=VALUE: a field or a label (repeatable)")
	f.BoolVar(&s.wide, "wide", false, "a table of all columns, nothing cut")
	for _, name := range choose {
		switch name {
		case "running":
			f.BoolVar(&s.running, name, false, "keep what the disk says ran")
		case "since":
			f.StringVar(&s.since, name, "", "keep what was created, pulled or started at TIME or later (2026-11-22, 2026-11-22T09:00:00Z)")
		case "image":
			f.StringVar(&s.image, name, "", "keep what is of the image: a part of its name, an id or a digest")
		case "pod":
			f.StringVar(&s.pod, name, "", "keep what is of the pod: NAME, NAMESPACE/NAME or UID")
		case "namespace":
			f.StringVar(&s.space, name, "", "keep what is in the namespace, Kubernetes' or containerd's")
		case "exposed":
			f.BoolVar(&s.exposed, name, false, "keep what can be reached from outside: published ports, the node's own network")
		case "privileged":
			f.BoolVar(&s.privileged, name, false, "keep what ran with all privileges")
		case "no-infra":
			f.BoolVar(&s.noInfra, name, false, "leave out sandboxes and what is in kube-system")
			f.StringVar(&s.infraFile, "infra", "", "FILE with more to leave out: YAML lists names, images, labels (implies --no-infra)")
			fileFlags(cmd, "infra")
		}
	}
}

// maxInfra bounds the list of infrastructure.
const maxInfra = 16 << 20

// prepare finds what is wrong with the flags before any evidence is touched.
func (s *selection) prepare(like record) error {
	var err error
	if s.matches, err = parseFilters(s.filters, like); err != nil {
		return err
	}
	if s.from, err = parseTime("since", s.since); err != nil {
		return err
	}
	s.infra = analyzer.DefaultInfra()
	if s.infraFile == "" {
		return nil
	}
	s.noInfra = true
	f, err := os.Open(s.infraFile)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxInfra))
	if err != nil {
		return fmt.Errorf("--infra %s: %w", s.infraFile, err)
	}
	if s.infra.Extend(string(b)) == 0 {
		return usageError{fmt.Errorf("--infra %s: none of the lists names, images, labels is in it", s.infraFile)}
	}
	return nil
}

// keeps says whether a record is chosen.
func (s *selection) keeps(r record) (bool, error) {
	if t, ok := r.(selectable); ok && !s.keepsTraits(t.traits(s.infra)) {
		return false, nil
	}
	if len(s.matches) == 0 {
		return true, nil
	}
	v, err := plain(r)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(s.matches, func(f filter) bool { return !f.holds(v) }), nil
}

func (s *selection) keepsTraits(t traits) bool {
	switch {
	case s.running && !t.running, s.exposed && !t.exposed, s.privileged && !t.privileged, s.noInfra && t.infra:
		return false
	case s.image != "" && !slices.ContainsFunc(t.images, func(i string) bool { return strings.Contains(i, s.image) }):
		return false
	case s.space != "" && !slices.Contains(t.namespaces, s.space):
		return false
	}
	if _, name, _ := strings.Cut(t.pod, "/"); s.pod != "" && s.pod != t.pod && s.pod != name && s.pod != t.podUID {
		return false
	}
	return s.from.IsZero() || slices.ContainsFunc(t.times, func(text string) bool {
		at, err := time.Parse(timeFormat, text)
		return err == nil && !at.Before(s.from)
	})
}

var errFilter = errors.New("--filter takes KEY=VALUE or KEY!=VALUE")
