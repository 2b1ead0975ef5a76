"""Commands that a user types next, printed at the end of a command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lfi.utils.options import format_option
from lfi.utils.repositories import is_student

PHOTOS = 'PHOTOS'
"""Placeholder for images of the user."""
TEXTS = ('dog', 'red car')
"""Texts to ask a model about that has no classes."""


def print_next(*commands: Sequence[str]) -> None:
    """Print commands, quoted for a shell, on the main process; nothing without commands.

    Args:
        *commands: words of each command.
    """
    # Imported late: help needs it not.
    from mmengine import dist

    if not commands or dist.get_rank():
        return
    print('Next:')
    for command in commands:
        print(f'  {shlex.join(command)}')


def option_words(options: Mapping[str, Any] | None) -> list[str]:
    """Return `--cfg-options` and the pairs as a user types them; nothing without options."""
    return ['--cfg-options', *(format_option(*pair) for pair in options.items())] if options else []


def infer_command(
    config: str,
    checkpoint: str,
    images: str = PHOTOS,
    texts: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the command that asks a trained model about images, with pictures beside its checkpoint.

    Args:
        config: config of the training.
        checkpoint: path or address of the checkpoint.
        images: image or folder of images.
        texts: texts to ask for. Defaults to (): classes of the training.
        options: values of `--cfg-options`. Defaults to None.
    """
    about = ['--texts', *texts] if texts else []
    out = ['--out-dir', str(_folder_of(checkpoint) / 'seen')]
    return ['lfi', 'infer', config, checkpoint, images, *about, *out, *option_words(options)]


def export_commands(
    config: str, checkpoint: str, options: Mapping[str, Any] | None = None
) -> list[list[str]]:
    """Return the command that exports a student, if the config is that of a training."""
    if is_student(config):
        return []
    # Beside the checkpoint, `lfi.load` would find two configs.
    out = _folder_of(checkpoint) / 'export' / 'student.pth'
    return [['lfi', 'export', config, checkpoint, str(out), *option_words(options)]]


def _folder_of(checkpoint: str) -> Path:
    if '://' in checkpoint:
        return Path('work_dirs')
    return Path(checkpoint) if is_student(checkpoint) else Path(checkpoint).parent
