#!/usr/bin/env bash
# Train by several processes: GPUs where there are any, CPU processes otherwise.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "Usage: [NNODES=1 NODE_RANK=0 PORT=29500 MASTER_ADDR=127.0.0.1 MAX_RESTARTS=0] $0 CONFIG GPUS [train.py arguments]" >&2
    exit 2
fi

CONFIG=$1
GPUS=$2
ROOT=$(cd "$(dirname "$0")/.." >/dev/null && pwd)
ARGUMENTS=("${@:3}")
# When a process dies, all start anew, and go on from the last checkpoint.
MAX_RESTARTS=${MAX_RESTARTS:-0}
if [ "$MAX_RESTARTS" -gt 0 ] && [[ " ${ARGUMENTS[*]-} " != *" --resume"* ]]; then
    ARGUMENTS=(--resume "${ARGUMENTS[@]}")
fi

PYTHONPATH="$ROOT/projects${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    --max_restarts="$MAX_RESTARTS" \
    "$ROOT/tools/train.py" "$CONFIG" --launcher pytorch "${ARGUMENTS[@]}"
