package analyzer

import "lagan/evidence/image/ebs"

// SnapshotOf returns the id of the cloud's snapshot that a piece of evidence is,
// such as ebs:snap-0123456789abcdef0; "" for a path on this machine.
func SnapshotOf(path string) string {
	at, _ := ebs.Parse(path)
	return at.Snapshot
}

// RemoteAccess is what a process that may open nothing else needs for evidence that lies behind
// the network: files that say how it is reached, and ports. Both are empty where
// this program has no network.
func RemoteAccess() (files []string, ports []uint16) { return ebs.Files(), ebs.Ports() }

// Usage tells, in a line for each piece of evidence behind the network, what was fetched of it.
func (n *Node) Usage() []string {
	var out []string
	for _, e := range n.Evidence {
		if u, ok := e.image.(interface{ Usage() string }); ok {
			out = append(out, u.Usage())
		}
	}
	return out
}
