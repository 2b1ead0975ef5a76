"""Studies of students pretrained without labels."""

from __future__ import annotations

from dataclasses import replace

from ..arms import Arm, build_arm
from ..settings import PRETRAINING_CHOSEN, PRETRAINING_SETTINGS, with_settings
from .all_labels import SHAPES, SHAPES_STUDENT
from .few_labels import few_labels
from .tuning import tuning

CONFIG = 'configs/pretraining/lfi-pretrain_vit-128x6-p8_shapes.py'


def _pretraining(name: str, cache: str | None = 'maps') -> Arm:
    arm = replace(build_arm(name, SHAPES_STUDENT, cache=cache), config=CONFIG)
    return with_settings(arm, PRETRAINING_CHOSEN)


# Baselines of features ask the teacher about each view, as in all studies of Shapes.
BASELINES = tuple(_pretraining(name, cache=None) for name in ('dense-features', 'lightly-train-v3'))
# Pretraining of each arm. The baseline's learning rate is 0: it only updates the running statistics of its
# stem, and keeps its random weights.
PRETRAINED = {
    'task-loss': replace(
        _pretraining('lfi'),
        name='untrained',
        options=('optim_wrapper.optimizer.lr=0', 'param_scheduler.1.eta_min=0'),
        epochs=2,
    ),
    **{arm.name: arm for arm in BASELINES},
    'other-image': _pretraining('other-image'),
    'lfi': _pretraining('lfi'),
    'lfi-each-view': _pretraining('lfi-each-view', cache=None),
}
SHAPES_PRETRAINING = replace(
    few_labels(
        SHAPES,
        10,
        tuple(
            replace(build_arm('task-loss', SHAPES_STUDENT), name=name, start=start)
            for name, start in PRETRAINED.items()
        ),
        6,
    ),
    about='Pretraining on all 3,200 built-in Shapes images without labels, 64 px, 10 epochs from scratch, '
    'and then the task loss with 10 labels a class, other ones for each seed, half of each batch labelled, 6 '
    'epochs. task-loss is not pretrained, dense-features and lightly-train-v3 are pretrained by features of '
    'each view, lfi by maps of unaugmented images, other-image by those of others, and lfi-each-view by '
    'those of each view. 2,000 test images, chance 5 %; frozen features name one half of these by the labels '
    "of the other. The built-in teacher, which has seen instance masks; LFI's settings are not tuned.",
    metrics=('accuracy/top1', 'start/knn/top1', 'start/linear/top1'),
    validation='accuracy/top1',
)
SHAPES_PRETRAINING_TUNING = tuning(
    replace(
        SHAPES,
        about='Pretraining on all 3,200 built-in Shapes images without labels, 64 px, from scratch; frozen '
        'features name one half of the validation images by the labels of the other; the built-in teacher, '
        'which has seen instance masks. task-loss is not pretrained, and LFI has its defaults.',
        arms=(replace(PRETRAINED['task-loss'], name='task-loss'), *BASELINES, PRETRAINED['lfi']),
        metrics=('knn/top1',),
    ),
    5,
    PRETRAINING_SETTINGS,
)
