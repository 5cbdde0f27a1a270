# Parts of the scripts that make fixtures: a node's disk on a loop device, in namespaces of its own.
# Root, Debian 12: containerd runc docker.io podman crun btrfs-progs erofs-utils zstd jq python3 gcc; PATH has newer programs first.
set -euo pipefail
export LC_ALL=C.UTF-8
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WORK=${WORK:-/var/tmp/lagan-fixtures}; mkdir -p "$WORK"
R=/mnt
# The containers' only program, without libc.
[ -x "$HERE/t" ] || gcc -Os -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns -static -nostdlib -fno-stack-protector -fno-asynchronous-unwind-tables -s -Wl,--build-id=none -Wl,-z,noseparate-code -o "$HERE/t" "$HERE/t.c"
enter() { # the script and its arguments, in new namespaces
	if [ -z "${INSIDE:-}" ]; then INSIDE=1 exec unshare -m -n -u -i -p -f --kill-child --mount-proc --propagation private bash "$0" "$@"; fi
	ip link set lo up
	mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/lock
	umount -l /sys/fs/cgroup/unified 2>/dev/null || true
}
disk() { # NAME SIZE FSTYPE: makes and mounts the node's only filesystem
	NAME=$1; IMG=$WORK/$NAME.img; rm -f "$IMG"; truncate -s "$2" "$IMG"; LOOP=$(losetup -f --show "$IMG")
	case $3 in
	ext4) mkfs.ext4 -q -m 0 -J size=4 -N 8192 -U 11111111-2222-4333-8444-555555555555 "$LOOP";;
	btrfs) mkfs.btrfs -q "$LOOP";;
	xfs) mkfs.xfs -q "$LOOP";;
	esac
	mount "$LOOP" $R
	(cd $R; mkdir -p etc usr/lib var/lib root home tmp run proc sys dev; printf 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n' > etc/os-release; echo "$NAME" > etc/hostname
	 printf 'root:x:0:\nkim:x:1000:\n' > etc/group; printf 'root:x:0:0:root:/root:/bin/sh\nkim:x:1000:1000::/home/kim:/bin/sh\n' > etc/passwd; printf '/dev/root / auto defaults 0 1\n' > etc/fstab)
}
bind() { local p; for p in "$@"; do mkdir -p "$R/$p" "/$p"; mount --bind "$R/$p" "/$p"; done; } # the node's folders over the machine's
quiet() { "$@" > /dev/null; }
wait_for() { local i; for i in $(seq 100); do "$@" > /dev/null 2>&1 && return; sleep 0.3; done; echo "gave up: $*" >&2; return 1; }
finish() { # kills all, unmounts, packs the disk and its truth
	local p; sync -f $R
	for p in /proc/[0-9]*; do p=${p#/proc/}; [ "$p" -gt 1 ] && [ "$p" != $$ ] && [ "$p" != "$BASHPID" ] && kill -9 "$p" 2>/dev/null || true; done; sleep 1
	awk '{print $5}' /proc/self/mountinfo | tac | grep -E "^(/run/|/var/lib/|/etc/|/home/|/opt/|$R/)" | while read -r p; do umount "$p" 2>/dev/null || umount -l "$p" 2>/dev/null || true; done
	[ "${3:-}" = btrfs ] || fstrim $R 2>/dev/null || true
	umount $R || { echo busy; grep $R /proc/self/mountinfo; umount -l $R; }
	losetup -d "$LOOP"
	zstd -q -19 --long=27 -f "$IMG" -o "$WORK/$NAME.img.zst"; zstd -q -19 -f "$WORK/$NAME.truth.json" -o "$WORK/$NAME.truth.json.zst"
	ls -l "$WORK/$NAME".*zst
}
# what a container does to its files: each kind of change
CHANGES=(w /etc/new added a /etc/passwd "uid0:x:0:0::/:/bin/t
" r /www/index r /opt/x/3 k /opt/x d /opt/x w /opt/x/mine mine c 4711 /bin/t h /lib/b /lib/d l /etc/passwd /tmp/link o 33 /etc/group n /www/new /www/newer d /tmp/.hidden w /tmp/.hidden/miner SIMULATED)
