#!/usr/bin/env bash
# Train in several processes: on GPUs if there are any, otherwise on CPUs.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "Usage: [NNODES=1 NODE_RANK=0 PORT=29500 MASTER_ADDR=127.0.0.1 MAX_RESTARTS=0] $0 CONFIG GPUS [train.py arguments]" >&2
    exit 2
fi

CONFIG=$1
GPUS=$2
ROOT=$(cd "$(dirname "$0")/.." >/dev/null && pwd)
ARGUMENTS=("${@:3}")
NNODES=${NNODES:-1}
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
PORT=${PORT:-29500}
MAX_RESTARTS=${MAX_RESTARTS:-0}
if [ "$MAX_RESTARTS" -gt 0 ]; then
    # If a process dies, all processes restart and resume from the last checkpoint.
    [[ " ${ARGUMENTS[*]-} " == *" --resume"* ]] || ARGUMENTS=(--resume "${ARGUMENTS[@]}")
    # If --resume names a checkpoint, older checkpoints do not belong to this training.
    LFI_STARTED=$(date +%s)
    export LFI_STARTED
    # Restarts need a new store: static rendezvous keeps the addresses of dead processes in the old one.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    RENDEZVOUS=(--rdzv_backend=c10d --rdzv_endpoint="$MASTER_ADDR:$PORT" --rdzv_id="$PORT")
    if [ "$NNODES" = 1 ]; then RENDEZVOUS+=(--local_addr="$MASTER_ADDR"); fi
else
    RENDEZVOUS=(--node_rank="${NODE_RANK:-0}" --master_addr="$MASTER_ADDR" --master_port="$PORT")
fi

PYTHONPATH="$ROOT/projects${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="$NNODES" \
    "${RENDEZVOUS[@]}" \
    --nproc_per_node="$GPUS" \
    --max_restarts="$MAX_RESTARTS" \
    "$ROOT/tools/train.py" "$CONFIG" --launcher pytorch "${ARGUMENTS[@]}"
