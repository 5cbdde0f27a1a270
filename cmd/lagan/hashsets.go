package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
)

// hashLists are the flags that name lists of hashes.
type hashLists struct {
	known, match      []string
	hide, onlyMatches bool
}

const hashListsHelp = `
--known and --match compare contents with lists of hashes: NSRL's RDSv3 databases and NSRLFile.txt, hashdeep's output,
that of sha256sum and its like, and plain lists of SHA-256, SHA-1 or MD5. What a list has is marked with its name.`

func (l *hashLists) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&l.known, "known", nil, "FILE with the hashes of known files, which are marked (repeatable)")
	f.BoolVar(&l.hide, "hide-known", false, "leave out what --known has")
	f.StringArrayVar(&l.match, "match", nil, "FILE with the hashes of files that are looked for, which are marked (repeatable)")
	f.BoolVar(&l.onlyMatches, "only-matches", false, "keep only what --match has")
	fileFlags(cmd, "known", "match")
}

func (l *hashLists) check() error {
	if l.hide && l.known == nil {
		return usageError{errors.New("--hide-known needs --known FILE")}
	}
	if l.onlyMatches && l.match == nil {
		return usageError{errors.New("--only-matches needs --match FILE")}
	}
	for _, lists := range []struct {
		flag  string
		names []string
	}{{"known", l.known}, {"match", l.match}} {
		for _, name := range lists.names {
			f, err := openFor(lists.flag, name)
			if err != nil {
				return err
			}
			f.Close()
		}
	}
	return nil
}

// open reads the lists, nil where there are none.
func (l *hashLists) open(n *analyzer.Node) (*analyzer.HashSets, error) {
	if l.known == nil && l.match == nil {
		return nil, nil
	}
	s, err := n.OpenHashSets(l.known, l.match)
	if err != nil {
		return nil, err
	}
	s.HideKnown, s.OnlyMatches = l.hide, l.onlyMatches
	return s, nil
}

// marks is what a table says behind a file's name of the lists that have it.
func marks(known, matches []string) string {
	s := ""
	if len(matches) > 0 {
		s += "  [match: " + strings.Join(matches, ", ") + "]"
	}
	if len(known) > 0 {
		s += "  [known: " + strings.Join(known, ", ") + "]"
	}
	return s
}
