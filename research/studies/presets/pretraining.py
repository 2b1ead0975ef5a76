"""Studies of students that are pretrained without labels."""

from __future__ import annotations

from dataclasses import replace

from ..arms import Arm, arm_of
from ..settings import PRETRAINING_CHOSEN, PRETRAINING_SETTINGS, chosen
from .all_labels import SHAPES, SHAPES_STUDENT
from .few_labels import few_labels
from .tuning import tuning

CONFIG = 'configs/pretraining/lfi-pretrain_vit-128x6-p8_shapes.py'


def _pretraining(name: str, cache: str | None = 'maps') -> Arm:
    arm = replace(arm_of(name, SHAPES_STUDENT, cache=cache), config=CONFIG)
    return chosen(arm, PRETRAINING_CHOSEN)


# They ask the teacher about each view, as on Shapes all baselines of features do.
BASELINES = tuple(_pretraining(name, cache=None) for name in ('dense-features', 'lightly-train-v3'))
# How each arm's student is pretrained: the baseline's weights stay as they were drawn, for its rate is 0
# throughout; the running statistics of its stem alone see images.
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
            replace(arm_of('task-loss', SHAPES_STUDENT), name=name, start=start)
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
