#!/usr/bin/env bash
# All that is to be known of a machine with a CUDA GPU, in one report: tests, speed, a training. --help says more.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." >/dev/null && pwd)
PYTHONPATH="$ROOT/projects:$ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" "$ROOT/benchmarks/gpu_day.py" "$@"
