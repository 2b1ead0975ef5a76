#!/usr/bin/env bash
# Install LFI with each OpenMMLab stack, and train, test and resume in it; prints one table row per stack.
set -euo pipefail

usage() {
    echo "Usage: [PYTHON=python3] $0 [--dir DIR] [onedl] [openmmlab]" >&2
    echo "  --dir DIR  where the environments .venv-STACK are made, or reused (default: the repository's root)" >&2
    exit 2
}

ROOT=$(cd "$(dirname "$0")/../.." >/dev/null && pwd)
CONFIG=$ROOT/configs/classification/lfi_vit-tiny_shapes.py
DIR=$ROOT
STACKS=()
while [ $# -gt 0 ]; do
    case $1 in
        --dir) [ $# -ge 2 ] || usage; DIR=$2; shift ;;
        onedl | openmmlab) STACKS+=("$1") ;;
        *) usage ;;
    esac
    shift
done
[ ${#STACKS[@]} -gt 0 ] || STACKS=(onedl openmmlab)
mkdir -p "$DIR"
DIR=$(cd "$DIR" >/dev/null && pwd)

# The environment's own lfi is what is tried; mmcv without compiled ops needs no compiler.
unset PYTHONPATH
export MMCV_WITH_OPS=0 CUDA_VISIBLE_DEVICES=
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# Four steps an epoch.
OPTIONS=(
    train_dataloader.dataset.num_images=128 train_dataloader.batch_size=32
    val_dataloader.dataset.num_images=100 test_dataloader.dataset.num_images=100
)

install() { # STACK: into .venv-STACK, unless that is newer than what it is made from
    local venv=$DIR/.venv-$1 file fresh=yes
    for file in "$ROOT"/setup.py "$ROOT"/pyproject.toml "$ROOT"/requirements/*.txt; do
        [ "$venv/.installed" -nt "$file" ] || fresh=no
    done
    [ $fresh = yes ] || {
        "${PYTHON:-python3}" -m venv "$venv" &&
            "$venv/bin/python" -m pip install -e "$ROOT[$1,tests]" &&
            touch "$venv/.installed"
    }
}

versions() { # PYTHON: the table's cells from mmengine to torch
    "$1" - <<'PY'
import lfi, mmcv, mmdet, mmengine, mmpretrain, torch

print(*(module.__version__ for module in (mmengine, mmcv, mmdet, mmpretrain, torch)), sep=' | ')
PY
}

run_tool() { # PYTHON TOOL ARGUMENTS: with few images
    "$1" "$ROOT/tools/$2" "$CONFIG" "${@:3}" --cfg-options "${OPTIONS[@]}" "train_cfg.max_epochs=$EPOCHS"
}

accuracy() { # val or test, LOG: the last one, as it is printed
    sed -n "s/.*Epoch($1).*accuracy\/top1: \([0-9.]*\).*/\1/p" "$2" | tail -n 1
}

smoke() { # STACK: STEP says how far it came, and names the step's log; CELLS are the versions
    local python=$DIR/.venv-$1/bin/python trained tested
    STEP=install
    install "$1" >install.log 2>&1 || return 1
    STEP=import
    CELLS=$(versions "$python" 2>import.log) || return 1

    STEP=train EPOCHS=1
    run_tool "$python" train.py --work-dir run >train.log 2>&1 || return 1
    grep -q 'loss_positions: .*loss_concepts: .*loss_text_class: ' train.log || return 1
    trained=$(accuracy val train.log)

    STEP=test
    run_tool "$python" test.py run/epoch_1.pth --work-dir run >test.log 2>&1 || return 1
    tested=$(accuracy test test.log)
    echo "accuracy in training: $trained, in testing: $tested" >>test.log
    [ -n "$trained" ] && [ "$trained" = "$tested" ] || return 1

    STEP=resume EPOCHS=2
    run_tool "$python" train.py --work-dir run --resume >resume.log 2>&1 || return 1
    grep -q 'resumed epoch: 1, iter: 4' resume.log && [ -f run/epoch_2.pth ]
}

ROWS=() FAILED=0
for stack in "${STACKS[@]}"; do
    echo "$stack: install, import, train, test, resume" >&2
    mkdir "$WORK/$stack"
    cd "$WORK/$stack"
    CELLS='- | - | - | - | -'
    if smoke "$stack"; then
        outcome='trains, tests to the digit, resumes'
    else
        FAILED=1 outcome="fails: $STEP"
        tail -n 30 "$STEP.log" >&2
    fi
    ROWS+=("| $stack | ${CELLS:-- | - | - | - | -} | $outcome |")
done

echo '| stack | mmengine | mmcv | mmdet | mmpretrain | torch | smoke run |'
echo '| --- | --- | --- | --- | --- | --- | --- |'
printf '%s\n' "${ROWS[@]}"
exit $FAILED
