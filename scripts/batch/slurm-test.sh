#!/bin/bash
# Runs slurm.sh over COUNT snapshots as an array on the Slurm that SLURM_CONF
# names, kills and requeues KILLS of its tasks at random moments, and compares the
# results with a run of one process, byte for byte, what merge makes of both, and
# the merged timeline with one that sort(1) makes of all:
#
#   slurm-test.sh WORKDIR COUNT KILLS EVIDENCE...
#
# slurm-local.sh starts a Slurm for it.
set -euo pipefail
work=$1 count=$2 kills=$3
shift 3
evidence=()
for e in "$@"; do evidence+=("$(realpath "$e")"); done
here=$(dirname "$(realpath "$0")") lagan=${LAGAN:-lagan}
mkdir -p "$work"
cd "$work"
{
  echo evidence,name
  for i in $(seq -w "$count"); do echo "${evidence[$((10#$i % ${#evidence[@]}))]},node-$i"; done
} >manifest.csv
flags=(--tasks containers,images,diff,timeline)
"$lagan" batch manifest.csv -o serial --index all -q --allow-gaps "${flags[@]}" >serial.txt
shards=$("$lagan" batch manifest.csv --shards)
job=$(LAGAN=$lagan sbatch --parsable --array=0-$((shards - 1)) "$here/slurm.sh" manifest.csv array "${flags[@]}")
killed=0
while squeue -h -j "$job" | grep -q .; do
  task=$(squeue -h -j "$job" -t RUNNING -r -o %A | shuf -n 1)
  if [ "$killed" -lt "$kills" ] && [ -n "$task" ]; then
    # KILL goes to the whole task, as a node that fails ends it; then it waits to run again.
    scancel --signal=KILL --full "$task" 2>/dev/null || true
    scontrol requeue "$task" 2>/dev/null && killed=$((killed + 1))
  fi
  for held in $(squeue -h -j "$job" -t PENDING -r -o '%A %r' | awk '/[Hh]eld|requeue/ {print $1}'); do scontrol release "$held" 2>/dev/null || true; done
  sleep "0.$((RANDOM % 9 + 1))"
done
[ "$killed" -eq "$kills" ] || { echo "the array ended after $killed of $kills kills"; exit 1; }
# A task that was killed for good in the moment before it was requeued is done by hand, as its user would.
missing=$(comm -23 <(ls serial) <(ls array) | wc -l)
[ "$missing" -eq 0 ] || "$lagan" batch manifest.csv -o array --index all -q --allow-gaps "${flags[@]}" >/dev/null
diff -r --exclude=run.json serial array
left=$(find array -mindepth 1 -maxdepth 1 -name '.*' | wc -l)
[ "$left" -eq 0 ] || { echo "$left unfinished folders were left"; exit 1; }
"$lagan" batch merge serial -o merged-serial
"$lagan" batch merge array -o merged-array
diff -r merged-serial merged-array
# One timeline over all: every event with its snapshot, in the order of time, equal times in the order of snapshots.
for n in $(LC_ALL=C ls serial); do sed "s/}\$/,\"snapshot\":\"$n\"}/" "serial/$n/timeline.jsonl"; done |
  sed -E 's/^(.*"timestamp_nanoseconds":"(-?[0-9]+)".*)$/\2\t\1/' | LC_ALL=C sort -s -n -k1,1 | cut -f2- | cmp - merged-array/timeline.jsonl
echo "$count snapshots, $killed tasks killed and requeued, $missing done by hand: the same bytes; $(wc -l <merged-array/timeline.jsonl) events merged as sort has them"
