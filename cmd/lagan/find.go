package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/find"
	"lagan/internal/text"
)

func newFindCommand(u *ui) *cobra.Command {
	var expr *find.Expr
	var tests []string
	var now string
	var mounts bool
	var lists hashLists
	cmd := u.command(verb{
		use:   "find EVIDENCE CONTAINER [PATH...] [TEST...]",
		short: "find files of a container's merged view, or of the node, as find(1) does",
		long: `Find files with find's own tests: -name -iname -path -ipath -regex -iregex -regextype -lname -type -size -empty
-newer -newerXY (-newermt TIME) -anewer -cnewer -mtime -mmin -atime -amin -ctime -cmin -perm -user -group -uid -gid
-nouser -nogroup -links -inum -samefile -maxdepth -mindepth -prune -quit, with ( ) ! -a -o and the comma; and --elf,
--exec-bit (regular files that someone may execute), --suid (setuid or setgid). -print0, -ls and -printf FORMAT say what is
printed; the other formats of --output print records as ls does. Nothing is executed or deleted.

Ages (-mtime, -mmin) count from --now; without it from when the node's root was last written, as far as the disk says so.
-o is find's "or" here: --out names a file.
` + hashListsHelp,
		examples: `
  lagan find node.img.zst tomcat-prod / -newermt 2026-11-22 -type f --exec-bit
  lagan find node.img.zst web-front /tmp /etc \( -name '.*' -o --elf \) -ls
  lagan find node.img.zst @node / -perm -4000 -printf '%M %u %T+ %p\n'`,
		min: 2, max: 1 << 20,
		check: func() (err error) {
			if expr, err = find.Parse(tests); err != nil {
				return usageError{err}
			}
			if u.output != "table" && (expr.Uses(find.ActionPrint0) || expr.Uses(find.ActionLs) || expr.Uses(find.ActionPrintf)) {
				return usageError{errors.New("-print0, -ls and -printf are formats of their own: leave out --output")}
			}
			return lists.check()
		},
		run: func(n *analyzer.Node, args []string) error {
			tree, err := findTree(n, args[1], mounts)
			if err != nil {
				return err
			}
			var at time.Time
			if now != "" {
				if at, err = find.ParseTime(now); err != nil {
					return usageError{fmt.Errorf("--now: %w", err)}
				}
			}
			starts := args[2:]
			if len(starts) == 0 {
				starts = []string{"/"}
			}
			sets, err := lists.open(n)
			if err != nil {
				return err
			}
			return u.find(n, tree, starts, expr, analyzer.MatchOptions{Now: at, Sets: sets})
		},
	})
	cmd.Flags().StringVar(&now, "now", "", "TIME that ages count from")
	cmd.Flags().BoolVar(&mounts, "mounts", false, "with the container's volumes and bind mounts in their places")
	lists.addFlags(cmd)
	takesExpression(cmd, &tests)
	return cmd
}

// takesExpression has a command take find's expression behind its arguments.
// Its words begin with one dash, as short flags do, so that the arguments are
// divided here: flags with two dashes, -O, -q and -v are the program's.
func takesExpression(cmd *cobra.Command, tests *[]string) {
	run, check := cmd.RunE, cmd.Args
	cmd.DisableFlagParsing = true
	cmd.Args = nil
	cmd.RunE = func(c *cobra.Command, args []string) error {
		c.InheritedFlags() // merges them into the command's own
		var flags, positional []string
		for k := 0; k < len(args); k++ {
			arg := args[k]
			switch name := flagName(c, arg); {
			case arg == "--help" || arg == "-h":
				return c.Help()
			case name != "":
				flags = append(flags, arg)
				if f := c.Flags().Lookup(name); f.NoOptDefVal == "" && !hasValue(arg) && k+1 < len(args) {
					k++
					flags = append(flags, args[k])
				}
			case len(*tests) > 0 || find.IsExpression(arg):
				*tests = append(*tests, arg)
			default:
				positional = append(positional, arg)
			}
		}
		if err := c.Flags().Parse(flags); err != nil {
			return usageError{fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
		}
		if err := check(c, positional); err != nil {
			return err
		}
		return run(c, positional)
	}
}

// flagName returns the flag that an argument is, "" for none.
func flagName(c *cobra.Command, arg string) string {
	if len(arg) == 2 && arg[0] == '-' {
		return map[byte]string{'O': "output", 'q': "quiet", 'v': "verbose"}[arg[1]]
	}
	if len(arg) < 3 || arg[:2] != "--" {
		return ""
	}
	name := arg[2:]
	for k := range name {
		if name[k] == '=' {
			name = name[:k]
			break
		}
	}
	if c.Flags().Lookup(name) == nil {
		return ""
	}
	return name
}

func hasValue(arg string) bool {
	for k := range arg {
		if arg[k] == '=' {
			return true
		}
	}
	return false
}

func (u *ui) find(n *analyzer.Node, tree *analyzer.Tree, starts []string, e *find.Expr, o analyzer.MatchOptions) error {
	env := n.FindEnv(tree, o.Now)
	return u.write(func(w io.Writer) error {
		var p *printer
		if u.output != "table" {
			p = u.newPrinter(w, lsColumns)
		}
		done := int64(0)
		err := n.Find(u.ctx, tree, starts, e, o, func(m analyzer.Match) error {
			done++
			u.progress("files found", done, 0)
			if p == nil && o.Sets == nil {
				return printMatch(w, &m, env, "")
			}
			f, kept, err := m.Record()
			switch {
			case err != nil || !kept:
				return err
			case p == nil:
				return printMatch(w, &m, env, marks(f.Known, f.Matches))
			}
			return p.print(&fileRecord{File: f})
		})
		if err != nil || p == nil {
			return err
		}
		return p.close(n)
	})
}

// printMatch prints as find does. -print0 and -printf are for programs, which get
// the names' bytes.
func printMatch(w io.Writer, m *analyzer.Match, env *find.Env, marks string) error {
	line := m.Path
	switch m.Action {
	case find.ActionPrint0:
		_, err := io.WriteString(w, m.Path+"\x00")
		return err
	case find.ActionPrintf:
		_, err := io.WriteString(w, m.Text)
		return err
	case find.ActionLs:
		line = find.Ls(&m.File, env)
	}
	_, err := io.WriteString(w, text.ForTerminal(line+marks)+"\n")
	return err
}

// fileTests are the flags of other commands that say which files are meant.
type fileTests struct {
	name, iname, newer, typ, size, perm string
	execBit, elf, suid                  bool
}

func (t *fileTests) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.name, "name", "", "only what is called so: a pattern with * ? [...]")
	f.StringVar(&t.iname, "iname", "", "the same, small and capital letters alike")
	f.StringVar(&t.newer, "newer", "", "only what was modified after TIME, or after the file of this PATH")
	f.StringVar(&t.typ, "type", "", "only f, d, l, c, b, p or s, several with commas")
	f.StringVar(&t.size, "size", "", "only of this size as find takes it: +10M, -1k, 0c")
	f.StringVar(&t.perm, "perm", "", "only with these rights as find takes them: -4000, /u+s, 0777")
	f.BoolVar(&t.execBit, "exec-bit", false, "only regular files that someone may execute")
	f.BoolVar(&t.elf, "elf", false, "only ELF files")
	f.BoolVar(&t.suid, "suid", false, "only setuid and setgid files")
}

// expr returns the tests as an expression, nil for none.
func (t *fileTests) expr() (*find.Expr, error) {
	var args []string
	for _, f := range [...]struct{ test, value string }{{"-name", t.name}, {"-iname", t.iname}, {"-type", t.typ}, {"-size", t.size}, {"-perm", t.perm}} {
		if f.value != "" {
			args = append(args, f.test, f.value)
		}
	}
	if t.newer != "" {
		test := "-newer"
		if _, err := find.ParseTime(t.newer); err == nil {
			test = "-newermt"
		}
		args = append(args, test, t.newer)
	}
	for _, f := range [...]struct {
		test string
		on   bool
	}{{"-exec-bit", t.execBit}, {"-suid", t.suid}, {"-elf", t.elf}} {
		if f.on {
			args = append(args, f.test)
		}
	}
	if args == nil {
		return nil, nil
	}
	e, err := find.Parse(args)
	if err != nil {
		return nil, usageError{fmt.Errorf("-%w", err)} // find's tests have one dash, these flags two
	}
	return e, nil
}
