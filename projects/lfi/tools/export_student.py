"""The weights that a student needs at inference, and the slim config beside them."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from lfi.fileio import AtomicLocalBackend
from lfi.models.export import (
    ExportedStudent,
    build_timm,
    slim_config,
    timm_difference,
    to_timm,
)

from .graphs import load_student
from .weight_files import read_checkpoint, same_file, write_weights

TOLERANCE = 1e-4


def main(args: Namespace) -> None:
    """Run the tool."""
    beside = args.out.parent / 'config.json' if args.format == 'timm' else args.out.with_suffix('.py')
    for source in (args.config, args.checkpoint):
        if any(same_file(path, source) for path in (args.out, beside)):
            raise UsageError(f'out={args.out} would overwrite {source}')
    if beside.exists() and not is_export(args.out, beside):
        raise UsageError(f'{beside} is there already, and of no export: choose another name than {args.out}')
    cfg = load_config(args.config, args.cfg_options)
    checkpoint = read_checkpoint(args.checkpoint)
    exported = load_student(cfg, checkpoint)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.format == 'timm':
        state = write_timm(exported, args.out, beside)
    else:
        state = exported.state
        write_weights(state, args.out, meta=dataset_meta(checkpoint))
        AtomicLocalBackend().put_text(slim_config(cfg).pretty_text, beside)
    report(exported, state)
    print(f'Wrote {args.out} ({args.out.stat().st_size / 1e6:,.3f} MB) and {beside}.')


def is_export(out: Path, beside: Path) -> bool:
    """Whether the config of an export may be replaced: an earlier one wrote it."""
    if beside.suffix == '.py':
        return out.exists()
    try:
        return 'architecture' in json.loads(beside.read_text(encoding='utf-8'))
    except (TypeError, ValueError):
        return False


def dataset_meta(checkpoint: dict) -> dict:
    """The names of the classes, where OpenMMLab's inferencers look for them."""
    meta = checkpoint.get('meta') or {}
    return {'dataset_meta': meta['dataset_meta']} if meta.get('dataset_meta') else {}


def write_timm(exported: ExportedStudent, path: Path, config_path: Path) -> dict[str, Tensor]:
    """Write the student as timm reads it, if timm's model computes the same.

    Returns:
        The weights that were written.

    Raises:
        UsageError: If it does not.
    """
    student = exported.build()
    try:
        state, config = to_timm(student)
    except ValueError as error:
        raise UsageError(f'--format timm: {error}') from error
    difference = timm_difference(student, build_timm(state, config), config)
    if not difference <= TOLERANCE:
        raise UsageError(
            f"--format timm: timm's outputs differ from the student's by {difference:.1e} of the largest, "
            f'more than {TOLERANCE}. Export as mmpretrain'
        )
    print(f"timm's outputs differ from the student's by {difference:.1e} of the largest.")
    write_weights(state, path, meta={})
    AtomicLocalBackend().put_text(json.dumps(config, indent=2) + '\n', config_path)
    return state


def report(exported: ExportedStudent, written: Mapping[str, Tensor]) -> None:
    """Print what was removed, and the sizes before and after."""
    print_group('Removed', exported.removed)
    if len(written) < len(exported.state):
        kept = ('backbone.', 'head.')
        print_group('timm has no', {k: v for k, v in exported.state.items() if not k.startswith(kept)})
    print(f'Before: {size([*exported.state.values(), *exported.removed.values()])}.')
    print(f'After: {size(written.values())}.')


def print_group(title: str, tensors: Mapping[str, Tensor]) -> None:
    """One line for each part of a model."""
    parts = defaultdict(list)
    for name, value in tensors.items():
        names = name.split('.')
        parts[f'backbone.{names[-1]}' if names[0] == 'backbone' else names[0]].append(value)
    for part, values in parts.items():
        print(f'{title} {part}: {size(values)}.')
    if not parts:
        print(f'{title} nothing.')


def size(tensors: Iterable[Tensor]) -> str:
    """How many parameters there are, and their megabytes, in words."""
    tensors = list(tensors)
    n_bytes = sum(tensor.nbytes for tensor in tensors)
    return f'{len(tensors)} tensors, {sum(t.numel() for t in tensors):,} values, {n_bytes / 1e6:,.3f} MB'
