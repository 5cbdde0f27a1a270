package main

import (
	"encoding/json"
	"strconv"

	"lagan/analyzer"
	"lagan/runtimes"
)

// Annotations of CRI-O's specifications beside those that containers' records
// are made of: internal/annotations/internal.go of CRI-O.
const (
	crioAnnotations = "io.kubernetes.cri-o.Annotations"      // JSON text
	crioVolumes     = "io.kubernetes.cri-o.Volumes"          // CRI's mounts, as JSON
	crioNamespaces  = "io.kubernetes.cri-o.NamespaceOptions" // as JSON
	crioImageRef    = "io.kubernetes.cri-o.ImageRef"         // the image's id
	crioRepoDigests = "io.kubernetes.cri-o.ImageRepoDigests"
	crioHandler     = "io.kubernetes.cri-o.RuntimeHandler"
)

// crioInfo is what CRI-O tells with verbose set: server/container_status.go and
// server/sandbox_status.go of CRI-O.
type crioInfo struct {
	Image        string          `json:"image,omitempty"` // of a sandbox
	SandboxID    string          `json:"sandboxID,omitempty"`
	Pid          int             `json:"pid"`
	Privileged   *bool           `json:"privileged,omitempty"`
	Restored     *bool           `json:"restored,omitempty"`
	Checkpointed string          `json:"checkpointedAt,omitempty"`
	RuntimeSpec  json.RawMessage `json:"runtimeSpec,omitempty"`
}

// criUser is whom a container's first process ran as, numbers as texts.
type criUser struct {
	Linux struct {
		GID    string   `json:"gid"`
		Groups []string `json:"supplementalGroups"`
		UID    string   `json:"uid"`
	} `json:"linux"`
}

// newCRIOInspect has the shape of crictl's output where CRI-O is the runtime,
// filled from the annotations that it keeps its knowledge in, and its state.json.
func newCRIOInspect(n *analyzer.Node, c *analyzer.Container) *criInspect {
	cfg := criConfig{Labels: c.Labels, Annotations: map[string]string{}}
	ann := c.Annotations
	_ = json.Unmarshal([]byte(ann[crioAnnotations]), &cfg.Annotations) // what isn't there leaves what is
	_ = json.Unmarshal([]byte(ann[crioVolumes]), &cfg.Mounts)
	_ = json.Unmarshal([]byte(ann[crioNamespaces]), &cfg.Linux.Security.Namespaces)
	if cfg.Annotations == nil {
		cfg.Annotations = map[string]string{}
	}
	info := crioInfo{Pid: c.PID, RuntimeSpec: c.Spec}
	var state struct {
		Created        string `json:"created"`
		InitPid        int    `json:"initPid"`
		Restored       bool   `json:"restored"`
		CheckpointedAt string `json:"checkpointedAt"`
	}
	_ = json.Unmarshal(c.Records["crio/state.json"], &state)
	if info.Pid == 0 {
		info.Pid = state.InitPid
	}
	if c.Kind == runtimes.KindSandbox {
		info.Image = c.Image
		s := criSandbox(c, &cfg, ann[crioHandler])
		if p := n.PodOf(c); p != nil && s.Network.IP == "" && len(p.IP) > 0 { // the sandbox' own file was written before it was connected
			s.Network.IP = p.IP[0]
		}
		return &criInspect{Info: info, Status: s}
	}
	info.SandboxID, info.Privileged, info.Restored, info.Checkpointed = c.Pod.SandboxID, &c.Privileged, &state.Restored, firstText(state.CheckpointedAt, "0001-01-01T00:00:00Z")
	s := criContainer(n, c, &cfg)
	s.CreatedAt = firstText(state.Created, s.CreatedAt)
	s.ImageID, s.ImageRef = ann[crioImageRef], firstText(ann[crioRepoDigests], s.ImageRef)
	s.User, s.StopSignal = crioUser(c.Spec), "RUNTIME_DEFAULT"
	for i := range s.Mounts {
		none := ""
		s.Mounts[i].ImageSubPath = &none
	}
	return &criInspect{Info: info, Status: s}
}

func crioUser(spec json.RawMessage) *criUser {
	var doc struct {
		Process struct {
			User struct {
				UID    int64   `json:"uid"`
				GID    int64   `json:"gid"`
				Groups []int64 `json:"additionalGids"`
			} `json:"user"`
		} `json:"process"`
	}
	if len(spec) == 0 || json.Unmarshal(spec, &doc) != nil {
		return nil
	}
	u := &criUser{}
	u.Linux.UID, u.Linux.GID = strconv.FormatInt(doc.Process.User.UID, 10), strconv.FormatInt(doc.Process.User.GID, 10)
	u.Linux.Groups = []string{}
	for _, g := range doc.Process.User.Groups {
		u.Linux.Groups = append(u.Linux.Groups, strconv.FormatInt(g, 10))
	}
	return u
}
