"""Files in the folder of a run: its config and its checkpoints."""

from __future__ import annotations

from pathlib import Path

from lfi.errors import UsageError

from .checkpoints.reading import find_checkpoint_to_resume


def best_checkpoint(folder: Path) -> Path:
    """Return the best checkpoint of a run by its validation, or the last one if none was kept as the best.

    Raises:
        UsageError: if the folder has no checkpoint.
    """
    best = sorted(folder.glob('best_*.pth'), key=lambda file: file.stat().st_mtime)
    last = str(best[-1]) if best else find_checkpoint_to_resume(str(folder))
    if last is None:
        raise UsageError(
            f'{folder} has no checkpoint: give the folder of a run, a checkpoint, or a folder of '
            'lfi.save_pretrained'
        )
    return Path(last)


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
