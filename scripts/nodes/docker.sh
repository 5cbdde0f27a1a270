#!/bin/bash
# docker.sh NAME DRIVER FSTYPE SIZE [dockerd options]: dockerd with a storage driver of its own, or with containerd's images.
. "$(dirname "$0")/lib.sh"
enter "$@"
DRIVER=$2; disk "$1" "$4" "$3"; hostname "$1"
ROOT=${ROOT:-/var/lib/docker}
[ -z "${SUBIDS:-}" ] || { printf "%s\n" "$SUBIDS" > $R/etc/subuid; cp $R/etc/subuid $R/etc/subgid; for f in subuid subgid; do touch /etc/$f; mount --bind $R/etc/$f /etc/$f; done; mount --bind $R/etc/passwd /etc/passwd; mount --bind $R/etc/group /etc/group; }
bind var/lib/docker var/lib/containerd etc/docker; [ "$ROOT" = /var/lib/docker ] || bind "${ROOT#/}"
echo "${DAEMON_JSON:-{\}}" > /etc/docker/daemon.json
shift 4
if [ "$DRIVER" != containerd ]; then set -- --storage-driver "$DRIVER" "$@"; fi
${DOCKERD:-dockerd} --iptables=false --ip6tables=false --bridge=none --userland-proxy=false "$@" > "$WORK/$NAME.log" 2>&1 &
C=${DOCKER:-/usr/bin/docker}
wait_for $C version || { tail -3 "$WORK/$NAME.log"; exit 1; }
python3 "$HERE/image.py" /run/web.tar web:1
quiet $C load -i /run/web.tar
quiet $C volume create --label backup=yes data
O=(--network none)
quiet $C run -d --name busy "${O[@]}" -v data:/data -e KEY=value --label app=front web:1 /bin/t "${CHANGES[@]}" w /data/file volume e out E err s
$C run --name done "${O[@]}" web:1 /bin/t w /etc/done 1 x 3 || true
quiet $C create --name idle "${O[@]}" web:1 /bin/t s
quiet $C commit -a intruder -m backup busy web:backup
quiet $C run -d --name again "${O[@]}" web:backup /bin/t w /again 1 r /opt/x/mine s
printf 'FROM web:1\nENV A=1\nRUN ["/bin/t","w","/built","1","r","/www/new"]\nCOPY f /f\n' > /run/Dockerfile; mkdir -p /run/ctx; echo f > /run/ctx/f; cp /run/Dockerfile /run/ctx/
DOCKER_BUILDKIT=${BUILDKIT:-0} quiet $C build -q --network none -t built:1 /run/ctx || echo "no build"
quiet $C run -d --name built "${O[@]}" built:1 /bin/t s
if [ -n "${SWARM:-}" ]; then # a manager of a swarm with two services, a plugin that isn't enabled
	ip link add v0 type veth peer name v1; ip addr add 10.9.0.5/24 dev v0; ip link set v0 up; ip link set v1 up
	quiet $C swarm init --advertise-addr 10.9.0.5
	printf secret | quiet $C secret create token -; quiet $C network create -d overlay back
	quiet $C service create -d --name svc --replicas 2 --label tier=web --secret token --network back web:1 /bin/t s
	quiet $C service create -d --name host --mode global --network host web:1 /bin/t s
	mkdir -p /run/plug/rootfs; cp "$HERE/t" /run/plug/rootfs/t
	echo '{"description":"a plugin","entrypoint":["/t","s"],"interface":{"types":["docker.volumedriver/1.0"],"socket":"p.sock"},"network":{"type":"host"},"linux":{"capabilities":["CAP_SYS_ADMIN"]},"env":[{"name":"DEBUG","settable":["value"],"value":"0"}]}' > /run/plug/config.json
	quiet $C plugin create acme/vol:1 /run/plug; sleep 8
fi
sleep 1; sync -f $R
python3 "$HERE/truth.py" "$WORK/$NAME.truth.json" docker $C
if [ -n "${SWARM:-}" ]; then
	for x in nodes tasks services swarm plugins system/df; do curl -s --unix-socket /run/docker.sock "http://d/v1.41/$x" > "/run/${x#*/}.json"; done
	python3 - "$WORK/$NAME.truth.json" > "$WORK/truth.new" <<-'END'
		import json, sys
		t, api = json.load(open(sys.argv[1])), lambda x: json.load(open('/run/%s.json' % x))
		t.update(swarm={x: api(x) for x in ('nodes', 'tasks', 'services', 'swarm')}, plugins=api('plugins'), build_cache=api('df')['BuildCache'])
		json.dump(t, sys.stdout)
	END
	mv "$WORK/truth.new" "$WORK/$NAME.truth.json"
fi
finish
