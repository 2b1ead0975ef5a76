"""Studies of classifiers in which few images have a label, or none."""

from __future__ import annotations

from dataclasses import replace

from ..arms import Arm, arm_of
from ..settings import FEW_CHOSEN, PHOTOS_FEW_CHOSEN, chosen
from .all_labels import SHAPES, SHAPES_STUDENT, TINY_SMALL, TINY_STUDENT, in_epochs
from .preset import Preset
from .students import BY_HEAD, each_view, named_arms, where_config

FEW_ARMS = (
    'task-loss',
    'logit-kd',
    'dense-features',
    'lightly-train-v3',
    'other-image',
    'lfi',
    'lfi-logit-kd',
)
# Where predictions are presence, what destroys presence leaves chance. Mean maps leave it, and `presence` has
# nothing else: these tell what maps add.
MAPS_ARMS = ('mean-target', 'presence')


def few_labels(preset: Preset, labels_per_class: int, arms: tuple[Arm, ...], epochs: int) -> Preset:
    """A study in which few labels are known; the task loss alone sees all images too, by the prior.

    Args:
        preset: the study with all labels.
        labels_per_class: how many labels of each class are known. Each seed has its own.
        arms: the baseline first.
        epochs: of complete schedules; one passes once over the images without a label.
    """
    return replace(
        preset,
        about=f'{labels_per_class} labels a class, other ones for each seed, and all other images without a '
        'label; half of each batch labelled, each epoch once over the others. LFI and its negative control '
        f'predict by the texts of the classes. {in_epochs(preset.about, epochs)}',
        arms=tuple(replace(arm, epochs=epochs) for arm in arms),
        options=(*preset.options, f'train_dataloader.few_labels.labels_per_class={labels_per_class}'),
        seeds=Preset.seeds,
        seed_options=(*preset.seed_options, 'train_dataloader.few_labels.seed={seed}'),
        short=(),
    )


# Where few images have a label the texts know more than the head: the teacher teaches them on all images.
BY_TEXT = (
    'lfi',
    'lfi-logit-kd',
    'lfi-cached',
    'lfi-dense-features',
    'presence',
    'other-image',
    'mean-target',
)


def by_text(arm: Arm) -> Arm:
    """An arm with LFI's read-out predicts by the texts of the classes; others stay as they are."""
    if arm.name not in BY_TEXT:
        return arm
    return replace(arm, options=(*arm.options, 'model.predict_by.type=lfi.ByTexts'))


LABELS_PER_CLASS = (5, 10, 25)
# What else LFI can do is tried with this many.
LABELS_OF_VARIANTS = 10
VARIANTS = (*MAPS_ARMS, 'lfi-cached', 'lfi-dense-features')
# As with all labels.
SHAPES_FEW_ARMS = (
    *each_view(named_arms((*FEW_ARMS, *MAPS_ARMS), SHAPES_STUDENT)),
    *named_arms(('lfi-cached',), SHAPES_STUDENT),
)
TINY_FEW_ARMS = named_arms((*FEW_ARMS, *MAPS_ARMS, 'lfi-dense-features'), TINY_STUDENT, features=True)
# By the studies' name the study with all labels, its arms, what of them has settings of its own, and the
# epochs that have about as many steps as with all labels.
FEW = {
    name: (preset, tuple(chosen(by_text(arm), settings) for arm in arms), epochs)
    for name, preset, arms, settings, epochs in (
        ('shapes-few', SHAPES, SHAPES_FEW_ARMS, FEW_CHOSEN, 6),
        ('tiny-few', TINY_SMALL, TINY_FEW_ARMS, PHOTOS_FEW_CHOSEN, 8),
    )
}
FEW_LABELS = {
    f'{name}-{number}': few_labels(
        preset,
        number,
        tuple(arm for arm in arms if number == LABELS_OF_VARIANTS or arm.name not in VARIANTS),
        epochs,
    )
    for name, (preset, arms, epochs) in FEW.items()
    for number in LABELS_PER_CLASS
}
RESNET_STUDENT = 'resnet18_shapes'
SHAPES_FEW_RESNET = few_labels(
    replace(SHAPES, about=f'A narrow ResNet-18, in an adapter where it is asked. {SHAPES.about}'),
    10,
    (
        # mmpretrain's own classifier would learn from the label -1.
        replace(
            arm_of('task-loss', RESNET_STUDENT),
            options=('model.type=lfi.Student', 'model.task=mmpretrain.ImageClassifier'),
        ),
        # The settings are those of the ViT.
        *(
            chosen(by_text(arm), FEW_CHOSEN)
            for arm in each_view(named_arms(('other-image', 'lfi'), RESNET_STUDENT))
        ),
    ),
    6,
)
NO_LABEL_ARMS = ('logit-kd', 'other-image', 'lfi', 'lfi-logit-kd', *MAPS_ARMS)


def no_labels(few: str, student: str) -> Preset:
    """A study without labels, whose reference is text-logit KD: its head learns the teacher's probabilities.

    Args:
        few: the name of the studies of few labels, whose arms these are.
        student: how the names of its configs end.
    """
    preset, arms, epochs = FEW[few]
    found = {arm.name: arm if arm.name in BY_TEXT else replace(arm, test_options=BY_HEAD) for arm in arms}
    return replace(
        few_labels(preset, 0, tuple(found[name] for name in NO_LABEL_ARMS), epochs),
        about='No label at all: classes are named when the student is tested. LFI predicts by presence; '
        "logit-kd has a head that learns the teacher's zero-shot class probabilities. "
        f'{in_epochs(preset.about, epochs)}',
        tests={'': where_config(student)},
    )


NO_LABELS = {
    'shapes-none': no_labels('shapes-few', SHAPES_STUDENT),
    'tiny-none': no_labels('tiny-few', TINY_STUDENT),
}
