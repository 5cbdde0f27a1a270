#!/bin/bash
# buildkit.sh NAME FSTYPE SIZE: builds by a buildkitd that runs by itself; one failed, one ran when the power went, one cache was pruned.
. "$(dirname "$0")/lib.sh"
enter "$@"
disk "$1" "$3" "$2"; hostname "$1"
bind var/lib/buildkit
buildkitd --addr unix:///run/bk.sock --oci-worker-net=host --containerd-worker=false --oci-worker-snapshotter=overlayfs > "$WORK/$NAME.log" 2>&1 &
B="buildctl --addr unix:///run/bk.sock"
wait_for $B debug workers
C=$(mktemp -d); cp "$HERE/t" "$C/t"
build() { timeout "${LIMIT:-60}" $B build --frontend dockerfile.v0 --local context="$C" --local dockerfile="$C" "$@"; }
cat > "$C/Dockerfile" <<'D'
FROM scratch AS base
COPY t /bin/t
RUN ["/bin/t","d","/etc","w","/etc/payload","planted"]
RUN --mount=type=cache,target=/cache ["/bin/t","w","/cache/kept","x","w","/second","2"]
D
build --opt filename=Dockerfile --opt build-arg:TOKEN=secret --output type=oci,dest=/run/o.tar,name=registry.example.com/acme/app:1 > /dev/null 2>&1
printf 'FROM scratch\nCOPY t /bin/t\nRUN ["/bin/t","e","fails","x","3"]\n' > "$C/Dockerfile"
build > /dev/null 2>&1 && exit 1
$B du --format '{{json .}}' > /run/before.json
$B prune --all --filter type==exec.cachemount > /dev/null
printf 'FROM scratch\nCOPY t /bin/t\nENV POOL=pool.example.com:3333\nRUN ["/bin/t","w","/dropped","in-step","s"]\n' > "$C/Dockerfile"
(LIMIT=600 build > /dev/null 2>&1 &)
wait_for bash -c 'ls /var/lib/buildkit/runc-overlayfs/executor/*/config.json'
sleep 2; sync -f $R
$B du --format '{{json .}}' > /run/du.json
$B debug histories --format '{{json .}}' > /run/histories.json
jq -n --slurpfile before /run/before.json --slurpfile du /run/du.json --slurpfile histories /run/histories.json '{before: $before, du: $du, histories: $histories}' > "$WORK/$NAME.truth.json"
finish
