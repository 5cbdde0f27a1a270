#!/bin/bash
# nerdctl.sh NAME FSTYPE SIZE: containers made with nerdctl.
. "$(dirname "$0")/lib.sh"
enter "$@"
disk "$1" "$3" "$2"; hostname "$1"
bind var/lib/containerd var/lib/nerdctl var/lib/cni etc/containerd etc/cni opt/containerd
mkdir -p /opt/cni; [ -e /opt/cni/bin ] || ln -s /usr/lib/cni /opt/cni/bin
printf 'version = 2\n' > /etc/containerd/config.toml
containerd > "$WORK/$NAME.log" 2>&1 &
wait_for ctr version
python3 "$HERE/image.py" /run/web.tar web:1
C="nerdctl --cgroup-manager cgroupfs"
quiet $C load -i /run/web.tar
quiet $C volume create --label backup=yes data
quiet $C network create --subnet 10.88.3.0/24 shopnet || echo "no network"
O=(--network "${NET:-none}" --cgroupns host --security-opt seccomp=unconfined)
quiet $C run -d --name busy "${O[@]}" -v data:/data -e KEY=value --label app=front web:1 /bin/t "${CHANGES[@]}" w /data/file volume e out E err s
$C run --name done "${O[@]}" web:1 /bin/t w /etc/done 1 x 3 || true
quiet $C create --name idle "${O[@]}" web:1 /bin/t s
quiet $C --namespace blue load -i /run/web.tar
quiet $C --namespace blue run -d --name busy "${O[@]}" web:1 /bin/t e blue s
$C run -d --name netted --network shopnet -p 127.0.0.1:8080:80 --security-opt seccomp=unconfined --cgroupns host web:1 /bin/t s || echo "no net"
sleep 1; sync -f $R
for i in $($C ps -aq --no-trunc); do $C inspect $i; done | jq -s 'add' > /run/n.json; $C volume inspect data > /run/v.json; $C network inspect shopnet > /run/w.json || echo '[]' > /run/w.json
EXTRA="nerdctl=/run/n.json volumes=/run/v.json networks=/run/w.json" python3 "$HERE/truth.py" "$WORK/$NAME.truth.json" containerd overlayfs ctr
finish
