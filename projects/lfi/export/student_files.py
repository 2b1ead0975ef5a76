"""Files of an exported student: the weights for inference, and the config beside them."""

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
from .slim_student import ExportedStudent, export_checkpoint
from .timm_config import add_data_facts
from .timm_export import build_timm, timm_difference, to_timm

TOLERANCE = 1e-4


def write_student(cfg: Config, checkpoint: str, out: Path, config_name: str) -> None:
    """Write the weights for inference, with OpenMMLab's names, and the slim config beside them.

    Args:
        cfg: config of the training.
        checkpoint: file or URL of the training's checkpoint.
        out: .pth or .safetensors file to write; the config is written as a .py file of the same name.
        config_name: path of the config, which is never overwritten.

    Raises:
        UsageError: if config and checkpoint do not fit, or a file that is not an export would be overwritten.
    """
    config_file = out.with_suffix('.py')
    check_overwrite(out, config_file, config_name, checkpoint)
    content = read_checkpoint(checkpoint)
    exported = export_checkpoint(cfg, content)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(exported.state, out, meta=dataset_meta(content))
    AtomicLocalBackend().put_text(slim_config(cfg).pretty_text, config_file)
    print_report(exported, exported.state, out, config_file)


def write_timm(cfg: Config, checkpoint: str, out: Path, config_name: str) -> None:
    """Write the weights with timm's names, and `config.json` beside them.

    Args:
        cfg: config of the training.
        checkpoint: file or URL of the training's checkpoint.
        out: .pth or .safetensors file to write.
        config_name: path of the config, which is never overwritten.

    Raises:
        UsageError: if config and checkpoint do not fit, a file that is not an export would be overwritten, or
            the outputs of timm's model differ from the student's.
    """
    config_file = out.parent / 'config.json'
    check_overwrite(out, config_file, config_name, checkpoint)
    content = read_checkpoint(checkpoint)
    exported = export_checkpoint(cfg, content)
    state, config = convert_to_timm(exported)
    config = add_data_facts(config, cfg, dataset_meta(content).get('dataset_meta', {}))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(state, out, meta={})
    AtomicLocalBackend().put_text(json.dumps(config, indent=2) + '\n', config_file)
    print_report(exported, state, out, config_file)


def check_overwrite(out: Path, config_file: Path, *sources: str) -> None:
    """Check that an export overwrites neither its sources nor a config that no export wrote.

    Raises:
        UsageError: if a file would be overwritten.
    """
    for source in sources:
        if any(same_file(path, source) for path in (out, config_file)):
            raise UsageError(f'out={out} would overwrite {source}')
    if config_file.exists() and not is_export(out, config_file):
        raise UsageError(
            f'{config_file} exists, and is not an export of this name and format: choose another name than '
            f'{out}'
        )


def is_export(out: Path, config_file: Path) -> bool:
    """Whether an earlier export wrote the config file, which may then be replaced."""
    if config_file.suffix == '.py':
        return out.exists()
    try:
        return 'architecture' in json.loads(config_file.read_text(encoding='utf-8'))
    except (TypeError, ValueError):
        return False


def dataset_meta(checkpoint: dict) -> dict:
    """Return the class names of a checkpoint in the form that OpenMMLab's inferencers read."""
    meta = checkpoint.get('meta') or {}
    return {'dataset_meta': meta['dataset_meta']} if meta.get('dataset_meta') else {}


def convert_to_timm(exported: ExportedStudent) -> tuple[dict[str, Tensor], dict]:
    """Convert a student to the weights and config of a timm model, and compare their outputs.

    Raises:
        UsageError: if timm has no such model, or its outputs differ.
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


def print_report(
    exported: ExportedStudent, written: Mapping[str, Tensor], out: Path, config_file: Path
) -> None:
    """Print the removed parts, the sizes before and after, and the files."""
    print_parts('Removed', exported.removed)
    if len(written) < len(exported.state):
        prefixes = ('backbone.', 'head.')
        print_parts('timm has no', {k: v for k, v in exported.state.items() if not k.startswith(prefixes)})
    print(f'Before: {size_text([*exported.state.values(), *exported.removed.values()])}.')
    print(f'After: {size_text(written.values())}.')
    print(f'Wrote {out} ({out.stat().st_size / 1e6:,.3f} MB) and {config_file}.')


def print_parts(title: str, tensors: Mapping[str, Tensor]) -> None:
    """Print one line for each part of a model."""
    parts = defaultdict(list)
    for name, value in tensors.items():
        names = name.split('.')
        parts[f'backbone.{names[-1]}' if names[0] == 'backbone' else names[0]].append(value)
    for part, values in parts.items():
        print(f'{title} {part}: {size_text(values)}.')
    if not parts:
        print(f'{title} nothing.')


def size_text(tensors: Iterable[Tensor]) -> str:
    """Describe the number of tensors, their values and their megabytes."""
    tensors = list(tensors)
    n_bytes = sum(tensor.nbytes for tensor in tensors)
    return f'{len(tensors)} tensors, {sum(t.numel() for t in tensors):,} values, {n_bytes / 1e6:,.3f} MB'
