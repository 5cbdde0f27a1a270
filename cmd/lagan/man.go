package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newManCommand writes manual pages and completions, from the commands
// themselves. It is for packages, and hidden.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "write manual pages and completions into a folder",
		Hidden: true,
		Args:   exactly(1, "lagan man DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			return writeManual(c.Root(), args[0])
		},
	}
}

// writeManual writes man1/*.1 and a completion for each shell.
func writeManual(root *cobra.Command, dir string) error {
	root.InitDefaultHelpCmd()
	if err := os.MkdirAll(filepath.Join(dir, "man1"), 0o755); err != nil {
		return err
	}
	var pages func(c *cobra.Command) error
	pages = func(c *cobra.Command) error {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
		if err := os.WriteFile(filepath.Join(dir, "man1", name), manPage(c), 0o644); err != nil {
			return err
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
				if err := pages(sub); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := pages(root); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer) error{
		"lagan.bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"_lagan":     root.GenZshCompletion,
		"lagan.fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manPage is a command's manual page, in the man macros of groff_man(7). It has
// no date: the same program gives the same page.
func manPage(c *cobra.Command) []byte {
	var b bytes.Buffer
	path := c.CommandPath()
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"lagan\" \"lagan\"\n", roffQuote(strings.ToUpper(strings.ReplaceAll(path, " ", "-"))))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(strings.ReplaceAll(path, " ", "-")), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short
	}
	fmt.Fprintf(&b, ".SH DESCRIPTION\n")
	for i, p := range strings.Split(strings.TrimSpace(long), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(roff(p) + "\n")
	}
	if subs := c.Commands(); len(subs) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, s := range subs {
			if s.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", roff(strings.ReplaceAll(s.CommandPath(), " ", "-")), roff(s.Short))
			}
		}
	}
	manFlags(&b, "OPTIONS", c.NonInheritedFlags())
	manFlags(&b, "OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	examples, status, _ := strings.Cut(c.Example, exitStatusHelp)
	if examples = strings.Trim(examples, "\n"); examples != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(examples))
	}
	fmt.Fprintf(&b, ".SH EXIT STATUS\n.nf\n%s\n.fi\n", roff(strings.TrimPrefix(strings.Trim(exitStatusHelp+status, "\n"), "Exit status:\n")))
	if c.HasParent() {
		b.WriteString(".SH SEE ALSO\n.BR lagan (1)\n")
	}
	return b.Bytes()
}

func manFlags(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		spelled := "--" + f.Name
		if f.Shorthand != "" {
			spelled = "-" + f.Shorthand + ", " + spelled
		}
		if name != "" {
			spelled += " " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(spelled), roff(usage))
	})
}

// roff escapes what groff takes for its own: backslashes, hyphens that are to
// stay so, and a line's first dot or apostrophe.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func roffQuote(s string) string { return `"` + s + `"` }
