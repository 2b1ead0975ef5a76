#!/usr/bin/env bash
# Evaluate in several processes: on GPUs if there are any, otherwise on CPUs.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "Usage: [NNODES=1 NODE_RANK=0 PORT=29500 MASTER_ADDR=127.0.0.1] $0 CONFIG CHECKPOINT GPUS [test.py arguments]" >&2
    exit 2
fi

CONFIG=$1
CHECKPOINT=$2
GPUS=$3
ROOT=$(cd "$(dirname "$0")/.." >/dev/null && pwd)

PYTHONPATH="$ROOT/projects${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$ROOT/tools/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
