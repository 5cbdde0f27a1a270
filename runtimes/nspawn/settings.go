package nspawn

import (
	"slices"
	"strconv"
	"strings"

	"lagan/runtimes"
	"lagan/runtimes/internal/node"
)

// maxSettings bounds the values of one kind that are told.
const maxSettings = 1000

// apply tells what a settings file says, in a container's words. What has none
// stands in the record as it is.
func apply(c *runtimes.Container, text string) {
	section := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		set(c, section+"."+strings.TrimSpace(key), strings.TrimSpace(value))
	}
}

// set applies one setting, named SECTION.KEY.
func set(c *runtimes.Container, key, value string) {
	switch key {
	case "Exec.Parameters":
		c.Command = node.Words(value)
	case "Exec.Environment":
		for _, w := range node.Words(value) {
			if len(c.Env) < maxSettings {
				c.Env = append(c.Env, w)
			}
		}
	case "Exec.Hostname":
		c.Hostname = value
	case "Exec.Capability":
		// Capability=all, or one that is as good: the machine can take the node over.
		c.Privileged = c.Privileged || slices.ContainsFunc(strings.Fields(value), func(w string) bool { return w == "all" || w == "CAP_SYS_ADMIN" })
	case "Files.Bind", "Files.BindReadOnly":
		mount(c, "bind", value, key == "Files.BindReadOnly")
	case "Files.TemporaryFileSystem":
		destination, options, _ := strings.Cut(value, ":")
		add(c, runtimes.Mount{Type: "tmpfs", Destination: destination, Options: options})
	case "Network.Port":
		port(c, value)
	case "Network.Private", "Network.VirtualEthernet":
		c.HostNetwork = value == "no" || value == "false" || value == "0" || value == "off"
	}
}

// mount reads SOURCE[:DESTINATION[:OPTIONS]] (bind_mount_parse).
func mount(c *runtimes.Container, typ, value string, readOnly bool) {
	parts := strings.SplitN(value, ":", 3)
	m := runtimes.Mount{Type: typ, Source: strings.TrimLeft(parts[0], "+-"), Destination: strings.TrimLeft(parts[0], "+-"), ReadOnly: readOnly}
	if len(parts) > 1 && parts[1] != "" {
		m.Destination = parts[1]
	}
	if len(parts) > 2 {
		m.Options = parts[2]
	}
	add(c, m)
}

func add(c *runtimes.Container, m runtimes.Mount) {
	if len(c.Mounts) < maxSettings {
		c.Mounts = append(c.Mounts, m)
	}
}

// port reads [PROTOCOL:]HOST[:CONTAINER] (expose_port_parse).
func port(c *runtimes.Container, value string) {
	p := runtimes.Port{Protocol: "tcp"}
	for _, protocol := range []string{"tcp", "udp"} {
		if rest, ok := strings.CutPrefix(value, protocol+":"); ok {
			p.Protocol, value = protocol, rest
		}
	}
	host, inside, ok := strings.Cut(value, ":")
	if !ok {
		inside = host
	}
	var err1, err2 error
	p.HostPort, err1 = strconv.Atoi(host)
	p.ContainerPort, err2 = strconv.Atoi(inside)
	if err1 == nil && err2 == nil && len(c.Ports) < maxSettings {
		c.Ports = append(c.Ports, p)
	}
}
