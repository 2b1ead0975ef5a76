#!/usr/bin/env bash
# Write one report about a machine with a CUDA GPU: tests, speed and a training. See --help.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." >/dev/null && pwd)
PYTHONPATH="$ROOT/projects:$ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" "$ROOT/benchmarks/gpu_day.py" "$@"
