package docker

import "lagan/internal/jsonscan"

// The members of containers' documents that are read, by the object that they are of.
var (
	containerMembers = []string{"ID", "Name", "Created", "Path", "Args", "Image", "Driver", "LogPath", "State", "Volumes", "VolumesRW", "Config",
		"ImageManifest", "NetworkSettings", "RestartCount", "MountPoints"}
	stateMembers = []string{"Running", "Paused", "Restarting", "OOMKilled", "RemovalInProgress", "Dead", "Pid", "ExitCode", "Error",
		"StartedAt", "FinishedAt"}
	configMembers     = []string{"Hostname", "Env", "Image", "Labels", "ExposedPorts"}
	manifestMembers   = []string{"digest"}
	attachedMembers   = []string{"IPAddress", "Ports", "Networks"}
	addressMembers    = []string{"IPAddress", "GlobalIPv6Address"}
	bindingMembers    = []string{"HostIp", "HostPort"}
	mountMembers      = []string{"Type", "Name", "Source", "Destination", "RW", "Driver", "Relabel", "Propagation"}
	hostConfigMembers = []string{"Privileged", "NetworkMode", "PortBindings", "LogConfig", "Tmpfs"}
	logConfigMembers  = []string{"Type"}
)

// Reset implements oci.Scanned.
func (d *configV2) Reset() { *d = configV2{} }

// Scan implements oci.Scanned.
func (d *configV2) Scan(s *jsonscan.Scanner) {
	s.Members(containerMembers, func(name string) {
		switch name {
		case "ID":
			s.Text(&d.ID)
		case "Name":
			s.Text(&d.Name)
		case "Created":
			s.Text(&d.Created)
		case "Path":
			s.Text(&d.Path)
		case "Args":
			s.Texts(&d.Args)
		case "Image":
			s.Text(&d.Image)
		case "Driver":
			s.Text(&d.Driver)
		case "LogPath":
			s.Text(&d.LogPath)
		case "RestartCount":
			s.Int(&d.RestartCount)
		default:
			d.scanObject(s, name)
		}
	})
}

// scanObject reads the members that are objects.
func (d *configV2) scanObject(s *jsonscan.Scanner, name string) {
	switch name {
	case "State":
		d.State.scan(s)
	case "Config":
		d.Config.scan(s)
	case "NetworkSettings":
		d.NetworkSettings.scan(s)
	case "Volumes":
		s.TextMap(&d.Volumes)
	case "VolumesRW":
		m := make(map[string]bool)
		if s.Map(func(key string) {
			var v bool
			s.Bool(&v)
			m[key] = v
		}) {
			d.VolumesRW = m
		}
	case "ImageManifest":
		if !s.Null() {
			d.ImageManifest = &manifestJSON{}
			s.Members(manifestMembers, func(string) { s.Text(&d.ImageManifest.Digest) })
		}
	case "MountPoints":
		m := make(map[string]*mountJSON)
		if s.Map(func(key string) {
			if s.Null() {
				m[key] = nil
				return
			}
			m[key] = &mountJSON{}
			m[key].scan(s)
		}) {
			d.MountPoints = m
		}
	}
}

func (d *stateJSON) scan(s *jsonscan.Scanner) {
	s.Members(stateMembers, func(name string) {
		switch name {
		case "Running":
			s.Bool(&d.Running)
		case "Paused":
			s.Bool(&d.Paused)
		case "Restarting":
			s.Bool(&d.Restarting)
		case "OOMKilled":
			s.Bool(&d.OOMKilled)
		case "RemovalInProgress":
			s.Bool(&d.RemovalInProgress)
		case "Dead":
			s.Bool(&d.Dead)
		case "Pid":
			s.Int(&d.Pid)
		case "ExitCode":
			s.Int(&d.ExitCode)
		case "Error":
			s.Text(&d.Error)
		case "StartedAt":
			s.Text(&d.StartedAt)
		case "FinishedAt":
			s.Text(&d.FinishedAt)
		}
	})
}

func (d *configJSON) scan(s *jsonscan.Scanner) {
	s.Members(configMembers, func(name string) {
		switch name {
		case "Hostname":
			s.Text(&d.Hostname)
		case "Env":
			s.Texts(&d.Env)
		case "Image":
			s.Text(&d.Image)
		case "Labels":
			s.TextMap(&d.Labels)
		case "ExposedPorts":
			m := make(map[string]struct{})
			if s.Map(func(key string) {
				s.Members(nil, nil)
				m[key] = struct{}{}
			}) {
				d.ExposedPorts = m
			}
		}
	})
}

func (d *attachedJSON) scan(s *jsonscan.Scanner) {
	s.Members(attachedMembers, func(name string) {
		switch name {
		case "IPAddress":
			s.Text(&d.IPAddress)
		case "Ports":
			scanPorts(s, &d.Ports)
		case "Networks":
			m := make(map[string]*addressJSON)
			if s.Map(func(key string) {
				if s.Null() {
					m[key] = nil
					return
				}
				a := &addressJSON{}
				m[key] = a
				s.Members(addressMembers, func(name string) {
					switch name {
					case "IPAddress":
						s.Text(&a.IPAddress)
					case "GlobalIPv6Address":
						s.Text(&a.GlobalIPv6Address)
					}
				})
			}) {
				d.Networks = m
			}
		}
	})
}

func (d *mountJSON) scan(s *jsonscan.Scanner) {
	s.Members(mountMembers, func(name string) {
		switch name {
		case "Type":
			s.Text(&d.Type)
		case "Name":
			s.Text(&d.Name)
		case "Source":
			s.Text(&d.Source)
		case "Destination":
			s.Text(&d.Destination)
		case "RW":
			s.Bool(&d.RW)
		case "Driver":
			s.Text(&d.Driver)
		case "Relabel":
			s.Text(&d.Relabel)
		case "Propagation":
			s.Text(&d.Propagation)
		}
	})
}

// scanPorts reads bindings by port.
func scanPorts(s *jsonscan.Scanner, to *map[string][]portBinding) {
	m := make(map[string][]portBinding)
	if s.Map(func(key string) {
		var bindings []portBinding
		jsonscan.List(s, &bindings, func(p *portBinding) {
			s.Members(bindingMembers, func(name string) {
				switch name {
				case "HostIp":
					s.Text(&p.HostIP)
				case "HostPort":
					s.Text(&p.HostPort)
				}
			})
		})
		m[key] = bindings
	}) {
		*to = m
	}
}

// Reset implements oci.Scanned.
func (d *hostConfigJSON) Reset() { *d = hostConfigJSON{} }

// Scan implements oci.Scanned.
func (d *hostConfigJSON) Scan(s *jsonscan.Scanner) {
	s.Members(hostConfigMembers, func(name string) {
		switch name {
		case "Privileged":
			s.Bool(&d.Privileged)
		case "NetworkMode":
			s.Text(&d.NetworkMode)
		case "PortBindings":
			scanPorts(s, &d.PortBindings)
		case "LogConfig":
			s.Members(logConfigMembers, func(string) { s.Text(&d.LogConfig.Type) })
		case "Tmpfs":
			s.TextMap(&d.Tmpfs)
		}
	})
}
