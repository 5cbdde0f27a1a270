#!/bin/bash
# crio.sh NAME FSTYPE SIZE: a pod of two containers and one that ended, made through CRI.
. "$(dirname "$0")/lib.sh"
enter "$@"
disk "$1" "$3" "$2"; hostname "$1"
mount -t cgroup2 none /sys/fs/cgroup
bind var/lib/containers var/lib/crio var/lib/kubelet var/log/pods var/lib/cni etc/containers etc/crio etc/cni
printf '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' > /etc/containers/storage.conf
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > /etc/containers/policy.json
python3 "$HERE/image.py" /run/web.tar web:1
mkdir -p /etc/cni/net.d; echo '{"cniVersion":"0.4.0","name":"net","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.85.0.0/24"}]]}}]}' > /etc/cni/net.d/10-net.conflist
cat > /etc/crio/crio.conf <<T
[crio]
version_file_persist = "/var/lib/crio/version"
[crio.runtime]
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
default_runtime = "runc"
pinns_path = "$(command -v pinns)"
pids_limit = 0
hooks_dir = []
apparmor_profile = "unconfined"
seccomp_profile = ""
drop_infra_ctr = false
[crio.runtime.runtimes.runc]
runtime_path = "$(command -v runc-noadj || command -v runc)"
monitor_path = "/usr/bin/conmon"
[crio.image]
pause_image = "docker.io/library/web:1"
pause_command = "/bin/t"
signature_policy = "/etc/containers/policy.json"
[crio.network]
network_dir = "/etc/cni/net.d"
plugin_dirs = ["/usr/lib/cni"]
T
skopeo --insecure-policy copy -q oci-archive:/run/web.tar containers-storage:docker.io/library/web:1
crio --config /etc/crio/crio.conf --config-dir "" > "$WORK/$NAME.log" 2>&1 &
printf 'runtime-endpoint: unix:///var/run/crio/crio.sock\nimage-endpoint: unix:///var/run/crio/crio.sock\ntimeout: 30\n' > /run/crictl.yaml
C="crictl -c /run/crictl.yaml"
wait_for $C version || { tail -3 "$WORK/$NAME.log"; exit 1; }
U=6f1c2b9e-8d7a-4c3e-9b1f-0a2b3c4d5e6f; K=/var/lib/kubelet/pods/$U; mkdir -p $K/volumes/kubernetes.io~empty-dir/cache $K/containers/app
S='"security_context":{"namespace_options":{"pid":1},"seccomp":{"profile_type":1}}'
cat > /run/pod.json <<T
{"metadata":{"name":"web-0","namespace":"shop","uid":"$U","attempt":1},"hostname":"web-0","log_directory":"/var/log/pods/shop_web-0_$U",
"labels":{"app":"web","io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"$U"},"annotations":{"kubernetes.io/config.source":"api"},
"port_mappings":[{"container_port":80,"host_port":8080}],"linux":{"cgroup_parent":"/kubepods",$S}}
T
POD=$($C runp /run/pod.json)
cont() { local name=$1 attempt=$2 args; shift 2; args=$(jq -cn '$ARGS.positional' --args -- "$@")
	mkdir -p "/var/log/pods/shop_web-0_$U/$name"
	cat > /run/c.json <<T
{"metadata":{"name":"$name","attempt":$attempt},"image":{"image":"docker.io/library/web:1"},"command":["/bin/t"],"args":$args,"log_path":"$name/$attempt.log",
"labels":{"io.kubernetes.container.name":"$name","io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"$U"},"envs":[{"key":"KEY","value":"value"}],
"mounts":[{"container_path":"/cache","host_path":"$K/volumes/kubernetes.io~empty-dir/cache"}],"linux":{$S}}
T
	local id; id=$($C create $POD /run/c.json /run/pod.json); $C start $id; }
quiet cont app 0 "${CHANGES[@]}" w /cache/f volume e out E err s
quiet cont job 2 w /etc/done 1 x 3
sleep 2; sync -f $R
$C ps -a -o json > /run/ps.json; $C pods -o json > /run/pods.json; $C images -o json > /run/images.json
for i in $($C ps -aq); do $C inspect $i; done | jq -s . > /run/inspect.json; for i in $($C pods -q); do $C inspectp $i; done | jq -s . > /run/inspectp.json
EXTRA="ps=/run/ps.json pods=/run/pods.json images=/run/images.json inspect=/run/inspect.json inspectp=/run/inspectp.json" python3 "$HERE/truth.py" "$WORK/$NAME.truth.json" storage /var/lib/containers/storage
finish
