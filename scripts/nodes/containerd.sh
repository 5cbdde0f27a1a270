#!/bin/bash
# containerd.sh NAME SNAPSHOTTER FSTYPE SIZE: containers of one image, made with ctr.
. "$(dirname "$0")/lib.sh"
enter "$@"
SN=$2
disk "$1" "$4" "$3"; hostname "$1"
bind var/lib/containerd etc/containerd opt/containerd
printf 'version = 2\n' > /etc/containerd/config.toml
if [ "$SN" = erofs ]; then
	printf 'version = 3\n[plugins."io.containerd.service.v1.diff-service"]\n  default = ["erofs", "walking"]\n[[plugins."io.containerd.transfer.v1.local".unpack_config]]\n  platform = "linux/amd64"\n  snapshotter = "erofs"\n  differ = "erofs"\n' > /etc/containerd/config.toml
fi
if [ "$SN" = blockfile ]; then
	truncate -s 4M /etc/containerd/scratch; mkfs.ext4 -q -O ^has_journal -m 0 /etc/containerd/scratch
	printf '[plugins."io.containerd.snapshotter.v1.blockfile"]\n  scratch_file = "/etc/containerd/scratch"\n  fs_type = "ext4"\n  mount_options = ["loop"]\n  recreate_scratch = true\n' >> /etc/containerd/config.toml
fi
containerd > "$WORK/$NAME.log" 2>&1 &
wait_for ctr version
python3 "$HERE/image.py" /run/web.tar web:1
C="ctr -n default"
quiet $C images import --snapshotter "$SN" /run/web.tar || { $C images import --no-unpack /run/web.tar; }
I=docker.io/library/web:1
run() { local id=$1; shift; $C run -d --snapshotter "$SN" --cgroup "" --net-host "${O[@]}" $I "$id" /bin/t "$@" > /dev/null; }
O=(--label app=front --env KEY=value); run busy "${CHANGES[@]}" s
O=(); run done w /etc/done 1 x 3
$C containers create --snapshotter "$SN" $I idle /bin/t s
sleep 1; $C tasks ls
sync -f $R
python3 "$HERE/truth.py" "$WORK/$NAME.truth.json" containerd "$SN" ctr
finish
