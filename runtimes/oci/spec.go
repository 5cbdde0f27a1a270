package oci

import (
	"fmt"
	"slices"
	"strings"

	"lagan/evidence"
	"lagan/internal/jsonscan"
	"lagan/runtimes"
)

// spec is what is read of a container's specification: runtime-spec specs-go/config.go.
type spec struct {
	Process struct {
		Args         []string `json:"args"`
		Env          []string `json:"env"`
		Capabilities struct {
			Bounding []string `json:"bounding"`
		} `json:"capabilities"`
	} `json:"process"`
	Hostname    string            `json:"hostname"`
	Annotations map[string]string `json:"annotations"`
	Mounts      []specMount       `json:"mounts"`
	Linux       *specLinux        `json:"linux"`
	// Sections of other platforms, any of which stands in place of linux.
	Windows, Solaris, VM, ZOS, FreeBSD section
}

type specMount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

type specLinux struct {
	MaskedPaths []string        `json:"maskedPaths"`
	Namespaces  []specNamespace `json:"namespaces"`
}

type specNamespace struct {
	Type string `json:"type"`
}

// section says that a member is there, whatever it holds.
type section bool

// UnmarshalJSON implements json.Unmarshaler.
func (s *section) UnmarshalJSON([]byte) error {
	*s = true
	return nil
}

// The members that are read, by the object that they are of.
var (
	specMembers      = []string{"process", "hostname", "annotations", "mounts", "linux", "Windows", "Solaris", "VM", "ZOS", "FreeBSD"}
	processMembers   = []string{"args", "env", "capabilities"}
	boundingMembers  = []string{"bounding"}
	mountMembers     = []string{"destination", "type", "source", "options"}
	linuxMembers     = []string{"maskedPaths", "namespaces"}
	namespaceMembers = []string{"type"}
)

// Reset implements Scanned.
func (d *spec) Reset() { *d = spec{} }

// Scan implements Scanned.
func (d *spec) Scan(s *jsonscan.Scanner) {
	s.Members(specMembers, func(name string) {
		switch name {
		case "process":
			d.scanProcess(s)
		case "hostname":
			s.Text(&d.Hostname)
		case "annotations":
			s.TextMap(&d.Annotations)
		case "mounts":
			d.scanMounts(s)
		case "linux":
			d.scanLinux(s)
		default: // another platform's: none of them is met but in its place
			s.Fail()
		}
	})
}

func (d *spec) scanProcess(s *jsonscan.Scanner) {
	s.Members(processMembers, func(name string) {
		switch name {
		case "args":
			s.Texts(&d.Process.Args)
		case "env":
			s.Texts(&d.Process.Env)
		case "capabilities":
			s.Members(boundingMembers, func(string) { s.Texts(&d.Process.Capabilities.Bounding) })
		}
	})
}

func (d *spec) scanMounts(s *jsonscan.Scanner) {
	jsonscan.List(s, &d.Mounts, func(m *specMount) {
		s.Members(mountMembers, func(name string) {
			switch name {
			case "destination":
				s.Text(&m.Destination)
			case "type":
				s.Text(&m.Type)
			case "source":
				s.Text(&m.Source)
			case "options":
				s.Texts(&m.Options)
			}
		})
	})
}

func (d *spec) scanLinux(s *jsonscan.Scanner) {
	if s.Null() {
		return
	}
	d.Linux = &specLinux{}
	s.Members(linuxMembers, func(name string) {
		switch name {
		case "maskedPaths":
			s.Texts(&d.Linux.MaskedPaths)
		case "namespaces":
			jsonscan.List(s, &d.Linux.Namespaces, func(n *specNamespace) {
				s.Members(namespaceMembers, func(string) { s.Text(&n.Type) })
			})
		}
	})
}

// Specify fills in what a container's specification tells of it: command,
// environment, host name, annotations, mounts, privileges. The document is kept
// whole as Spec. One without a linux section, or another platform's in its place,
// has lost what the runtimes put into it, which is said; what is left is read.
func Specify(c *runtimes.Container, raw []byte) error {
	var s spec
	var err error
	c.Spec, err = Document(raw, &s)
	c.Command = s.Process.Args
	c.Env = s.Process.Env
	c.Hostname = s.Hostname
	c.Annotations = s.Annotations
	for _, m := range s.Mounts {
		if kernelMount(m.Type, m.Destination) {
			continue
		}
		c.Mounts = append(c.Mounts, runtimes.Mount{
			Type: m.Type, Source: m.Source, Destination: m.Destination,
			ReadOnly: slices.Contains(m.Options, "ro"), Options: strings.Join(m.Options, ","),
		})
	}
	if s.Linux == nil {
		if err == nil && !(s.Windows || s.Solaris || s.VM || s.ZOS || s.FreeBSD) {
			err = fmt.Errorf("no linux section: namespaces and privileges aren't known: %w", evidence.ErrCorrupt)
		}
		return err
	}
	own := false
	for _, ns := range s.Linux.Namespaces {
		own = own || ns.Type == "network"
	}
	c.HostNetwork = len(s.Linux.Namespaces) > 0 && !own
	// What --privileged makes of a specification: every capability, and nothing masked.
	caps := s.Process.Capabilities.Bounding
	c.Privileged = len(s.Linux.MaskedPaths) == 0 && slices.Contains(caps, "CAP_SYS_ADMIN") &&
		slices.Contains(caps, "CAP_SYS_MODULE") && slices.Contains(caps, "CAP_SYS_RAWIO")
	return err
}

// kernelMount says whether a mount is one of those that every container has and that hold nothing of a disk.
func kernelMount(typ, destination string) bool {
	switch typ {
	case "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2":
		return true
	case "tmpfs":
		return destination == "/dev" || destination == "/dev/shm" || destination == "/run"
	}
	return false
}
