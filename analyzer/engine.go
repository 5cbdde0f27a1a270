package analyzer

import (
	"lagan/runtimes"
)

// SwarmNodes returns the node's places in swarms of Docker, one a data root.
func (n *Node) SwarmNodes() []runtimes.SwarmNode {
	var out []runtimes.SwarmNode
	collect(n, runtimes.SwarmStore.SwarmNodes, func(_ Store, v runtimes.SwarmNode) { out = append(out, v) })
	return out
}

// SwarmTasks returns what swarms gave the node to run, by store, service and slot.
func (n *Node) SwarmTasks() []runtimes.SwarmTask {
	var out []runtimes.SwarmTask
	collect(n, runtimes.SwarmStore.SwarmTasks, func(_ Store, v runtimes.SwarmTask) { out = append(out, v) })
	return out
}

// Plugins returns the plugins of every engine, by store and id.
func (n *Node) Plugins() []runtimes.Plugin {
	var out []runtimes.Plugin
	collect(n, runtimes.PluginStore.Plugins, func(_ Store, v runtimes.Plugin) { out = append(out, v) })
	return out
}

// Builds returns what was built on the node, by store, then what is kept of the
// steps, each in the order of time.
func (n *Node) Builds() []runtimes.Build {
	var out []runtimes.Build
	collect(n, runtimes.BuildStore.Builds, func(_ Store, v runtimes.Build) { out = append(out, v) })
	return out
}
