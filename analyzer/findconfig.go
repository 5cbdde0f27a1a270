package analyzer

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"lagan/findings"
	"lagan/runtimes"
)

// dangerous are the capabilities that lead out of a container: capabilities(7),
// and what is written of each way out.
var dangerous = []string{
	"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_DAC_READ_SEARCH", "CAP_SYS_BOOT", "CAP_BPF", "CAP_PERFMON",
	"CAP_SYSLOG", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_LINUX_IMMUTABLE",
}

// systemNamespaces are those of a cluster's own pods.
var systemNamespaces = regexp.MustCompile(`^(kube-system|kube-node-lease|kube-public|openshift-.*|calico-system|tigera-operator|gke-managed-.*|gmp-system|amazon-.*|aws-.*|cattle-.*|longhorn-system|rook-ceph|kube-flannel|cilium.*|metallb-system)$`)

// rights is what a container may do beyond the usual.
type rights struct {
	privileged, hostPID, hostIPC, hostNetwork bool
	capabilities                              []string
	mounts                                    []string
}

// rightsOf reads them from the specification, or from Docker's host configuration.
func rightsOf(c *Container) rights {
	r := rights{privileged: c.Privileged, hostNetwork: c.HostNetwork}
	var caps []string
	var spec struct {
		Process struct {
			Capabilities struct {
				Bounding []string `json:"bounding"`
			} `json:"capabilities"`
		} `json:"process"`
		Linux *struct {
			Namespaces []struct {
				Type string `json:"type"`
				Path string `json:"path"`
			} `json:"namespaces"`
		} `json:"linux"`
	}
	if len(c.Spec) > 0 && json.Unmarshal(c.Spec, &spec) == nil && spec.Linux != nil {
		caps = spec.Process.Capabilities.Bounding
		own := make(map[string]bool)
		for _, ns := range spec.Linux.Namespaces {
			own[ns.Type] = ns.Path != "/proc/1/ns/"+ns.Type
		}
		r.hostPID, r.hostIPC = len(own) > 0 && !own["pid"], len(own) > 0 && !own["ipc"]
	}
	var host struct {
		PidMode, IpcMode, NetworkMode string
		CapAdd                        []string
	}
	if raw := c.Records["hostconfig.json"]; len(raw) > 0 && json.Unmarshal(raw, &host) == nil {
		r.hostPID, r.hostIPC = host.PidMode == "host", host.IpcMode == "host"
		r.hostNetwork = r.hostNetwork || host.NetworkMode == "host"
		caps = host.CapAdd
	}
	for _, k := range caps {
		if k = strings.ToUpper(k); !strings.HasPrefix(k, "CAP_") {
			k = "CAP_" + k
		}
		if slices.Contains(dangerous, k) || k == "CAP_ALL" {
			r.capabilities = append(r.capabilities, k)
		}
	}
	for i := range c.Mounts {
		if m := &c.Mounts[i]; !ownMount(c, m) && !ownVolume(c, m) || runtimeSocket(m.Source) {
			r.mounts = append(r.mounts, mountReason(m)...)
		}
	}
	return r
}

func runtimeSocket(source string) bool {
	switch path.Base(source) {
	case "docker.sock", "containerd.sock", "crio.sock", "podman.sock", "cri-dockerd.sock":
		return true
	}
	return false
}

// sensitive are folders of a node whose contents decide what it runs or who may enter it.
var sensitive = regexp.MustCompile(`^(/|/(etc|root|home|boot|dev|proc|sys|usr|bin|sbin|lib|lib64|var|var/lib|var/run|run|srv|opt|var/log|tmp|host|mnt)(/.*)?)$`)

// mountReason says why a folder of the node matters in a container.
func mountReason(m *runtimes.Mount) []string {
	source := path.Clean(m.Source)
	switch {
	case runtimeSocket(source):
		return []string{"the runtime's socket " + source + " at " + m.Destination}
	case m.ReadOnly && (source == "/" || source == "/etc" || source == "/root" || strings.HasPrefix(source, "/etc/kubernetes")):
		return []string{source + " at " + m.Destination + ", to be read"}
	case m.ReadOnly || harmless[source] || strings.HasPrefix(source, "/dev/shm"):
		return nil
	case sensitive.MatchString(source):
		return []string{source + " at " + m.Destination + ", to be written"}
	}
	return nil
}

// harmless are folders and files of the node that many containers have for good reasons.
var harmless = map[string]bool{"/etc/localtime": true, "/etc/timezone": true, "/sys/fs/cgroup": true, "/run/xtables.lock": true, "/dev/null": true, "/dev/log": true, "/run/systemd/journal/socket": true}

func (r *rights) reasons() []string {
	var out []string
	if r.privileged {
		out = append(out, "privileged: every capability and device")
	}
	if r.hostPID {
		out = append(out, "the node's processes (host PID namespace)")
	}
	if r.hostIPC {
		out = append(out, "the node's IPC namespace")
	}
	if len(r.capabilities) > 0 && !r.privileged {
		out = append(out, "capabilities: "+strings.Join(r.capabilities, " "))
	}
	return append(out, r.mounts...)
}

// container holds a container's configuration against the rules.
func (f *finder) container(c *Container) {
	r := rightsOf(c)
	s := findings.NewSubject(findings.KindContainer)
	for field, v := range map[string]string{
		"id": c.ID, "name": c.Name, "runtime": string(c.Runtime), "namespace": c.Namespace, "kind": string(c.Kind), "state": string(c.State),
		"image": c.Image, "pod": c.Pod.Name, "pod_namespace": c.Pod.Namespace, "command": "",
	} {
		s.Set(field, v)
	}
	s.Set("args", strings.Join(c.Command, " "))
	s.List("env", c.Env)
	s.List("secret_env", secretsOf(c.Env))
	s.Flag("privileged", r.privileged)
	s.Flag("host_network", r.hostNetwork)
	s.Flag("host_pid", r.hostPID)
	s.Flag("host_ipc", r.hostIPC)
	s.List("capabilities", r.capabilities)
	s.List("mounts", r.mounts)
	reasons := r.reasons()
	s.List("reasons", reasons)
	s.Flag("system", systemNamespaces.MatchString(c.Pod.Namespace))
	e := findings.Evidence{Kind: findings.KindContainer, Place: "CONTAINER:" + c.DisplayName(), Container: f.containerOf(c), Time: c.Created, TimeOf: "created", Offset: -1}
	for _, m := range f.set.Match(s) {
		found := e
		found.Kind, found.Field, found.Value = s.Kind, m.Field, m.Value
		switch {
		case m.Field == "reasons" && m.Rule.Own:
			for _, reason := range reasons {
				found.Field, found.Value = "access", reason
				f.all.Add(m.Rule, "", found)
			}
			continue
		case m.Field == "secret_env":
			for _, secret := range secretsOf(c.Env) {
				found.Field, found.Value = "env", maskSecret(secret)
				f.all.Add(m.Rule, "", found)
			}
			continue
		}
		f.all.Add(m.Rule, "", found)
	}
	f.indicators(s, e)
	f.beside(c, e)
	f.failed(c, e)
}

// secretName is how variables are called that hold a secret themselves, not the
// name of a file or of another variable that does.
var secretName = regexp.MustCompile(`(?i)(PASSWORD|PASSWD|PASSPHRASE|SECRET|API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY|ENCRYPTION_?KEY|AUTH_?TOKEN|ACCESS_?TOKEN|_TOKEN|_PWD|CREDENTIALS|_DSN)[0-9]*$`)

// secretValue is a value that may be a secret: no path, no switch, no number.
var secretValue = regexp.MustCompile(`^[^/\s]`)

var switches = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|none|null|enabled|disabled|[0-9]+)$`)

// secretsOf returns the variables that seem to hold a secret.
func secretsOf(env []string) []string {
	var out []string
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if secretName.MatchString(name) && secretValue.MatchString(value) && !switches.MatchString(value) {
			out = append(out, e)
		}
	}
	return out
}

// maskSecret keeps a secret's name and says that it has a value.
func maskSecret(env string) string {
	name, value, _ := strings.Cut(env, "=")
	return fmt.Sprintf("%s=(%d characters)", name, len(value))
}

// kubeletNamespaces are the namespaces of containerd that the kubelet and Docker use.
var kubeletNamespaces = map[string]bool{"": true, "k8s.io": true, "moby": true}

// beside tells a container of a cluster's node that is no part of the cluster.
func (f *finder) beside(c *Container, e findings.Evidence) {
	if c.Kind != runtimes.KindContainer || c.Pod.Name != "" || !f.n.inCluster() {
		return
	}
	e.Field, e.Value = "pod", "it belongs to no pod; image "+c.Image
	if !kubeletNamespaces[c.Namespace] {
		e.Field, e.Value = "namespace", "it lies in containerd's namespace "+c.Namespace+"; image "+c.Image
	}
	f.computed("container-without-pod", e)
}

// failed tells a container that ended by a signal or with an error.
func (f *finder) failed(c *Container, e findings.Evidence) {
	if c.ExitCode == nil || *c.ExitCode == 0 || c.State != runtimes.StateExited || c.Kind != runtimes.KindContainer {
		return
	}
	e.Field, e.Value, e.Time, e.TimeOf = "exit_code", fmt.Sprint(*c.ExitCode), c.Finished, "ended"
	if *c.ExitCode > 128 && *c.ExitCode < 128+65 {
		e.Value += fmt.Sprintf(" (signal %d)", *c.ExitCode-128)
	}
	if c.OOMKilled {
		e.Value += ", out of memory"
	}
	f.computed("container-gone", e)
}

// image holds an image against the rules.
func (f *finder) image(i *Image) {
	s := findings.NewSubject(findings.KindImage)
	s.Set("id", i.ID)
	s.List("names", i.Names)
	s.Set("digest", i.Digest)
	s.Set("runtime", string(i.Runtime))
	s.Flag("pulled_digest", i.Digest != "")
	by, committed := i.committedBy(f.n.Containers())
	s.Flag("committed", committed)
	var steps []string
	for _, h := range i.History {
		steps = append(steps, h.CreatedBy)
	}
	s.List("history", steps)
	e := findings.Evidence{Kind: findings.KindImage, Place: "IMAGE:" + i.DisplayName(), Time: i.Created, TimeOf: "created", Offset: -1}
	for _, m := range f.set.Match(s) {
		found := e
		found.Field, found.Value = m.Field, m.Value
		image := i.DisplayName()
		switch {
		case m.Rule.Group == findings.GroupNode:
			image = ""
			found.Field, found.Value = "names", strings.Join(i.Names, " ")
		case m.Rule.ID == "image-committed":
			found.Field, found.Value = "history", by
		}
		f.all.Add(m.Rule, image, found)
	}
	f.indicators(s, e)
}

// committedBy says whether the image's last layer is what a container had
// written: its step is then no instruction of a build, but the command that
// the container ran (moby daemon/commit.go; Podman writes the shell alone).
func (i *Image) committedBy(containers []*Container) (string, bool) {
	if i.Digest != "" && i.Runtime != runtimes.Podman || len(i.History) == 0 {
		return "", false // pulled: whoever built it did so elsewhere
	}
	last := i.History[len(i.History)-1]
	by := strings.TrimSpace(last.CreatedBy)
	if last.Empty {
		return "", false
	}
	var config struct {
		Config struct{ Entrypoint, Cmd []string }
	}
	json.Unmarshal(i.Config, &config) // without it, containers' commands are compared
	own := append(slices.Clone(config.Config.Entrypoint), config.Config.Cmd...)
	committed := by != "" && (by == strings.Join(own, " ") || by == strings.Join(config.Config.Cmd, " ") || by == "/bin/sh" && strings.HasPrefix(last.Comment, "FROM "))
	for _, c := range containers {
		committed = committed || by != "" && c.Runtime == i.Runtime && by == strings.Join(c.Command, " ")
	}
	note := "the last layer was made by: " + by
	if last.Author != "" {
		note += "; author " + last.Author
	}
	if last.Comment != "" {
		note += "; comment " + last.Comment
	}
	return note, committed
}

// verify adds what images on the disk are not as their digests promise.
func (f *finder) verify() error {
	if f.o.NoVerify {
		return nil
	}
	return f.n.Verify(f.ctx, nil, func(v Verdict) error {
		if !v.Finding() || v.Check == CheckImage {
			return nil
		}
		e := findings.Evidence{Kind: findings.KindImage, Place: "IMAGE:" + v.Image + ":" + v.Path, Path: v.Path, Offset: -1, Field: v.Check}
		e.Value = strings.TrimSpace(fmt.Sprintf("%s %s %s: wanted %s, got %s; %s", v.Result, v.Check, v.Field, v.Want, v.Got, v.Object))
		if v.Info.Inode != 0 {
			e.File = fileEvidence(&v.Info, "", "")
			e.Time, e.TimeOf = v.Info.Ctime, "changed"
		}
		f.all.Add(f.set.Rule("layer-tampered"), firstOf(v.Image, v.Object), e)
		return nil
	})
}
