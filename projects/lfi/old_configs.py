"""What became of the configs of earlier versions.

Packaging reads this file before the package is there: it imports nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

STUDENTS = (
    'vit-tiny_shapes',
    'vit-tiny-p8_clip-b16_tiny-imagenet',
    'vit-128x6-p8_lit-lite0_tiny-imagenet-20',
)
# Ablations and negative controls, each with the config whose options they are now and the students it had.
ARMS = {
    'shuffled-attention': ('baselines/attention-transfer', STUDENTS),
    'text-class': ('classification/lfi', ('vit-128x6-p8_lit-lite0_tiny-imagenet',)),
    **dict.fromkeys(
        (
            *('shuffled-images', 'shuffled-places', 'lfi-positions', 'lfi-concepts', 'lfi-no-text-class'),
            *('lfi-no-write-back', 'lfi-not-persistent', 'lfi-index', 'lfi-hungarian'),
        ),
        ('classification/lfi', STUDENTS),
    ),
}


def old_configs(folder: Path) -> dict[str, str]:
    """What became of each config that has moved, in words, by its old path below `configs/`.

    Args:
        folder: where the configs lie today.
    """
    return dict(_moved(folder))


def _moved(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((folder / 'baselines').glob('*.py')):
        yield f'controls/{path.name}', f"it is 'baselines/{path.name}' now"
    for arm, (method, students) in ARMS.items():
        for student in students:
            config = f'{method}_{student}.py'
            if (folder / config).is_file():
                yield (
                    f'controls/{arm}_{student}.py',
                    f'it is {config!r} now with the options of the arm {arm!r} in lfi/studies/arms.py, which '
                    '`python tools/reproduce.py --print-commands STUDY` prints',
                )
