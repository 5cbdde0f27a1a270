package analyzer

import (
	"cmp"
	"slices"
	"strings"

	"lagan/runtimes"
)

// Secret is a secret of a runtime, with the containers that were given it.
type Secret struct {
	runtimes.Secret
	Containers []string // ids
}

// Secrets returns the secrets that runtimes keep, by store and name: what they
// are called, not what they say.
func (n *Node) Secrets() []*Secret {
	var out []*Secret
	collect(n, runtimes.SecretStore.Secrets, func(_ Store, v runtimes.Secret) { out = append(out, &Secret{Secret: v}) })
	for _, v := range out {
		for _, c := range n.Containers() {
			if c.StorePath == v.StorePath && v.Name != "" && slices.Contains(c.Secrets, v.Name) {
				v.Containers = append(v.Containers, c.ID)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *Secret) int {
		return cmp.Or(strings.Compare(a.StorePath, b.StorePath), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return out
}
