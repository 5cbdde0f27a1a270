package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"lagan/analyzer"
	"lagan/internal/text"
	"lagan/runtimes"
)

// podObject is a pod as Kubernetes' API shows one (core/v1 types.go), with what
// the disk tells of it. What isn't known is left out.
func podObject(p *analyzer.Pod) map[string]any {
	meta, spec, status := map[string]any{}, map[string]any{}, map[string]any{}
	set := func(m map[string]any, key string, v any) {
		switch v := v.(type) {
		case string:
			if v != "" {
				m[key] = v
			}
		case bool:
			if v {
				m[key] = v
			}
		case map[string]string:
			if len(v) > 0 {
				m[key] = textMap(v)
			}
		case []any:
			if len(v) > 0 {
				m[key] = v
			}
		}
	}
	set(meta, "name", p.Name)
	set(meta, "namespace", p.Namespace)
	set(meta, "uid", p.UID)
	set(meta, "creationTimestamp", formatTime(p.Created))
	set(meta, "labels", p.Labels)
	set(meta, "annotations", p.Annotations)
	set(spec, "hostname", p.Hostname)
	set(spec, "hostNetwork", p.HostNetwork)
	var containers, statuses []any
	for _, c := range p.Containers {
		name := cmp.Or(c.Pod.Container, c.Name)
		one, state := map[string]any{"name": name}, map[string]any{"name": name}
		set(one, "image", c.Image)
		set(one, "command", texts(c.Command))
		var env []any
		for _, e := range c.Env {
			k, v, _ := strings.Cut(e, "=")
			env = append(env, map[string]any{"name": k, "value": v})
		}
		set(one, "env", env)
		if c.Privileged {
			one["securityContext"] = map[string]any{"privileged": true}
		}
		var mounts []any
		for _, m := range c.Mounts {
			mount := map[string]any{"mountPath": m.Destination}
			set(mount, "hostPath", m.Source)
			set(mount, "readOnly", m.ReadOnly)
			mounts = append(mounts, mount)
		}
		set(one, "volumeMounts", mounts)
		containers = append(containers, one)
		set(state, "containerID", string(c.Runtime)+"://"+c.ID)
		set(state, "image", c.Image)
		set(state, "imageID", cmp.Or(c.ImageDigest, c.ImageID))
		if c.Pod.Attempt != nil {
			state["restartCount"] = *c.Pod.Attempt
		}
		state["state"] = containerState(c)
		statuses = append(statuses, state)
	}
	set(spec, "containers", containers)
	set(status, "podIP", strings.Join(p.IP[:min(len(p.IP), 1)], ""))
	set(status, "startTime", formatTime(p.Started))
	set(status, "containerStatuses", statuses)
	return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}
}

func containerState(c *analyzer.Container) map[string]any {
	inner := map[string]any{}
	for key, t := range map[string]string{"startedAt": formatTime(c.Started), "finishedAt": formatTime(c.Finished)} {
		if t != "" {
			inner[key] = t
		}
	}
	switch c.State {
	case runtimes.StateRunning:
		return map[string]any{"running": inner}
	case runtimes.StateExited:
		if c.ExitCode != nil {
			inner["exitCode"] = *c.ExitCode
		}
		if c.Reason != "" {
			inner["reason"] = c.Reason
		}
		return map[string]any{"terminated": inner}
	}
	return map[string]any{"waiting": map[string]any{"reason": string(c.State)}}
}

func textMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func texts(list []string) []any {
	var out []any
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

// scalar is a value as YAML and JSON both have it: texts are always quoted, since
// what is a number or a truth to YAML depends on its reader.
func scalar(v any) (string, error) {
	if s, ok := v.(string); ok {
		escaped, _ := text.ForJSON(s)
		v = escaped
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// writeYAML writes maps, lists, texts, numbers and truths as YAML 1.2, maps in
// the order of their keys.
func writeYAML(w io.Writer, v any, indent string) error {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			key, err := yamlKey(k)
			if err != nil {
				return err
			}
			if err := yamlItem(w, indent+key+":", v[k], indent); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := yamlItem(w, indent+"-", e, indent); err != nil {
				return err
			}
		}
	}
	return nil
}

// yamlKey quotes a key that is more than a word.
func yamlKey(k string) (string, error) {
	if k != "" && strings.IndexFunc(k, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) < 0 {
		return k, nil
	}
	return scalar(k)
}

func yamlItem(w io.Writer, head string, v any, indent string) error {
	empty := ""
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			empty = " {}"
		}
	case []any:
		if len(v) == 0 {
			empty = " []"
		}
	default:
		s, err := scalar(v)
		if err == nil {
			_, err = fmt.Fprintf(w, "%s %s\n", head, s)
		}
		return err
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", head, empty); err != nil {
		return err
	}
	return writeYAML(w, v, indent+"  ")
}

// describe writes the same for a reader: one line a fact, names as they stand.
func describe(w io.Writer, v any, indent string) error {
	line := func(head string, v any) error {
		switch v.(type) {
		case map[string]any, []any:
			if _, err := fmt.Fprintf(w, "%s%s:\n", indent, text.ForTerminal(head)); err != nil {
				return err
			}
			return describe(w, v, indent+"  ")
		}
		_, err := fmt.Fprintf(w, "%s%s: %s\n", indent, text.ForTerminal(head), text.ForTerminal(fmt.Sprint(v)))
		return err
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if err := line(k, v[k]); err != nil {
				return err
			}
		}
	case []any:
		for i, e := range v {
			head := fmt.Sprint(i + 1)
			if m, ok := e.(map[string]any); ok && m["name"] != nil {
				head = fmt.Sprint(m["name"])
			}
			if err := line(head, e); err != nil {
				return err
			}
		}
	}
	return nil
}
