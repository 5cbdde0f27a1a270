package main

import (
	"os"
	"path/filepath"

	"lagan/analyzer"
	"lagan/internal/confine"
)

// mount mounts a container, or each in a folder of its own, and returns; the
// mounts stay until someone unmounts them.
func (c *ce) mount(args []string) error {
	folder := args[len(args)-1]
	return c.u.inBackground(folder, func(o analyzer.ServeOptions) error {
		if err := c.open(nil); err != nil {
			return err
		}
		defer c.n.Close()
		if len(args) == 1 {
			o.ByID = true
			o.Only = c.containers(c.f.mountSupport)
			return c.n.ServeAll(c.u.ctx, folder, o)
		}
		x, err := c.find(args[0])
		if err != nil {
			return err
		}
		view, err := c.n.View(x)
		if err != nil {
			return err
		}
		return c.n.Serve(c.u.ctx, folder, view, o)
	})
}

// confine gives up what reading and writing the results doesn't need.
func (c *ce) confine(evidence string, write ...string) error {
	if !c.u.sandbox || c.u.noSandbox {
		return nil
	}
	a := confine.Access{Read: append(readable(evidence, false), "/proc/self/uid_map"), Write: append(write, c.u.spoolDir())}
	if c.f.support != "" {
		a.Read = append(a.Read, c.f.support)
	}
	if c.f.outputFile != "" {
		a.Write = append(a.Write, filepath.Dir(c.f.outputFile))
	}
	reach(&a, evidence)
	_, err := confine.Apply(a)
	return err
}

// makeFolder makes the folder that containers are exported to, away from the evidence.
func (c *ce) makeFolder(evidence, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return c.u.outside(evidence, "the folder for exports", filepath.Join(folder, "x"))
}
