package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"lagan/analyzer"
	"lagan/runtimes"
)

// dockerInspect has the shape of `docker inspect`: api/types/container of moby,
// InspectResponse. Docker's own documents are passed on as they are; of another
// runtime's container, what is known is put in their places.
type dockerInspect struct {
	ID              string `json:"Id"`
	Created         string
	Path            string
	Args            []string
	State           dockerState
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string
	RestartCount    int
	Driver          string
	Platform        string
	MountLabel      string
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string // only the running daemon has them
	HostConfig      json.RawMessage
	GraphDriver     dockerDriver
	Mounts          []dockerMount
	Config          json.RawMessage
	NetworkSettings map[string]json.RawMessage
}

type dockerState struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  string
	FinishedAt string
	Health     json.RawMessage `json:",omitempty"`
}

type dockerDriver struct {
	Data map[string]string
	Name string
}

type dockerMount struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

// dockerConfig is what config.v2.json has under other names or in other places.
type dockerConfig struct {
	Created, Path, Image, OS, MountLabel, ProcessLabel, AppArmorProfile, ResolvConfPath, HostnamePath, HostsPath, LogPath, Name, Driver string

	Args         []string
	RestartCount int
	State        struct {
		dockerState
		RemovalInProgress bool
	}
	Config          json.RawMessage
	NetworkSettings map[string]json.RawMessage
	MountPoints     map[string]struct {
		Source, Destination, Name, Driver, Type, Relabel, Propagation string
		RW                                                            bool
	}
}

func newDockerInspect(c *analyzer.Container) *dockerInspect {
	d := &dockerInspect{ID: c.ID, Args: []string{}, Mounts: []dockerMount{}, ExecIDs: nil}
	var cfg dockerConfig
	raw, ok := c.Records["config.v2.json"]
	if !ok {
		raw, ok = c.Records["config.json"] // before Docker 1.10
	}
	if !ok || json.Unmarshal(raw, &cfg) != nil && cfg.Created == "" {
		d.other(c)
		return d
	}
	d.Created, d.Path, d.Image, d.LogPath, d.Name, d.RestartCount = cfg.Created, cfg.Path, cfg.Image, cfg.LogPath, cfg.Name, cfg.RestartCount
	d.ResolvConfPath, d.HostnamePath, d.HostsPath = cfg.ResolvConfPath, cfg.HostnamePath, cfg.HostsPath
	d.Driver, d.Platform, d.MountLabel, d.ProcessLabel, d.AppArmorProfile = cfg.Driver, cfg.OS, cfg.MountLabel, cfg.ProcessLabel, cfg.AppArmorProfile
	if cfg.Args != nil {
		d.Args = cfg.Args
	}
	d.State = cfg.State.dockerState
	d.State.Status = dockerStatus(&d.State, cfg.State.RemovalInProgress)
	if string(d.State.Health) == "null" {
		d.State.Health = nil
	}
	d.Config, d.HostConfig = cfg.Config, c.Records["hostconfig.json"]
	for _, to := range slices.Sorted(maps.Keys(cfg.MountPoints)) {
		m := cfg.MountPoints[to]
		if m.Source == "" && m.Type == "volume" { // not mounted now: the daemon asks the driver, whose answer the record has
			if at := slices.IndexFunc(c.Mounts, func(k runtimes.Mount) bool { return k.Destination == m.Destination }); at >= 0 {
				m.Source = c.Mounts[at].Source
			}
		}
		d.Mounts = append(d.Mounts, dockerMount{m.Type, m.Name, m.Source, m.Destination, m.Driver, m.Relabel, m.RW, m.Propagation})
	}
	d.NetworkSettings = dockerNetworks(cfg.NetworkSettings)
	d.graph(c)
	return d
}

// dockerStatus follows State.StateString of daemon/container/state.go.
func dockerStatus(s *dockerState, removing bool) string {
	switch {
	case s.Running && s.Paused:
		return "paused"
	case s.Running && s.Restarting:
		return "restarting"
	case s.Running:
		return "running"
	case removing:
		return "removing"
	case s.Dead:
		return "dead"
	case strings.HasPrefix(s.StartedAt, "0001-"):
		return "created"
	}
	return "exited"
}

// graph names the folders as the overlay2 driver's GetMetadata does.
func (d *dockerInspect) graph(c *analyzer.Container) {
	d.GraphDriver.Name = c.Snapshotter
	if c.Rootfs.Kind != runtimes.RootfsOverlay || c.Rootfs.Upper.Dir == "" {
		return
	}
	above := strings.TrimSuffix(c.Rootfs.Upper.Dir, "/diff")
	var lower []string
	for _, l := range c.Rootfs.Lower {
		lower = append(lower, l.Dir)
	}
	d.GraphDriver.Data = map[string]string{
		"LowerDir": strings.Join(lower, ":"), "UpperDir": c.Rootfs.Upper.Dir, "MergedDir": above + "/merged", "WorkDir": above + "/work",
	}
}

// dockerNetworks leaves out what is the daemon's own, and repeats the default
// network's address where older programs look for it: daemon/inspect.go.
func dockerNetworks(settings map[string]json.RawMessage) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for _, name := range []string{"EndpointID", "Gateway", "GlobalIPv6Address", "IPAddress", "IPv6Gateway", "MacAddress"} {
		out[name] = json.RawMessage(`""`)
	}
	for _, name := range []string{"GlobalIPv6PrefixLen", "IPPrefixLen"} {
		out[name] = json.RawMessage("0")
	}
	for name, v := range settings {
		switch name {
		case "Service", "IsAnonymousEndpoint", "HasSwarmEndpoint", "Networks":
		default:
			out[name] = v
		}
	}
	if string(out["Ports"]) == "null" {
		out["Ports"] = json.RawMessage("{}")
	}
	var networks map[string]map[string]json.RawMessage
	if json.Unmarshal(settings["Networks"], &networks) != nil {
		return out
	}
	for name, n := range networks {
		delete(n, "IPAMOperational")
		if name != "bridge" {
			continue
		}
		for _, field := range []string{"EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway", "MacAddress"} {
			if v, ok := n[field]; ok {
				out[field] = v
			}
		}
	}
	out["Networks"], _ = json.Marshal(networks)
	return out
}

// other fills in what is known of another runtime's container.
func (d *dockerInspect) other(c *analyzer.Container) {
	d.Created, d.Name, d.LogPath, d.Driver, d.Platform = dockerTime(c.Created), "/"+c.Name, c.LogPath, c.Snapshotter, "linux"
	d.Image = c.ImageID
	if len(c.Command) > 0 {
		d.Path = c.Command[0]
		d.Args = append(d.Args, c.Command[1:]...)
	}
	if c.Restarts != nil {
		d.RestartCount = *c.Restarts
	}
	d.State = dockerState{
		Status: string(c.State), Running: c.State == runtimes.StateRunning || c.State == runtimes.StatePaused, Paused: c.State == runtimes.StatePaused,
		OOMKilled: c.OOMKilled, Pid: c.PID, Error: c.Reason, StartedAt: dockerTime(c.Started), FinishedAt: dockerTime(c.Finished),
	}
	if c.ExitCode != nil {
		d.State.ExitCode = *c.ExitCode
	}
	for _, m := range c.Mounts {
		d.Mounts = append(d.Mounts, dockerMount{Type: m.Type, Name: m.Name, Source: m.Source, Destination: m.Destination, Mode: m.Options, RW: !m.ReadOnly})
	}
	d.Config, _ = json.Marshal(map[string]any{"Hostname": c.Hostname, "Env": c.Env, "Cmd": c.Command, "Image": c.Image, "Labels": c.Labels})
	mode := "default"
	if c.HostNetwork {
		mode = "host"
	}
	d.HostConfig, _ = json.Marshal(map[string]any{"Privileged": c.Privileged, "NetworkMode": mode, "LogConfig": map[string]string{"Type": c.LogDriver}})
	d.NetworkSettings = dockerNetworks(nil)
	if len(c.IP) > 0 {
		d.NetworkSettings["IPAddress"], _ = json.Marshal(c.IP[0])
	}
	d.graph(c)
}

// dockerTime is a time as Docker writes it: year 1 for none.
func dockerTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
