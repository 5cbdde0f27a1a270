package docker

import (
	"fmt"
	"iter"

	"lagan/evidence"
	"lagan/runtimes"
	"lagan/runtimes/oci"
)

// Plugins lie in plugins/<id>/: config.json, and their files in rootfs/.
const (
	pluginsDir   = "plugins"
	pluginConfig = "config.json"
	pluginRootfs = "rootfs"
)

// pluginJSON is what is read of config.json: plugin/v2/plugin.go, and api/types/plugin.
type pluginJSON struct {
	Plugin struct {
		ID       string `json:"Id"`
		Name     string
		Enabled  bool
		Settings struct {
			Env     []string
			Args    []string
			Mounts  []pluginMount
			Devices []pluginDevice
		}
		Config struct {
			Description string
			Entrypoint  []string
			WorkDir     string
			PidHost     bool
			IpcHost     bool
			Interface   struct {
				Socket string
				Types  []string
			}
			Network struct{ Type string }
			Linux   struct {
				AllowAllDevices bool
				Capabilities    []string
			}
		}
	} `json:"plugin"`
	Manifest string
}

type pluginMount struct {
	Name, Type, Source, Destination string
	Options                         []string
}

type pluginDevice struct{ Name, Path string }

// Plugins yields the plugins, by id.
func (s *Store) Plugins() iter.Seq2[runtimes.Plugin, error] {
	return func(yield func(runtimes.Plugin, error) bool) {
		for _, e := range list(s.fsys, s.node, join(s.root, pluginsDir)) {
			if !oci.IsHex64(e.Name) {
				continue // storage, tmp
			}
			p, err := s.plugin(e.Name)
			if !yield(p, nil) || err != nil && !yield(runtimes.Plugin{}, fmt.Errorf("plugin %s: %w", e.Name, err)) {
				return
			}
		}
	}
}

func (s *Store) plugin(id string) (runtimes.Plugin, error) {
	at := join(s.root, pluginsDir+"/"+id)
	out := runtimes.Plugin{Runtime: runtimes.Docker, StorePath: s.root, ID: id, File: join(at, pluginConfig)}
	if ino, err := evidence.Resolve(s.fsys, s.node, join(at, pluginRootfs), true); err == nil {
		out.Rootfs = join(at, pluginRootfs)
		if info, err := s.fsys.Stat(ino); err == nil {
			out.Created = info.Btime
		}
	}
	raw, err := evidence.ReadFile(s.fsys, s.node, out.File, maxConfig)
	if err != nil {
		return out, err
	}
	var doc pluginJSON
	if err = oci.Decode(raw, &doc); err != nil {
		err = fmt.Errorf("%s: %w", out.File, err)
	}
	p := &doc.Plugin
	c := &p.Config
	out.Name, out.Enabled, out.Description, out.Digest = p.Name, p.Enabled, c.Description, doc.Manifest
	out.Interfaces, out.Socket, out.Network = c.Interface.Types, c.Interface.Socket, c.Network.Type
	out.Command = append(c.Entrypoint[:len(c.Entrypoint):len(c.Entrypoint)], p.Settings.Args...)
	out.Env, out.Capabilities, out.AllDevices = p.Settings.Env, c.Linux.Capabilities, c.Linux.AllowAllDevices
	out.HostPID, out.HostIPC = c.PidHost, c.IpcHost
	for _, m := range p.Settings.Mounts {
		mount := runtimes.Mount{Type: m.Type, Name: m.Name, Source: m.Source, Destination: m.Destination}
		for _, o := range m.Options {
			mount.ReadOnly = mount.ReadOnly || o == "ro"
		}
		out.Mounts = append(out.Mounts, mount)
	}
	for _, d := range p.Settings.Devices {
		out.Devices = append(out.Devices, d.Path)
	}
	return out, err
}
