package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lagan/analyzer"
	"lagan/runtimes"
)

func newPodsCommand(u *ui) *cobra.Command {
	return u.list(listing{
		verb: verb{
			use:   "pods EVIDENCE",
			short: "list every pod that anything on the disk names",
			long: `List the pods, put together from the runtimes' sandboxes, the kubelet's folders, the pods' logs,
static manifests, and what CNI noted of addresses. A pod that only files name is no longer known to its
runtime: found_in says what names it.
`,
			examples: `
  lagan pods node.img.zst
  lagan pods node.img.zst --namespace default --output json
  lagan pods node.img.zst --filter source=file`,
		},
		columns: podColumns, like: &podRecord{},
		choose: []string{"running", "since", "image", "pod", "namespace", "exposed", "privileged", "no-infra"},
		records: func(n *analyzer.Node, _ *selection) ([]record, error) {
			var out []record
			for _, p := range n.Pods() {
				out = append(out, newPodRecord(p))
			}
			return out, nil
		},
	})
}

type podRecord struct {
	ID          string            `json:"id,omitempty"`
	Name        string            `json:"name,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	UID         string            `json:"uid,omitempty"`
	Runtime     string            `json:"runtime,omitempty"`
	State       string            `json:"state"`
	Created     string            `json:"created,omitempty"`
	Started     string            `json:"started,omitempty"`
	Attempt     *int              `json:"attempt,omitempty"`
	IP          string            `json:"ip,omitempty"`
	IPs         []string          `json:"ips,omitempty"`
	Hostname    string            `json:"hostname,omitempty"`
	HostNetwork bool              `json:"host_network,omitempty"`
	Privileged  bool              `json:"privileged"`
	Source      string            `json:"source,omitempty"`
	Manifest    string            `json:"manifest,omitempty"`
	Images      []string          `json:"images,omitempty"`
	Containers  []podContainer    `json:"containers,omitempty"`
	Names       []string          `json:"container_names,omitempty"`
	Sandboxes   []string          `json:"sandboxes,omitempty"`
	Volumes     []podVolume       `json:"volumes,omitempty"`
	Networks    []string          `json:"networks,omitempty"`
	Ports       []runtimes.Port   `json:"ports,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Dir         string            `json:"dir,omitempty"`
	LogDir      string            `json:"log_directory,omitempty"`
	DataRoot    string            `json:"data_root,omitempty"`
	Found       []string          `json:"found_in,omitempty"`

	pod *analyzer.Pod
}

type podContainer struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`
	State string `json:"state"`
	Image string `json:"image,omitempty"`
}

type podVolume struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`
	Mountpoint string `json:"mountpoint"`
	// Entries are the names at its top: the keys of a Secret or ConfigMap.
	Entries []string `json:"entries,omitempty"`
}

func newPodRecord(p *analyzer.Pod) *podRecord {
	r := &podRecord{
		ID: p.ID, Name: p.Name, Namespace: p.Namespace, UID: p.UID, Runtime: string(p.Runtime), State: string(p.State),
		Created: formatTime(p.Created), Started: formatTime(p.Started), Attempt: p.Attempt, IPs: p.IP, Hostname: p.Hostname,
		HostNetwork: p.HostNetwork, Privileged: p.Privileged, Source: p.Source, Manifest: p.Manifest, Images: p.Images, Names: p.Names,
		Networks: p.Networks, Ports: p.Ports, Labels: p.Labels, Annotations: p.Annotations, Dir: p.Dir, LogDir: p.LogDir,
		DataRoot: p.StorePath, Found: p.Found, pod: p,
	}
	if len(p.IP) > 0 {
		r.IP = p.IP[0]
	}
	for _, c := range p.Containers {
		name := c.Pod.Container
		if name == "" {
			name = c.Name
		}
		r.Containers = append(r.Containers, podContainer{c.ID, name, string(c.State), c.Image})
	}
	for _, s := range p.Sandboxes {
		r.Sandboxes = append(r.Sandboxes, s.ID)
	}
	for _, v := range p.Volumes {
		r.Volumes = append(r.Volumes, podVolume{v.Name, v.Driver, v.Mountpoint, v.Entries})
	}
	for _, v := range p.HostVolumes() {
		r.Volumes = append(r.Volumes, podVolume{v.Name, v.Driver, v.Mountpoint, nil})
	}
	return r
}

func (r *podRecord) traits(infra *analyzer.Infra) traits {
	t := traits{
		running: r.State == string(runtimes.StateRunning), privileged: r.Privileged, infra: infra.Pod(r.pod),
		images: r.Images, pod: r.Namespace + "/" + r.Name, podUID: r.UID, namespaces: []string{r.Namespace}, times: []string{r.Created, r.Started},
		exposed: r.HostNetwork,
	}
	for _, p := range r.Ports {
		t.exposed = t.exposed || p.HostPort != 0
	}
	return t
}

var podColumns = columns{
	table: []string{"NAMESPACE", "NAME", "STATE", "CREATED", "IP", "CONTAINERS", "ID", "FOUND IN"},
	wide: []string{"id", "name", "namespace", "uid", "runtime", "state", "created", "started", "ip", "hostname", "host_network", "privileged", "source", "manifest",
		"images", "containers", "volumes", "networks", "ports", "labels", "dir", "log_directory", "found_in"},
}

func (r *podRecord) appendJSON(dst []byte) ([]byte, error) { return appendValue(dst, r) }

func (r *podRecord) row(wide bool) []string {
	if !wide {
		return []string{r.Namespace, firstText(r.Name, r.UID), r.State, shortTime(r.Created), r.IP, strings.Join(r.Names, ","), r.ID[:min(len(r.ID), 12)], strings.Join(r.Found, ",")}
	}
	var volumes []string
	for _, v := range r.Volumes {
		volumes = append(volumes, v.Kind+":"+v.Name)
	}
	return []string{r.ID, r.Name, r.Namespace, r.UID, r.Runtime, r.State, r.Created, r.Started, strings.Join(r.IPs, " "), r.Hostname, fmt.Sprint(r.HostNetwork),
		fmt.Sprint(r.Privileged), r.Source, r.Manifest, strings.Join(r.Images, " "), strings.Join(r.Names, " "), strings.Join(volumes, " "),
		strings.Join(r.Networks, " "), portsText(r.Ports), joinLabels(r.Labels), r.Dir, r.LogDir, strings.Join(r.Found, " ")}
}

func firstText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
