package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/runtimes"
)

func newPluginsCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "plugins EVIDENCE",
			short: "list the plugins of Docker: programs that it runs for itself",
			long: `List Docker's plugins: what they are for, what they run, what of the node they may use. Their files are in the folder
that rootfs names, for ls and export of @node.
`,
			examples: `
  lagan plugins node.img.zst
  lagan plugins node.img.zst --filter enabled=true --output json`,
		},
		columns: pluginColumns, like: &pluginRecord{},
		choose: []string{"since", "privileged"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, v := range n.Plugins() {
				out = append(out, newPluginRecord(&v))
			}
			return out, nil
		},
	})
}

type pluginRecord struct {
	ID           string           `json:"id"`
	Name         string           `json:"name,omitempty"`
	Runtime      string           `json:"runtime"`
	Enabled      bool             `json:"enabled"`
	Description  string           `json:"description,omitempty"`
	Interfaces   []string         `json:"interfaces,omitempty"`
	Socket       string           `json:"socket,omitempty"`
	Command      []string         `json:"command,omitempty"`
	Env          []string         `json:"env,omitempty"`
	Network      string           `json:"network,omitempty"`
	Capabilities []string         `json:"capabilities,omitempty"`
	Devices      []string         `json:"devices,omitempty"`
	AllDevices   bool             `json:"all_devices,omitempty"`
	HostPID      bool             `json:"host_pid,omitempty"`
	HostIPC      bool             `json:"host_ipc,omitempty"`
	Mounts       []runtimes.Mount `json:"mounts,omitempty"`
	Digest       string           `json:"digest,omitempty"`
	Created      string           `json:"created,omitempty"`
	Rootfs       string           `json:"rootfs,omitempty"`
	File         string           `json:"file,omitempty"`
	DataRoot     string           `json:"data_root,omitempty"`
}

func newPluginRecord(v *runtimes.Plugin) *pluginRecord {
	return &pluginRecord{ID: v.ID, Name: v.Name, Runtime: string(v.Runtime), Enabled: v.Enabled, Description: v.Description, Interfaces: v.Interfaces, Socket: v.Socket,
		Command: v.Command, Env: v.Env, Network: v.Network, Capabilities: v.Capabilities, Devices: v.Devices, AllDevices: v.AllDevices, HostPID: v.HostPID,
		HostIPC: v.HostIPC, Mounts: v.Mounts, Digest: v.Digest, Created: formatTime(v.Created), Rootfs: v.Rootfs, File: v.File, DataRoot: v.StorePath}
}

// traits takes for privileged what may use the node as its root does.
func (r *pluginRecord) traits(*analyzer.Infra) traits {
	strong := r.AllDevices || r.HostPID
	for _, c := range r.Capabilities {
		strong = strong || c == "CAP_SYS_ADMIN"
	}
	return traits{times: []string{r.Created}, privileged: strong}
}

var pluginColumns = columns{
	table: []string{"ID", "NAME", "ENABLED", "INTERFACES", "COMMAND", "NETWORK", "CAPABILITIES", "CREATED"},
	wide: []string{"id", "name", "runtime", "enabled", "description", "interfaces", "socket", "command", "env", "network", "capabilities", "devices", "all_devices",
		"host_pid", "host_ipc", "mounts", "digest", "created", "rootfs", "file", "data_root"},
}

func (r *pluginRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *pluginRecord) row(wide bool) []string {
	command := strings.Join(r.Command, " ")
	if !wide {
		return []string{shortKey(r.ID), r.Name, fmt.Sprint(r.Enabled), strings.Join(r.Interfaces, ","), command, r.Network, strings.Join(r.Capabilities, ","), shortTime(r.Created)}
	}
	var mounts []string
	for _, m := range r.Mounts {
		mounts = append(mounts, m.Source+"="+m.Destination)
	}
	return []string{r.ID, r.Name, r.Runtime, fmt.Sprint(r.Enabled), r.Description, joinTexts(r.Interfaces), r.Socket, command, joinTexts(r.Env), r.Network,
		joinTexts(r.Capabilities), joinTexts(r.Devices), fmt.Sprint(r.AllDevices), fmt.Sprint(r.HostPID), fmt.Sprint(r.HostIPC), joinTexts(mounts), r.Digest, r.Created,
		r.Rootfs, r.File, r.DataRoot}
}
