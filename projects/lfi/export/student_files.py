"""The weights that a student needs at inference, and the slim config beside them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmengine.config import Config
from torch import Tensor

from lfi.engine.checkpoints.weight_files import read_checkpoint, same_file, write_weights
from lfi.errors import UsageError
from lfi.utils.fileio import AtomicLocalBackend

from .run_config import slim_config
from .slim_student import ExportedStudent, load_student
from .timm_export import build_timm, timm_difference, to_timm

TOLERANCE = 1e-4


def write_student(cfg: Config, checkpoint: str, out: Path, config_name: str) -> None:
    """Write the weights that inference needs, by OpenMMLab's names, and the slim config beside them.

    Args:
        cfg: config of the training.
        checkpoint: of the training: a file or URL.
        out: the .pth or .safetensors file; the config gets its name and .py.
        config_name: what the user calls the config, which is not overwritten.

    Raises:
        UsageError: if config and checkpoint do not fit, or a file that is no export would be overwritten.
    """
    beside = out.with_suffix('.py')
    require_no_foreign_file(out, beside, config_name, checkpoint)
    trained = read_checkpoint(checkpoint)
    exported = load_student(cfg, trained)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(exported.state, out, meta=dataset_meta(trained))
    AtomicLocalBackend().put_text(slim_config(cfg).pretty_text, beside)
    report(exported, exported.state, out, beside)


def write_timm(cfg: Config, checkpoint: str, out: Path, config_name: str) -> None:
    """Write the weights by timm's names, and `config.json` beside them, if timm's model computes the same.

    Args:
        cfg: as of `write_student`.
        checkpoint: as of `write_student`.
        out: the .pth or .safetensors file.
        config_name: as of `write_student`.

    Raises:
        UsageError: as `write_student`, or if timm's model computes something else.
    """
    beside = out.parent / 'config.json'
    require_no_foreign_file(out, beside, config_name, checkpoint)
    exported = load_student(cfg, read_checkpoint(checkpoint))
    state, config = timm_student(exported)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(state, out, meta={})
    AtomicLocalBackend().put_text(json.dumps(config, indent=2) + '\n', beside)
    report(exported, state, out, beside)


def require_no_foreign_file(out: Path, beside: Path, *sources: str) -> None:
    """Refuse to overwrite what is read, or a config that no export wrote.

    Raises:
        UsageError: if one would be overwritten.
    """
    for source in sources:
        if any(same_file(path, source) for path in (out, beside)):
            raise UsageError(f'out={out} would overwrite {source}')
    if beside.exists() and not is_export(out, beside):
        raise UsageError(f'{beside} is there already, and of no export: choose another name than {out}')


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


def timm_student(exported: ExportedStudent) -> tuple[dict[str, Tensor], dict]:
    """The weights and the config of timm's model, which computes the same.

    Raises:
        UsageError: if it does not.
    """
    student = exported.build()
    try:
        state, config = to_timm(student)
    except ValueError as error:
        raise UsageError(f'--to timm: {error}') from error
    difference = timm_difference(student, build_timm(state, config), config)
    if not difference <= TOLERANCE:
        raise UsageError(
            f"--to timm: timm's outputs differ from the student's by {difference:.1e} of the largest, "
            f'more than {TOLERANCE}. Export by --to student'
        )
    print(f"timm's outputs differ from the student's by {difference:.1e} of the largest.")
    return state, config


def report(exported: ExportedStudent, written: Mapping[str, Tensor], out: Path, beside: Path) -> None:
    """Print what was removed, the sizes before and after, and the files."""
    print_group('Removed', exported.removed)
    if len(written) < len(exported.state):
        kept = ('backbone.', 'head.')
        print_group('timm has no', {k: v for k, v in exported.state.items() if not k.startswith(kept)})
    print(f'Before: {size([*exported.state.values(), *exported.removed.values()])}.')
    print(f'After: {size(written.values())}.')
    print(f'Wrote {out} ({out.stat().st_size / 1e6:,.3f} MB) and {beside}.')


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
