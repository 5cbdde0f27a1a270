package analyzer

import (
	"slices"
	"strings"

	"lagan/runtimes"
	"lagan/runtimes/kubernetes"
)

// Infra tells containers that a platform runs for itself from those that its
// users run. Whoever controls a container can make it look like one of these:
// hide them to read a list, never to judge it.
type Infra struct {
	Names  []string // of containers
	Images []string // repositories: "registry/path/name", or the last element alone
	Labels []string // KEY=VALUE, or KEY
}

// DefaultInfra returns what is known without a list: pods' sandboxes, and what
// runs in Kubernetes' own namespace.
func DefaultInfra() *Infra {
	return &Infra{
		Images: []string{"pause", "pause-amd64", "pause-arm64", "mirrored-pause", "podman-pause"},
		Labels: []string{kubernetes.LabelPodNamespace + "=kube-system"},
	}
}

// Extend adds what a list names: YAML with the keys names, images and labels, each
// a list of texts, as container-explorer's supportcontainer.yaml. What else is
// in the text is passed over. It says how many entries it took.
func (i *Infra) Extend(yaml string) int {
	var into *[]string
	taken := 0
	for line := range strings.Lines(yaml) {
		text := strings.TrimSpace(line)
		entry, isEntry := strings.CutPrefix(text, "-")
		switch {
		case text == "" || text[0] == '#' || strings.HasPrefix(text, "---"):
		case isEntry && into != nil:
			if entry, _, _ = strings.Cut(entry, " #"); strings.TrimSpace(entry) != "" {
				*into = append(*into, strings.Trim(strings.TrimSpace(entry), `"'`))
				taken++
			}
		case !isEntry:
			key, _, _ := strings.Cut(text, ":")
			into = map[string]*[]string{"names": &i.Names, "images": &i.Images, "labels": &i.Labels}[key]
		}
	}
	return taken
}

// Container says whether a container is infrastructure.
func (i *Infra) Container(c *Container) bool {
	return c.Kind == runtimes.KindSandbox || slices.Contains(i.Names, c.Name) || slices.Contains(i.Names, c.Pod.Container) && c.Pod.Container != "" ||
		i.image(c.Image) || i.labelled(c.Labels) || i.labelled(map[string]string{kubernetes.LabelPodNamespace: c.Pod.Namespace})
}

// Pod says whether a pod is infrastructure.
func (i *Infra) Pod(p *Pod) bool {
	return i.labelled(p.Labels) || i.labelled(map[string]string{kubernetes.LabelPodNamespace: p.Namespace})
}

// Image says whether an image is infrastructure.
func (i *Infra) Image(image *Image) bool { return slices.ContainsFunc(image.Names, i.image) }

func (i *Infra) image(name string) bool {
	repository := repositoryOf(name)
	if repository == "" {
		return false
	}
	last := repository[strings.LastIndexByte(repository, '/')+1:]
	return slices.ContainsFunc(i.Images, func(known string) bool {
		known = repositoryOf(known)
		return known == repository || known == last
	})
}

// repositoryOf cuts the tag and the digest off an image's name.
func repositoryOf(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if at := strings.LastIndexByte(name, ':'); at > strings.LastIndexByte(name, '/') {
		name = name[:at]
	}
	return name
}

func (i *Infra) labelled(labels map[string]string) bool {
	return slices.ContainsFunc(i.Labels, func(l string) bool {
		key, want, valued := strings.Cut(l, "=")
		have, ok := labels[key]
		return ok && have != "" && (!valued || have == want)
	})
}
