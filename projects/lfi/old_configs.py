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
# Ablations and negative controls, each with the config whose options they are now.
OPTIONS = {
    'shuffled-attention': 'baselines/attention-transfer',
    **dict.fromkeys(
        ('shuffled-images', 'shuffled-places', 'lfi-positions', 'lfi-concepts', 'lfi-not-persistent'),
        'classification/lfi',
    ),
}
# An ablation that the method is now.
METHODS = ('lfi-no-write-back',)
# Those with parts that no student has any more, and the students they had.
GONE = {
    **dict.fromkeys(('lfi-no-text-class', 'lfi-index', 'lfi-hungarian'), STUDENTS),
    'text-class': (*STUDENTS, 'vit-128x6-p8_lit-lite0_tiny-imagenet'),
}
# Baselines of a student that is smaller now.
SMALLER = {
    f'task-loss_vit-tiny-p8_{data}.py': f'task-loss_vit-128x6-p8_{data}.py' for data in ('pacs', 'vlcs')
}
# Baselines that came later, and have no old name.
NEW_BASELINES = ('dense-features', 'lightly-train-v3')


def old_configs(folder: Path) -> dict[str, str]:
    """What became of each config that has moved, in words, by its old path below `configs/`.

    Args:
        folder: where the configs lie today.
    """
    return dict(_moved(folder))


def _moved(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((folder / 'baselines').glob('*.py')):
        if not path.name.startswith(NEW_BASELINES):
            yield f'controls/{path.name}', f"it is 'baselines/{path.name}' now"
    for old, new in SMALLER.items():
        yield f'controls/{old}', f"it is 'baselines/{new}' now, of a smaller student"
    for data in ('pacs', 'vlcs'):
        yield (
            f'domain_generalization/lfi_vit-tiny-p8_lit-lite0_{data}.py',
            f"it is 'domain_generalization/lfi_vit-128x6-p8_lit-lite0_{data}.py' now, of a smaller student",
        )
    for student in STUDENTS:
        for arm, method in OPTIONS.items():
            config = f'{method}_{student}.py'
            if (folder / config).is_file():
                yield (
                    f'controls/{arm}_{student}.py',
                    f'it is {config!r} now with the options of the arm {arm!r} in lfi/studies/arms.py, which '
                    '`python tools/reproduce.py --print-commands STUDY` prints',
                )
        for arm in METHODS:
            yield f'controls/{arm}_{student}.py', f"it is 'classification/lfi_{student}.py' now"
    for arm, students in GONE.items():
        for student in students:
            yield (
                f'controls/{arm}_{student}.py',
                f'{arm!r} is of a student that recalls concepts, which lfi 0.1 has; this version asks, '
                f"as 'classification/lfi_{student}.py' does",
            )
