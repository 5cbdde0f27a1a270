package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/runtimes"
)

func newSwarmCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "swarm EVIDENCE",
			short: "list the node's place in a swarm of Docker, and its tasks",
			long: `List the node itself, with its swarm, its role and the managers that it knew, then the tasks that it was given. What only
the managers' log has, services, secrets and configurations, is encrypted and not read; the folder is named.
`,
			examples: `
  lagan swarm node.img.zst
  lagan swarm node.img.zst --filter kind=task --filter state=running --output jsonl`,
		},
		columns: swarmColumns, like: &swarmRecord{},
		choose: []string{"since", "image"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, v := range n.SwarmNodes() {
				out = append(out, newSwarmNode(&v))
			}
			for _, v := range n.SwarmTasks() {
				out = append(out, newSwarmTask(&v))
			}
			return out, nil
		},
	})
}

// swarmRecord is the node, or a task.
type swarmRecord struct {
	Kind    string `json:"kind"`
	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
	Runtime string `json:"runtime"`
	State   string `json:"state,omitempty"`
	Role    string `json:"role,omitempty"`
	Created string `json:"created,omitempty"`

	Cluster  string               `json:"cluster,omitempty"`
	Address  string               `json:"address,omitempty"`
	Listen   string               `json:"listen,omitempty"`
	Joined   string               `json:"joined,omitempty"`
	Managers []runtimes.SwarmPeer `json:"managers,omitempty"`
	From     string               `json:"valid_from,omitempty"` // of the certificate
	Expires  string               `json:"expires,omitempty"`
	Log      string               `json:"log,omitempty"`

	Service   string            `json:"service,omitempty"`
	ServiceID string            `json:"service_id,omitempty"`
	Slot      int               `json:"slot,omitempty"`
	Node      string            `json:"node,omitempty"`
	Image     string            `json:"image,omitempty"`
	Command   []string          `json:"command,omitempty"`
	Env       []string          `json:"env,omitempty"`
	Desired   string            `json:"desired,omitempty"`
	Message   string            `json:"message,omitempty"`
	Error     string            `json:"error,omitempty"`
	Container string            `json:"container,omitempty"`
	PID       int               `json:"pid,omitempty"`
	ExitCode  *int              `json:"exit_code,omitempty"`
	Updated   string            `json:"updated,omitempty"`
	Reported  string            `json:"reported,omitempty"`
	Assigned  *bool             `json:"assigned,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`

	File     string `json:"file,omitempty"`
	DataRoot string `json:"data_root,omitempty"`
}

func newSwarmNode(v *runtimes.SwarmNode) *swarmRecord {
	return &swarmRecord{Kind: "node", ID: v.ID, Runtime: string(v.Runtime), Role: v.Role, From: formatTime(v.ValidFrom), Cluster: v.Cluster, Address: v.Address,
		Listen: v.Listen, Joined: v.Joined, Managers: v.Managers, Expires: formatTime(v.Expires), Log: v.Log, File: v.File, DataRoot: v.StorePath}
}

func newSwarmTask(v *runtimes.SwarmTask) *swarmRecord {
	return &swarmRecord{Kind: "task", ID: v.ID, Name: taskName(v), Runtime: string(v.Runtime), State: v.State, Created: formatTime(v.Created),
		Service: v.Service, ServiceID: v.ServiceID, Slot: v.Slot, Node: v.Node, Image: v.Image, Command: v.Command, Env: v.Env, Desired: v.Desired,
		Message: v.Message, Error: v.Error, Container: v.Container, PID: v.PID, ExitCode: v.ExitCode, Updated: formatTime(v.Updated),
		Reported: formatTime(v.Reported), Assigned: &v.Assigned, Labels: v.Labels, DataRoot: v.StorePath}
}

// taskName is what `docker service ps` calls a task that has no name of its own.
func taskName(v *runtimes.SwarmTask) string {
	switch {
	case v.Name != "" || v.Service == "":
		return v.Name
	case v.Slot > 0:
		return fmt.Sprintf("%s.%d", v.Service, v.Slot)
	}
	return v.Service + "." + v.Node
}

func (r *swarmRecord) traits(*analyzer.Infra) traits {
	return traits{images: []string{r.Image}, times: []string{r.Created, r.Updated, r.Reported}}
}

var swarmColumns = columns{
	table: []string{"KIND", "ID", "NAME", "STATE", "IMAGE", "CONTAINER", "ADDRESS", "CREATED"},
	wide: []string{"kind", "id", "name", "runtime", "role", "state", "desired", "image", "command", "container", "pid", "exit_code", "cluster", "address", "managers",
		"created", "reported", "message", "error", "labels", "log", "data_root"},
}

func (r *swarmRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *swarmRecord) row(wide bool) []string {
	if !wide {
		return []string{r.Kind, shortKey(r.ID), r.Name, firstText(r.State, r.Role), r.Image, shortKey(r.Container), r.Address, shortTime(r.Created)}
	}
	pid, code := "", ""
	if r.PID != 0 {
		pid = fmt.Sprint(r.PID)
	}
	if r.ExitCode != nil {
		code = fmt.Sprint(*r.ExitCode)
	}
	var managers []string
	for _, m := range r.Managers {
		managers = append(managers, m.ID+"="+m.Address)
	}
	return []string{r.Kind, r.ID, r.Name, r.Runtime, r.Role, r.State, r.Desired, r.Image, strings.Join(r.Command, " "), r.Container, pid, code, r.Cluster, r.Address,
		joinTexts(managers), r.Created, r.Reported, r.Message, r.Error, joinLabels(r.Labels), r.Log, r.DataRoot}
}
