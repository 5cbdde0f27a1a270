package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"lagan/analyzer"
	"lagan/runtimes"
)

// criInspect has the shape of `crictl inspect`, or of `crictl inspectp` for a
// sandbox: k8s.io/cri-api, ContainerStatus and PodSandboxStatus, beside what
// containerd's CRI plugin tells with verbose set (internal/cri/server).
type criInspect struct {
	Info   any `json:"info"` // the runtime's own
	Status any `json:"status"`
}

type criMetadata struct {
	Attempt   int    `json:"attempt"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid,omitempty"`
}

type criContainerStatus struct {
	ID          string            `json:"id"`
	Metadata    criMetadata       `json:"metadata"`
	State       string            `json:"state"`
	CreatedAt   string            `json:"createdAt"`
	StartedAt   string            `json:"startedAt"`
	FinishedAt  string            `json:"finishedAt"`
	ExitCode    int               `json:"exitCode"`
	Image       criImage          `json:"image"`
	ImageRef    string            `json:"imageRef"`
	ImageID     string            `json:"imageId"`
	Reason      string            `json:"reason"`
	Message     string            `json:"message"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Mounts      []criMount        `json:"mounts"`
	LogPath     string            `json:"logPath"`
	Resources   *criResources     `json:"resources,omitempty"`
	StopSignal  string            `json:"stopSignal,omitempty"`
	User        *criUser          `json:"user,omitempty"`
}

type criResources struct {
	Linux criLinuxResources `json:"linux"`
}

// criLinuxResources has numbers as texts, as the CRI's JSON has those of 64 bits.
type criLinuxResources struct {
	CPUPeriod   string            `json:"cpuPeriod"`
	CPUQuota    string            `json:"cpuQuota"`
	CPUShares   string            `json:"cpuShares"`
	CPUSetCPUs  string            `json:"cpusetCpus"`
	CPUSetMems  string            `json:"cpusetMems"`
	HugePages   []json.RawMessage `json:"hugepageLimits"`
	Memory      string            `json:"memoryLimitInBytes"`
	Swap        string            `json:"memorySwapLimitInBytes"`
	OOMScoreAdj string            `json:"oomScoreAdj"`
	Unified     map[string]string `json:"unified"`
}

type criImage struct {
	Annotations        map[string]string `json:"annotations"`
	Image              string            `json:"image"`
	RuntimeHandler     string            `json:"runtimeHandler"`
	UserSpecifiedImage string            `json:"userSpecifiedImage"`
}

type criMount struct {
	ContainerPath     string            `json:"containerPath"`
	GIDMappings       []json.RawMessage `json:"gidMappings"`
	HostPath          string            `json:"hostPath"`
	ImageSubPath      *string           `json:"imageSubPath,omitempty"` // CRI-O's
	Propagation       string            `json:"propagation"`
	ReadOnly          bool              `json:"readonly"`
	RecursiveReadOnly bool              `json:"recursiveReadOnly"`
	SELinuxRelabel    bool              `json:"selinuxRelabel"`
	UIDMappings       []json.RawMessage `json:"uidMappings"`
}

type criSandboxStatus struct {
	ID          string            `json:"id"`
	Metadata    criMetadata       `json:"metadata"`
	State       string            `json:"state"`
	CreatedAt   string            `json:"createdAt"`
	Network     criNetwork        `json:"network"`
	Linux       criSandboxLinux   `json:"linux"`
	Handler     string            `json:"runtimeHandler"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type criSandboxLinux struct {
	Namespaces struct {
		Options criNamespaces `json:"options"`
	} `json:"namespaces"`
}

type criNamespaces struct {
	IPC      string `json:"ipc"`
	Network  string `json:"network"`
	PID      string `json:"pid"`
	TargetID string `json:"targetId"`
}

type criNetwork struct {
	AdditionalIPs []criIP `json:"additionalIps"`
	IP            string  `json:"ip"`
}

type criIP struct {
	IP string `json:"ip"`
}

type criInfo struct {
	SandboxID   string          `json:"sandboxID,omitempty"`
	PID         int             `json:"pid,omitempty"`
	Image       string          `json:"image,omitempty"`
	SnapshotKey string          `json:"snapshotKey,omitempty"`
	Snapshotter string          `json:"snapshotter,omitempty"`
	RuntimeType string          `json:"runtimeType,omitempty"`
	Config      json.RawMessage `json:"config,omitempty"`
	RuntimeSpec json.RawMessage `json:"runtimeSpec,omitempty"`
	CNIResult   json.RawMessage `json:"cniResult,omitempty"`
	Sandbox     json.RawMessage `json:"sandboxMetadata,omitempty"`
}

// criConfig is what is read of the configuration that the kubelet gave: ContainerConfig of the CRI.
type criConfig struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Mounts      []struct {
		ContainerPath string `json:"container_path"`
		HostPath      string `json:"host_path"`
		ReadOnly      bool   `json:"readonly"`
		Recursive     bool   `json:"recursive_read_only"`
		Relabel       bool   `json:"selinux_relabel"`
		Propagation   int    `json:"propagation"`
	} `json:"mounts"`
	Linux struct {
		Resources struct {
			CPUPeriod   int64             `json:"cpu_period"`
			CPUQuota    int64             `json:"cpu_quota"`
			CPUShares   int64             `json:"cpu_shares"`
			Memory      int64             `json:"memory_limit_in_bytes"`
			Swap        int64             `json:"memory_swap_limit_in_bytes"`
			OOMScoreAdj int64             `json:"oom_score_adj"`
			CPUSetCPUs  string            `json:"cpuset_cpus"`
			CPUSetMems  string            `json:"cpuset_mems"`
			Unified     map[string]string `json:"unified"`
		} `json:"resources"`
		Security struct {
			Namespaces struct {
				Network, PID, IPC int
				TargetID          string `json:"target_id"`
			} `json:"namespace_options"`
		} `json:"security_context"`
	} `json:"linux"`
}

// resources are the limits that the kubelet asked for at the start.
func (cfg *criConfig) resources() *criResources {
	text := func(n int64) string { return strconv.FormatInt(n, 10) }
	r := &cfg.Linux.Resources
	out := &criResources{criLinuxResources{CPUPeriod: text(r.CPUPeriod), CPUQuota: text(r.CPUQuota), CPUShares: text(r.CPUShares), CPUSetCPUs: r.CPUSetCPUs,
		CPUSetMems: r.CPUSetMems, HugePages: []json.RawMessage{}, Memory: text(r.Memory), Swap: text(r.Swap), OOMScoreAdj: text(r.OOMScoreAdj), Unified: r.Unified}}
	if out.Linux.Unified == nil {
		out.Linux.Unified = map[string]string{}
	}
	return out
}

var criModes = []string{"POD", "CONTAINER", "NODE", "TARGET"}

func criMode(n int) string { return criModes[min(max(n, 0), len(criModes)-1)] }

var criPropagation = []string{"PROPAGATION_PRIVATE", "PROPAGATION_HOST_TO_CONTAINER", "PROPAGATION_BIDIRECTIONAL"}

func newCRIInspect(n *analyzer.Node, c *analyzer.Container) *criInspect {
	if c.Runtime == runtimes.CRIO {
		return newCRIOInspect(n, c)
	}
	record := c.Records["cri/container"]
	if c.Kind == runtimes.KindSandbox {
		record = c.Records["cri/sandbox"]
	}
	var doc struct {
		Metadata struct {
			Config, CNIResult json.RawMessage
			RuntimeHandler    string
		}
	}
	var cfg criConfig
	if json.Unmarshal(record, &doc) == nil {
		_ = json.Unmarshal(doc.Metadata.Config, &cfg) // what decodes in part is used
	}
	var run struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(c.Records["runtime"], &run)
	info := criInfo{SandboxID: c.Pod.SandboxID, PID: c.PID, SnapshotKey: c.Snapshot, Snapshotter: c.Snapshotter,
		RuntimeType: run.Name, Config: doc.Metadata.Config, RuntimeSpec: c.Spec}
	if cfg.Labels == nil {
		cfg.Labels = c.Labels
	}
	if cfg.Annotations == nil {
		cfg.Annotations = map[string]string{}
	}
	if c.Kind == runtimes.KindSandbox {
		info.SandboxID, info.Image = "", c.Image
		info.CNIResult, info.Sandbox = doc.Metadata.CNIResult, record
		return &criInspect{Info: info, Status: criSandbox(c, &cfg, doc.Metadata.RuntimeHandler)}
	}
	return &criInspect{Info: info, Status: criContainer(n, c, &cfg)}
}

func criMeta(c *analyzer.Container) criMetadata {
	m := criMetadata{Name: firstText(c.Pod.Container, c.Name)}
	if c.Pod.Attempt != nil {
		m.Attempt = *c.Pod.Attempt
	}
	return m
}

func criContainer(n *analyzer.Node, c *analyzer.Container, cfg *criConfig) *criContainerStatus {
	s := &criContainerStatus{
		ID: c.ID, Metadata: criMeta(c), CreatedAt: criTime(c.Created), StartedAt: criTime(c.Started), FinishedAt: criTime(c.Finished),
		Image:    criImage{Annotations: map[string]string{}, Image: c.Image},
		ImageRef: c.ImageID, Reason: c.Reason, Labels: cfg.Labels, Annotations: cfg.Annotations, Mounts: []criMount{}, LogPath: c.LogPath,
		Resources: cfg.resources(),
	}
	s.State = map[runtimes.State]string{runtimes.StateCreated: "CONTAINER_CREATED", runtimes.StateRunning: "CONTAINER_RUNNING",
		runtimes.StatePaused: "CONTAINER_RUNNING", runtimes.StateExited: "CONTAINER_EXITED"}[c.State]
	s.State = firstText(s.State, "CONTAINER_UNKNOWN")
	if c.ExitCode != nil {
		s.ExitCode = *c.ExitCode
	}
	var status struct {
		CreatedAt       int64
		Reason, Message string
	}
	if json.Unmarshal(c.Records["cri/status"], &status) == nil && status.CreatedAt > 0 {
		s.CreatedAt, s.Reason, s.Message = criTime(time.Unix(0, status.CreatedAt)), status.Reason, status.Message
	}
	if s.Reason == "" && c.State == runtimes.StateExited { // as the CRI plugin says it: internal/cri/server/container_status.go
		s.Reason = "Completed"
		if s.ExitCode != 0 {
			s.Reason = "Error"
		}
	}
	for _, m := range cfg.Mounts {
		s.Mounts = append(s.Mounts, criMount{ContainerPath: m.ContainerPath, HostPath: m.HostPath, ReadOnly: m.ReadOnly, RecursiveReadOnly: m.Recursive,
			Propagation: criPropagation[min(max(m.Propagation, 0), 2)], SELinuxRelabel: m.Relabel, GIDMappings: []json.RawMessage{}, UIDMappings: []json.RawMessage{}})
	}
	for _, i := range n.Images() { // a reference by digest stands for the image
		if i.ID == c.ImageID && i.Namespace == c.Namespace && i.StorePath == c.StorePath {
			if at := slices.IndexFunc(i.Names, func(name string) bool { return strings.Contains(name, "@sha256:") }); at >= 0 {
				s.ImageRef = i.Names[at]
			}
		}
	}
	return s
}

func criSandbox(c *analyzer.Container, cfg *criConfig, handler string) *criSandboxStatus {
	s := &criSandboxStatus{ID: c.ID, Metadata: criMeta(c), State: "SANDBOX_NOTREADY", CreatedAt: criTime(c.Created),
		Labels: cfg.Labels, Annotations: cfg.Annotations, Network: criNetwork{AdditionalIPs: []criIP{}}, Handler: handler}
	ns := &cfg.Linux.Security.Namespaces
	s.Linux.Namespaces.Options = criNamespaces{criMode(ns.IPC), criMode(ns.Network), criMode(ns.PID), ns.TargetID}
	s.Metadata.Name, s.Metadata.Namespace, s.Metadata.UID = c.Pod.Name, c.Pod.Namespace, c.Pod.UID
	if c.State == runtimes.StateRunning {
		s.State = "SANDBOX_READY"
	}
	for i, ip := range c.IP {
		if i == 0 {
			s.Network.IP = ip
		} else {
			s.Network.AdditionalIPs = append(s.Network.AdditionalIPs, criIP{ip})
		}
	}
	return s
}

// criTime is a time as crictl prints it: year 1 for none.
func criTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
