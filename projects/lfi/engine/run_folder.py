"""Files in the folder of a run: its config and its checkpoints."""

from __future__ import annotations

from pathlib import Path

from lfi.errors import UsageError

from .checkpoints.reading import find_checkpoint_to_resume, safe_checkpoint_loading
from .checkpoints.weight_files import read_checkpoint


def best_checkpoint(folder: Path) -> Path:
    """Return the best checkpoint of a run by its validation, or the last one if none was kept as the best.

    An earlier run into the same folder leaves a best checkpoint, too. MMEngine notes that of this run in the
    last checkpoint.

    Raises:
        UsageError: if the folder has no checkpoint.
    """
    found = find_checkpoint_to_resume(str(folder))
    last = None if found is None else Path(found)
    best = sorted(folder.glob('best_*.pth'), key=lambda file: file.stat().st_mtime)
    if last is None and not best:
        raise UsageError(
            f'{folder} has no checkpoint: give the folder of a run, a checkpoint, or a folder of '
            'lfi.save_pretrained'
        )
    if last is None or not best:
        return last or best[-1]
    noted = _noted_best_names(last)
    # A run notes one for each metric.
    return next((file for file in reversed(best) if file.name in noted), last)


def _noted_best_names(checkpoint: Path) -> set[str]:
    """Return the names of the best checkpoints that a run had until one of its checkpoints."""
    with safe_checkpoint_loading():
        info = read_checkpoint(str(checkpoint)).get('message_hub', {}).get('runtime_info', {})
    return {Path(str(value)).name for name, value in info.items() if name.startswith('best_ckpt')}


def config_beside(checkpoint: Path) -> Path:
    """Return the config beside a checkpoint: that of an export, or the one that MMEngine wrote for the run.

    Raises:
        UsageError: if the folder of the checkpoint has no such config, or several.
    """
    exported = checkpoint.with_suffix('.py')
    files = [exported] if exported.is_file() else sorted(checkpoint.parent.glob('*.py'))
    if len(files) != 1:
        names = ', '.join(file.name for file in files) or 'none'
        raise UsageError(
            f'{checkpoint.parent} must have one config, and has {names}: name that of the training, by '
            'config=FILE, or as (FILE, CHECKPOINT)'
        )
    return files[0]
