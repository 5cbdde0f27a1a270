package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/runtimes"
)

func newContainersCommand(u *ui) *cobra.Command {
	var removed bool
	return u.list(listing{
		more: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&removed, "removed", false, "those too that were removed, as far as traces tell of them (see recover)")
		},
		verb: verb{
			use: "containers EVIDENCE", alias: "ps",
			short: "list every container and sandbox of every runtime",
			long:  "List the containers and sandboxes of every runtime and namespace, as the disk records them.\n",
			examples: `
  lagan containers node.img.zst
  lagan containers node.img.zst --running --no-infra --wide
  lagan containers node.img.zst --removed
  lagan containers node.img.zst --filter state=exited --filter 'image=*nginx*'
  lagan containers /dev/nvme1n1 --output jsonl | jq 'select(.privileged) | .name'`,
		},
		columns: containerColumns, like: &containerRecord{},
		choose: []string{"running", "since", "image", "pod", "namespace", "exposed", "privileged", "no-infra"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, c := range n.Containers() {
				out = append(out, newContainerRecord(c))
			}
			if !removed {
				return out, nil
			}
			gone, err := n.RemovedContainers(u.ctx)
			for _, c := range gone {
				out = append(out, newContainerRecord(c))
			}
			return out, err
		},
	})
}

// containerRecord is a container as containers prints it; CLI.md of the
// project's documents names the fields.
type containerRecord struct {
	ID           string            `json:"id"`
	Name         string            `json:"name,omitempty"`
	Kind         string            `json:"kind"`
	Runtime      string            `json:"runtime"`
	Namespace    string            `json:"namespace,omitempty"`
	State        string            `json:"state"`
	Removed      bool              `json:"removed,omitempty"`
	Image        string            `json:"image,omitempty"`
	ImageID      string            `json:"image_id,omitempty"`
	ImageDigest  string            `json:"image_digest,omitempty"`
	Created      string            `json:"created,omitempty"`
	Updated      string            `json:"updated,omitempty"`
	Started      string            `json:"started,omitempty"`
	Finished     string            `json:"finished,omitempty"`
	ExitCode     *int              `json:"exit_code,omitempty"`
	Reason       string            `json:"reason,omitempty"`
	OOMKilled    bool              `json:"oom_killed,omitempty"`
	PID          int               `json:"pid,omitempty"`
	Command      []string          `json:"command,omitempty"`
	Hostname     string            `json:"hostname,omitempty"`
	PodName      string            `json:"pod_name,omitempty"`
	PodNamespace string            `json:"pod_namespace,omitempty"`
	PodUID       string            `json:"pod_uid,omitempty"`
	SandboxID    string            `json:"sandbox_id,omitempty"`
	Restarts     *int              `json:"restart_count,omitempty"`
	IP           string            `json:"ip,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Privileged   bool              `json:"privileged"`
	Snapshotter  string            `json:"snapshotter,omitempty"`
	Snapshot     string            `json:"snapshot,omitempty"`
	UpperDir     string            `json:"upper_dir,omitempty"`
	LowerDirs    []string          `json:"lower_dirs,omitempty"`
	LogPath      string            `json:"log_path,omitempty"`
	DataRoot     string            `json:"data_root,omitempty"`
	Mounts       []runtimes.Mount  `json:"mounts,omitempty"`
	Ports        []runtimes.Port   `json:"ports,omitempty"`
	HostNetwork  bool              `json:"host_network,omitempty"`

	container *analyzer.Container
}

func newContainerRecord(c *analyzer.Container) *containerRecord {
	r := &containerRecord{
		ID: c.ID, Name: c.Name, Kind: string(c.Kind), Runtime: string(c.Runtime), Namespace: c.Namespace, State: string(c.State), Removed: c.Removed,
		Image: c.Image, ImageID: c.ImageID, ImageDigest: c.ImageDigest,
		Created: formatTime(c.Created), Updated: formatTime(c.Updated), Started: formatTime(c.Started), Finished: formatTime(c.Finished),
		ExitCode: c.ExitCode, Reason: c.Reason, OOMKilled: c.OOMKilled, PID: c.PID, Command: c.Command, Hostname: c.Hostname,
		PodName: c.Pod.Name, PodNamespace: c.Pod.Namespace, PodUID: c.Pod.UID, SandboxID: c.Pod.SandboxID, Restarts: c.Restarts,
		Labels: c.Labels, Privileged: c.Privileged, Snapshotter: c.Snapshotter, Snapshot: c.Snapshot,
		UpperDir: c.Rootfs.Upper.Dir, LogPath: c.LogPath, DataRoot: c.StorePath, Mounts: c.Mounts,
		Ports: c.Ports, HostNetwork: c.HostNetwork, container: c,
	}
	if len(c.IP) > 0 {
		r.IP = c.IP[0]
	}
	for _, l := range c.Rootfs.Lower {
		if l.Dir != "" { // inspect names the digests of those that aren't on the disk
			r.LowerDirs = append(r.LowerDirs, l.Dir)
		}
	}
	return r
}

func (r *containerRecord) traits(infra *analyzer.Infra) traits {
	return traits{
		running: r.State == string(runtimes.StateRunning) || r.State == string(runtimes.StatePaused),
		exposed: exposed(r.container), privileged: r.Privileged, infra: infra.Container(r.container),
		images: []string{r.Image, r.ImageID, r.ImageDigest}, pod: r.PodNamespace + "/" + r.PodName, podUID: r.PodUID,
		namespaces: []string{r.Namespace, r.PodNamespace}, times: []string{r.Created, r.Started},
	}
}

// exposed says whether a container can be reached from outside the node.
func exposed(c *analyzer.Container) bool {
	return c.HostNetwork || slices.ContainsFunc(c.Ports, func(p runtimes.Port) bool { return p.HostPort != 0 })
}

// portsText is how ports stand in tables: as docker's.
func portsText(ports []runtimes.Port) string {
	var out []string
	for _, p := range ports {
		s := strconv.Itoa(p.ContainerPort)
		if p.Protocol != "" {
			s += "/" + p.Protocol
		}
		if p.HostPort != 0 {
			s = hostPort(p.HostIP, p.HostPort) + "->" + s
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func hostPort(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

var containerColumns = columns{
	table: []string{"ID", "NAME", "RUNTIME", "STATE", "IMAGE", "CREATED", "POD"},
	wide: []string{"id", "name", "kind", "runtime", "namespace", "state", "image", "image_digest", "created", "started", "finished", "exit_code", "pid",
		"command", "pod_name", "pod_namespace", "pod_uid", "ip", "labels", "privileged", "snapshotter", "snapshot", "upper_dir", "lower_dirs", "log_path", "mounts", "ports", "host_network"},
}

func (r *containerRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *containerRecord) row(wide bool) []string {
	if wide {
		return r.wideRow()
	}
	state := r.State
	if r.ExitCode != nil && r.State == string(runtimes.StateExited) {
		state += " (" + strconv.Itoa(*r.ExitCode) + ")"
	}
	if r.Removed {
		state = strings.TrimPrefix("removed, "+state, "removed, unknown")
		if state == "" {
			state = "removed"
		}
	}
	pod := ""
	if r.PodName != "" {
		pod = r.PodNamespace + "/" + r.PodName
	}
	name := r.Name
	if r.Kind == string(runtimes.KindSandbox) {
		name += " (sandbox)"
	}
	return []string{r.ID[:min(len(r.ID), 12)], name, r.Runtime, state, r.Image, shortTime(r.Created), pod}
}

// shortTime cuts a record's time to seconds.
func shortTime(s string) string {
	t, err := time.Parse(timeFormat, s)
	if err != nil {
		return s
	}
	return t.Format("2006-01-02T15:04:05Z")
}

func (r *containerRecord) wideRow() []string {
	exit, pid := "", ""
	if r.ExitCode != nil {
		exit = strconv.Itoa(*r.ExitCode)
	}
	if r.PID != 0 {
		pid = strconv.Itoa(r.PID)
	}
	var mounts []string
	for _, m := range r.Mounts {
		mounts = append(mounts, m.Source+":"+m.Destination)
	}
	return []string{r.ID, r.Name, r.Kind, r.Runtime, r.Namespace, r.State, r.Image, r.ImageDigest, r.Created, r.Started, r.Finished, exit, pid,
		strings.Join(r.Command, " "), r.PodName, r.PodNamespace, r.PodUID, r.IP, joinLabels(r.Labels), strconv.FormatBool(r.Privileged), r.Snapshotter, r.Snapshot,
		r.UpperDir, strings.Join(r.LowerDirs, ":"), r.LogPath, strings.Join(mounts, ","), portsText(r.Ports), strconv.FormatBool(r.HostNetwork)}
}

func joinLabels(labels map[string]string) string {
	var out []string
	for k, v := range labels {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
