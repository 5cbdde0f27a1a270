package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"lagan/runtimes"
)

// TestNodeOrphans: what a node's own folders keep of containers and pods that no
// runtime lists; a container that is there is not among them, whatever CNI's caller
// put before its id.
func TestNodeOrphans(t *testing.T) {
	id := func(digit string) string { return strings.Repeat(digit, 64) }
	const uid, other = "3f1c6a52-8b1e-4c0e-9d5f-0a6b7c8d9e01", "11111111-8b1e-4c0e-9d5f-0a6b7c8d9e02"
	result := func(container, pod string) string {
		return fmt.Sprintf(`{"containerId":%q,"ifName":"eth0","networkName":"net","cniArgs":[["K8S_POD_NAMESPACE","prod"],["K8S_POD_NAME",%q],["K8S_POD_UID",%q]],"result":{"ips":[{"address":"10.0.0.7/24"}]}}`, container, pod, uid)
	}
	f := rootFS("")
	f.Symlink("var/log/containers/web-0_prod_app-"+id("a")+".log", "/var/log/pods/prod_web-0_"+uid+"/app/0.log")
	f.Symlink("var/log/containers/web-1_prod_app-"+id("f")+".log", "/var/log/pods/prod_web-1_"+other+"/app/0.log") // is there
	f.File("var/log/pods/prod_web-0_"+uid+"/app/0.log", "")
	f.File("var/log/pods/prod_web-0_"+uid+"/sidecar/0.log", "")
	f.File("var/lib/kubelet/pods/"+other+"/containers/old/abcd", "")
	f.File("var/lib/cni/results/net-"+id("b")+"-eth0", result(id("b"), "web-0"))
	f.File("var/lib/cni/results/net-default-"+id("f")+"-eth0", result("default-"+id("f"), "")) // nerdctl's, is there
	f.File("var/lib/cni/networks/net/10.0.0.8", id("c")+"\r\neth0")
	f.File("var/lib/cni/networks/net/10.0.0.9", "default-"+id("d")+"\r\neth0") // nerdctl's
	f.File("var/lib/cni/networks/net/10.0.0.10", "default-"+id("f")+"\r\neth0")
	f.File("var/lib/cni/networks/net/10.0.0.11", "test")
	n := nodeOf(t, Options{}, f)
	n.containers = func() []*Container { return []*Container{{Container: runtimes.Container{ID: id("f")}}} }
	all, err := n.Removed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		var from []string
		for _, tr := range r.Traces {
			from = append(from, tr.Place)
		}
		slices.Sort(from)
		got = append(got, fmt.Sprintf("%s %.4s %s/%s/%s %s ns=%s: %s", r.Object, r.ID, r.Pod.Namespace, r.Pod.Name, r.Pod.Container, r.Pod.UID, r.Namespace, strings.Join(from, ", ")))
	}
	want := []string{
		"container aaaa prod/web-0/app " + uid + " ns=: folder, link to a log",
		"container bbbb prod/web-0/ " + uid + " ns=: CNI's note",
		"container  prod/web-0/sidecar " + uid + " ns=: folder",
		"container  //old " + other + " ns=: folder",
		"container cccc // ns=: address",
		"container dddd // ns=default: address",
		"pod  prod/web-0/ " + uid + " ns=: folder",
		"pod  // " + other + " ns=: folder",
	}
	clean := func(lines []string) []string {
		for i := range lines {
			lines[i] = strings.Join(strings.Fields(lines[i]), " ")
		}
		return lines
	}
	same(t, "removed", clean(got), clean(want))
}
