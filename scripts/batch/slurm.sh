#!/bin/bash
# One snapshot a task of a Slurm array:
#
#   sbatch --array=0-$(($(lagan batch MANIFEST --shards) - 1)) scripts/batch/slurm.sh MANIFEST DIR [FLAG...]
#
# A task that is killed and requeued does its snapshot again, and nothing else.
#SBATCH --job-name=lagan
#SBATCH --requeue
#SBATCH --cpus-per-task=1
#SBATCH --output=lagan-%A_%a.log
set -euo pipefail
manifest=$1 dir=$2
shift 2
# The index is Slurm's SLURM_ARRAY_TASK_ID. Gaps are in run.json, and no failure of the task.
exec "${LAGAN:-lagan}" batch "$manifest" -o "$dir" --progress none --allow-gaps "$@"
