#!/bin/bash
# Starts a Slurm of one node on this machine, for itself alone, and runs
# slurm-test.sh on it. As root, with Debian's slurmctld slurmd slurm-client munge:
#
#   slurm-local.sh [COUNT [KILLS [EVIDENCE...]]]
#
# by default 60 snapshots of three fixtures, and 10 kills.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
count=${1:-60} kills=${2:-10}
shift $(($# < 2 ? $# : 2))
fixtures=$here/../../fixtures
[ $# -gt 0 ] || set -- "$fixtures"/{docker-c8d,podman-fuse,nerdctl}.img.zst
work=$(mktemp -d /tmp/slurm-local.XXXXXX)
daemons=()
finish() {
  [ ${#daemons[@]} -eq 0 ] || kill "${daemons[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
if [ -z "${LAGAN:-}" ]; then
  LAGAN=$work/lagan
  (cd "$here" && CGO_ENABLED=0 go build -trimpath -o "$LAGAN" lagan/cmd/lagan)
fi
export LAGAN SLURM_CONF=$work/slurm.conf
host=$(hostname -s)
mkdir -p "$work"/{munge,state,spool}
chmod 755 "$work"
dd if=/dev/urandom of="$work/munge/key" bs=1024 count=1 status=none
chmod 600 "$work/munge/key"
# cred_expire is also how long a requeued task waits before it runs again.
cat >"$SLURM_CONF" <<CONF
ClusterName=lagan
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$work/munge/socket,cred_expire=20
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MailProg=/bin/true
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" --log-file="$work/munge/log" --seed-file="$work/munge/seed" >/dev/null 2>&1 &
daemons+=($!)
slurmctld -D -f "$SLURM_CONF" >/dev/null 2>&1 &
daemons+=($!)
slurmd -D -f "$SLURM_CONF" >/dev/null 2>&1 &
daemons+=($!)
for _ in $(seq 60); do
  sinfo -h -o %T 2>/dev/null | grep -q idle && break
  sleep 1
done
sinfo -h -o %T | grep -q idle || { tail "$work"/*.log "$work/munge/log"; exit 1; }
"$here/slurm-test.sh" "$work/run" "$count" "$kills" "$@"
