#!/usr/bin/env bash
# Install LFI with each OpenMMLab stack, editable and from a wheel; train, test, resume, and train the sample project
# that inherits from LFI. Print one table row for each environment.
set -euo pipefail

usage() {
    echo "Usage: [PYTHON=python3] $0 [--dir DIR] [onedl] [openmmlab]" >&2
    echo "  --dir DIR  folder of the environments .venv-STACK-KIND, which are reused (default: the repository's root)" >&2
    exit 2
}

ROOT=$(cd "$(dirname "$0")/../.." >/dev/null && pwd)
CONFIG=classification/lfi_vit-128x6-p8_shapes.py
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

# Test the environment's lfi, not this clone. Without its ops, mmcv needs no compiler.
unset PYTHONPATH
export MMCV_WITH_OPS=0 CUDA_VISIBLE_DEVICES=
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# Four steps an epoch.
OPTIONS=(
    train_dataloader.dataset.num_images=128 train_dataloader.batch_size=32
    val_dataloader.dataset.num_images=100 test_dataloader.dataset.num_images=100
)

install() { # STACK KIND: install in .venv-STACK-KIND unless it is up to date; the wheel is always rebuilt
    local venv=$DIR/.venv-$1-$2 file fresh=yes wheel
    for file in "$ROOT"/setup.py "$ROOT"/pyproject.toml "$ROOT"/requirements/*.txt; do
        [ "$venv/.installed" -nt "$file" ] || fresh=no
    done
    [ $fresh = yes ] || "${PYTHON:-python3}" -m venv "$venv" || return 1
    if [ "$2" = wheel ]; then
        "$venv/bin/python" -m pip wheel --no-deps --wheel-dir wheels "$ROOT" || return 1
        wheel=$(ls "$PWD"/wheels/lfi-*.whl)
        [ $fresh = yes ] || "$venv/bin/python" -m pip install "$wheel[$1]" || return 1
        "$venv/bin/python" -m pip install --force-reinstall --no-deps "$wheel" || return 1
    else
        [ $fresh = yes ] || "$venv/bin/python" -m pip install -e "$ROOT[$1]" || return 1
    fi
    touch "$venv/.installed"
}

mim() { # PYTHON PACKAGE: print the folder of a package's configs and tools
    "$1" - "$2" <<'PY'
import importlib.util, os, sys

print(os.path.join(os.path.dirname(importlib.util.find_spec(sys.argv[1]).origin), '.mim'))
PY
}

versions() { # PYTHON: print the table's cells from mmengine to torch
    "$1" - <<'PY'
import lfi, mmcv, mmdet, mmengine, mmpretrain, torch

print(*(module.__version__ for module in (mmengine, mmcv, mmdet, mmpretrain, torch)), sep=' | ')
PY
}

run_tool() { # PYTHON TOOL ARGUMENTS: run a tool with few images
    "$1" "$MIM/tools/$2" "$MIM/configs/$CONFIG" "${@:3}" --cfg-options "${OPTIONS[@]}" "train_cfg.max_epochs=$EPOCHS"
}

accuracy() { # val or test, LOG: print the last accuracy of a log
    sed -n "s/.*Epoch($1).*accuracy\/top1: \([0-9.]*\).*/\1/p" "$2" | tail -n 1
}

inherit() { # PYTHON STACK KIND: train each config of the sample project with the tool of its base project
    local config tool
    cp -r "$ROOT/tests/sample_project" project
    for config in project/configs/*.py; do
        case $(basename "$config" .py) in
            # Upstream's MMEngine looks for lazy configs only in site-packages.
            lazy) [ "$2 $3" != 'openmmlab editable' ] || continue; tool=$MIM/tools/train.py ;;
            lfi-scope) tool=$MIM/tools/train.py ;;
            mmdet-overlay) tool=$(mim "$1" mmdet)/tools/train.py ;;
            *) tool=$(mim "$1" mmpretrain)/tools/train.py ;;
        esac
        echo "== $config by $tool"
        PYTHONPATH=project/projects "$1" "$tool" "$config" --work-dir "inherit/$(basename "$config")" --cfg-options \
            train_dataloader.dataset.num_images=12 train_dataloader.batch_size=4 val_dataloader.dataset.num_images=4 \
            train_cfg.max_epochs=1 default_hooks.logger.interval=1 || return 1
    done
}

smoke() { # STACK KIND: sets STEP, the last step and the name of its log, and CELLS, the versions
    local python=$DIR/.venv-$1-$2/bin/python trained tested
    STEP=install
    install "$1" "$2" >install.log 2>&1 || return 1
    STEP=import
    CELLS=$(versions "$python" 2>import.log) || return 1
    MIM=$(mim "$python" lfi)

    STEP=train EPOCHS=1
    run_tool "$python" train.py --work-dir run >train.log 2>&1 || return 1
    grep -q 'loss_spatial: .*loss_semantic: .*loss_presence: ' train.log || return 1
    trained=$(accuracy val train.log)

    STEP=test
    run_tool "$python" test.py run/epoch_1.pth --work-dir run >test.log 2>&1 || return 1
    tested=$(accuracy test test.log)
    echo "accuracy in training: $trained, in testing: $tested" >>test.log
    [ -n "$trained" ] && [ "$trained" = "$tested" ] || return 1

    STEP=resume EPOCHS=2
    run_tool "$python" train.py --work-dir run --resume >resume.log 2>&1 || return 1
    grep -q 'resumed epoch: 1, iter: 4' resume.log && [ -f run/epoch_2.pth ] || return 1

    STEP=inherit
    inherit "$python" "$1" "$2" >inherit.log 2>&1 || return 1
    [ "$(grep -c 'Epoch(train).*\[3/3\].* loss_spatial: ' inherit.log)" -ge 5 ]
}

ROWS=() FAILED=0
for stack in "${STACKS[@]}"; do
    for kind in editable wheel; do
        echo "$stack, $kind: install, import, train, test, resume, inherit" >&2
        mkdir "$WORK/$stack-$kind"
        cd "$WORK/$stack-$kind"
        CELLS='- | - | - | - | -'
        if smoke "$stack" "$kind"; then
            outcome='trains, tests to the digit, resumes, is inherited'
        else
            FAILED=1 outcome="fails: $STEP"
            tail -n 30 "$STEP.log" >&2
        fi
        ROWS+=("| $stack | $kind | ${CELLS:-- | - | - | - | -} | $outcome |")
    done
done

echo '| stack | install | mmengine | mmcv | mmdet | mmpretrain | torch | smoke run |'
echo '| --- | --- | --- | --- | --- | --- | --- | --- |'
printf '%s\n' "${ROWS[@]}"
exit $FAILED
