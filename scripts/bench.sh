#!/usr/bin/env bash
# Compares the benchmarks of two commits with benchstat.
#
#   scripts/bench.sh OLD [NEW [PATTERN [PACKAGE...]]]
#
# NEW is the working tree where it is left out or "-". Each commit is built in a
# worktree of its own; the runs alternate, so that what else the machine does
# falls on both. COUNT (10) is how often.
set -euo pipefail
cd "$(dirname "$0")/.."

old=${1:?usage: scripts/bench.sh OLD [NEW [PATTERN [PACKAGE...]]]}
new=${2:--}
pattern=${3:-.}
shift $(($# < 3 ? $# : 3))
packages=("${@:-./...}")
count=${COUNT:-10}

work=$(mktemp -d)
trap 'git worktree remove --force "$work/old" 2>/dev/null; git worktree remove --force "$work/new" 2>/dev/null; rm -rf "$work"' EXIT
git worktree add -q --detach "$work/old" "$old"
if [ "$new" = - ]; then
  newdir=$PWD
else
  git worktree add -q --detach "$work/new" "$new"
  newdir=$work/new
fi

for ((i = 0; i < count; i++)); do
  (cd "$work/old" && go test -run '^$' -bench "$pattern" -benchmem "${packages[@]}") >>"$work/old.txt"
  (cd "$newdir" && go test -run '^$' -bench "$pattern" -benchmem "${packages[@]}") >>"$work/new.txt"
done
# golang.org/x/perf is no dependency of the module: it is fetched for the run.
go run golang.org/x/perf/cmd/benchstat@latest old="$work/old.txt" new="$work/new.txt"
