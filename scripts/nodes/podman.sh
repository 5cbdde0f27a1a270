#!/bin/bash
# podman.sh NAME DRIVER FSTYPE SIZE [user]: Podman with a storage driver, as root or as the user kim.
. "$(dirname "$0")/lib.sh"
enter "$@"
DRIVER=$2 USER_=${5:-}; disk "$1" "$4" "$3"; hostname "$1"
bind var/lib/containers etc/containers etc/cni home/kim
mount --bind "$R/etc/passwd" /etc/passwd
printf 'kim:100000:65536\n' > $R/etc/subuid; cp $R/etc/subuid $R/etc/subgid; for f in subuid subgid; do touch /etc/$f; mount --bind $R/etc/$f /etc/$f; done
printf '[storage]\ndriver = "%s"\n[storage.options]\n%s\n[storage.options.overlay]\n%s\n' "$DRIVER" "${PULL_OPTIONS:-}" "${STORAGE_OPTIONS:-}" > /etc/containers/storage.conf
sed -i 's,^driver.*,&\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage",' /etc/containers/storage.conf
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > /etc/containers/policy.json
printf 'unqualified-search-registries = ["docker.io"]\n' > /etc/containers/registries.conf
printf '[containers]\ncgroups = "%s"\npids_limit = 0\ncgroupns = "host"\nlog_driver = "k8s-file"\nseccomp_profile = "unconfined"\n[network]\nnetwork_backend = "netavark"\n[engine]\nruntime = "%s"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n%s\n' "${CGROUPS:-disabled}" "${RUNTIME:-crun}" "${ENGINE:-}" > /etc/containers/containers.conf
chown -R 1000:1000 $R/home/kim; mkdir -p /run/user/1000; chown 1000:1000 /run/user/1000
python3 "$HERE/image.py" /run/web.tar web:1; chmod 644 /run/web.tar; mkdir -m 777 -p /run/ctx
[ -z "${CGROUP2:-}" ] || mount -t cgroup2 none /sys/fs/cgroup
P=${PODMAN:-podman}; C="$P"
[ -z "$USER_" ] || C="setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/home/kim USER=kim XDG_RUNTIME_DIR=/run/user/1000 PATH=$PATH $P"
chunked() { # the image pulled in parts, as zstd:chunked; $REGISTRY is a registry's program
	printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: /run/registry}}\nhttp: {addr: "localhost:5000"}\n' > /run/registry.yml
	"$REGISTRY" serve /run/registry.yml > /run/registry.log 2>&1 &
	wait_for curl -fs http://localhost:5000/v2/
	printf '[[registry]]\nlocation = "localhost:5000"\ninsecure = true\n' >> /etc/containers/registries.conf
	quiet $C load -i /run/web.tar
	quiet $C push -q --compression-format zstd:chunked web:1 localhost:5000/web:1
	quiet $C rmi -f web:1
	quiet $C pull --log-level debug localhost:5000/web:1 2> /run/pull.log
	quiet $C tag localhost:5000/web:1 docker.io/library/web:1
}
cd /run
if [ -n "${REGISTRY:-}" ]; then chunked; else quiet $C load -i /run/web.tar; fi
I=docker.io/library/web:1
quiet $C tag web:1 $I localhost/old:0 || true; quiet $C untag localhost/old:0 localhost/old:0 || true; quiet $C tag $I docker.io/library/web:1
printf s3cret | quiet $C secret create token - || echo "no secret"
printf k3y | quiet $C secret create --label tier=back key - || echo "no secret"
quiet $C volume create --label backup=yes data
quiet $C network create --subnet 10.89.7.0/24 shopnet || echo "no network"
quiet $C pod create --name shop --infra=false --label team=a || echo "no pod"
O=(--network "${NET:-none}")
quiet $C run -d --name busy "${O[@]}" -v data:/data -e KEY=value --label app=front --health-cmd '["/bin/t","e","well"]' --health-interval disable $I /bin/t "${CHANGES[@]}" w /data/file volume e out E err s
$C run --name done "${O[@]}" $I /bin/t w /etc/done 1 x 3 || true
quiet $C create --name idle "${O[@]}" $I /bin/t s
quiet $C create --pod shop --name member $I /bin/t s || echo "no member"
quiet $C create --name holder --network shopnet --ip 10.89.7.9 -p 8080:80/tcp --secret token --secret key,type=env,target=KEY $I /bin/t s || echo "no holder"
quiet $C run -d --name joined --network shopnet --ip 10.89.7.7 -p 127.0.0.1:8081:81 $I /bin/t s || echo "no bridge"
quiet $C commit -q -a intruder busy web:backup
quiet $C run -d --name again "${O[@]}" web:backup /bin/t w /again 1 r /opt/x/mine s
$C healthcheck run busy || true
type more > /dev/null 2>&1 && more
sleep 1; sync -f $R
if [ -z "$USER_" ]; then python3 "$HERE/truth.py" "$WORK/$NAME.truth.json" podman $C
else chmod 777 /run; $C unshare env FUSE="${FUSE:-}" OVERLAY=ro,userxattr python3 "$HERE/truth.py" /run/ctx/truth.json podman $P; cp /run/ctx/truth.json "$WORK/$NAME.truth.json"; fi
finish
