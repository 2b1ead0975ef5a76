#!/usr/bin/env bash
# Write a teacher's cache in several processes: on GPUs if there are any, otherwise on CPUs.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "Usage: [NNODES=1 NODE_RANK=0 PORT=29500 MASTER_ADDR=127.0.0.1] $0 CONFIG GPUS --out DIR [lfi cache arguments]" >&2
    exit 2
fi

CONFIG=$1
GPUS=$2
ROOT=$(cd "$(dirname "$0")/.." >/dev/null && pwd)

PYTHONPATH="$ROOT/projects${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    -m lfi cache "$CONFIG" --launcher pytorch "${@:3}"
