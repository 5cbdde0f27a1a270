package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/runtimes"
)

func newTasksCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "tasks EVIDENCE",
			short: "list the containers that had a process when the copy was taken",
			long: `List the containers that the disk says had a process when it was copied, with its number where a runtime noted
it. containerd keeps its tasks in memory: of a container outside Kubernetes only a folder tells that there was one.
`,
			examples: `
  lagan tasks node.img.zst
  lagan tasks node.img.zst --filter pid=787`,
		},
		columns: taskColumns, like: &taskRecord{},
		choose: []string{"running", "since", "image", "pod", "namespace", "privileged", "no-infra"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, c := range n.Tasks() {
				out = append(out, newTaskRecord(c))
			}
			return out, nil
		},
	})
}

type taskRecord struct {
	ID        string            `json:"id"`
	Name      string            `json:"name,omitempty"`
	Runtime   string            `json:"runtime"`
	Namespace string            `json:"namespace,omitempty"`
	PID       int               `json:"pid,omitempty"`
	State     string            `json:"state"`
	Started   string            `json:"started,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Command   []string          `json:"command,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`

	of *containerRecord
}

func newTaskRecord(c *analyzer.Container) *taskRecord {
	return &taskRecord{ID: c.ID, Name: c.DisplayName(), Runtime: string(c.Runtime), Namespace: c.Namespace, PID: c.PID, State: string(c.State),
		Started: formatTime(c.Started), Reason: c.Reason, Command: c.Command, Labels: c.Labels, of: newContainerRecord(c)}
}

func (r *taskRecord) traits(infra *analyzer.Infra) traits { return r.of.traits(infra) }

var taskColumns = columns{
	table: []string{"ID", "NAME", "RUNTIME", "PID", "STATE", "STARTED", "COMMAND"},
	wide:  []string{"id", "name", "runtime", "namespace", "pid", "state", "started", "reason", "command", "labels"},
}

func (r *taskRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *taskRecord) row(wide bool) []string {
	pid := ""
	if r.PID != 0 {
		pid = fmt.Sprint(r.PID)
	}
	command := strings.Join(r.Command, " ")
	if wide {
		return []string{r.ID, r.Name, r.Runtime, r.Namespace, pid, r.State, r.Started, r.Reason, command, joinLabels(r.Labels)}
	}
	state := r.State
	if r.State == string(runtimes.StateUnknown) && r.Reason != "" {
		state += "*"
	}
	return []string{r.ID[:min(len(r.ID), 12)], r.Name, r.Runtime, pid, state, shortTime(r.Started), command}
}
