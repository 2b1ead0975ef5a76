"""Which files below a folder are images."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from mmengine.logging import print_log
from torchvision.datasets.folder import IMG_EXTENSIONS

from .folders import files_below

# Formats of images that not every decoder reads.
OTHER_FORMATS = ('.avif', '.dng', '.gif', '.heic', '.heif', '.jp2', '.jxl', '.psd', '.svg')


def image_names(root: str | Path) -> list[str]:
    """The paths of all images below a folder, relative to it, by their files' extensions.

    Images of other formats are left out, and a warning counts them.

    Raises:
        OSError: When a folder cannot be listed.
    """
    files = list(files_below(root))
    others = Counter(suffix for suffix in map(_suffix, files) if suffix in OTHER_FORMATS)
    if others:
        counts = ', '.join(f'{count} {suffix}' for suffix, count in sorted(others.items()))
        print_log(
            f'{root}: files of other formats than {", ".join(IMG_EXTENSIONS)} are left out: {counts}',
            'current',
            logging.WARNING,
        )
    return [name for name in files if name.lower().endswith(IMG_EXTENSIONS)]


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()
