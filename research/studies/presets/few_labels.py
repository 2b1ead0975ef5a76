"""Studies of classifiers with few labels or none."""

from __future__ import annotations

from dataclasses import replace

from ..arms import Arm, build_arm
from ..settings import FEW_CHOSEN, PHOTOS_FEW_CHOSEN, with_settings
from .all_labels import (
    RESNET_STUDENT,
    SHAPES,
    SHAPES_STUDENT,
    TINY_RESNET,
    TINY_SMALL,
    TINY_STUDENT,
    in_epochs,
)
from .preset import Preset
from .students import BY_HEAD, localization_config, named_arms, without_cache

FEW_ARMS = (
    'task-loss',
    'logit-kd',
    'dho',
    'dense-features',
    'lightly-train-v3',
    'other-image',
    'lfi',
    'lfi-logit-kd',
)
# Arms that measure the value of maps if predictions are presence. `mean-target` keeps the teacher's presence,
# and `presence` learns nothing else. Controls that destroy presence predict at chance.
MAPS_ARMS = ('mean-target', 'presence')


def few_labels(preset: Preset, labels_per_class: int, arms: tuple[Arm, ...], epochs: int) -> Preset:
    """Build a study with few labels. The task loss alone also sees all images, by the prior.

    Args:
        preset: the study with all labels.
        labels_per_class: number of labels per class, drawn anew for each seed.
        arms: arms of the study, the baseline first.
        epochs: epochs of complete schedules. An epoch is one pass over the images without labels.
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


# With few labels texts predict better than the head, since the teacher supervises them on all images.
TEXT_PREDICTION_ARMS = (
    'lfi',
    'lfi-logit-kd',
    'lfi-cached',
    'lfi-dense-features',
    'presence',
    'other-image',
    'mean-target',
)


def with_text_prediction(arm: Arm) -> Arm:
    """Let an arm with LFI's read-out predict by the texts of the classes; return other arms unchanged."""
    if arm.name not in TEXT_PREDICTION_ARMS:
        return arm
    return replace(arm, options=(*arm.options, 'model.predict_by.type=lfi.ByTexts'))


LABELS_PER_CLASS = (5, 10, 25)
# Variants of LFI are run with this number of labels alone.
LABELS_OF_VARIANTS = 10
VARIANTS = (*MAPS_ARMS, 'lfi-cached', 'lfi-dense-features')
# Caches are used as in the studies with all labels.
SHAPES_FEW_ARMS = (
    *without_cache(named_arms((*FEW_ARMS, *MAPS_ARMS), SHAPES_STUDENT)),
    *named_arms(('lfi-cached',), SHAPES_STUDENT),
)
TINY_FEW_ARMS = named_arms((*FEW_ARMS, *MAPS_ARMS, 'lfi-dense-features'), TINY_STUDENT, features=True)
# Study with all labels, arms in their settings, and epochs with about as many steps as with all labels.
FEW = {
    name: (preset, tuple(with_settings(with_text_prediction(arm), settings) for arm in arms), epochs)
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
# Settings were tuned with the ViT.
TINY_RESNET_FEW = few_labels(
    TINY_RESNET,
    10,
    (
        # mmpretrain's ImageClassifier would train on the label -1.
        replace(
            build_arm('task-loss', RESNET_STUDENT),
            options=('model.type=lfi.Student', 'model.task=mmpretrain.ImageClassifier'),
        ),
        *(
            with_settings(with_text_prediction(arm), PHOTOS_FEW_CHOSEN)
            for arm in named_arms(
                ('logit-kd', 'dho', 'dense-features', 'other-image', 'lfi'), RESNET_STUDENT, features=True
            )
        ),
    ),
    8,
)
NO_LABEL_ARMS = ('logit-kd', 'other-image', 'lfi', 'lfi-logit-kd', *MAPS_ARMS)


def no_labels(few: str, student: str) -> Preset:
    """Build a study without labels. Its reference, logit KD, learns the teacher's class probabilities.

    Args:
        few: name of the studies with few labels in `FEW`, for arms and settings.
        student: suffix of the names of the student's configs.
    """
    preset, arms, epochs = FEW[few]
    by_name = {
        arm.name: arm if arm.name in TEXT_PREDICTION_ARMS else replace(arm, test_options=BY_HEAD)
        for arm in arms
    }
    return replace(
        few_labels(preset, 0, tuple(by_name[name] for name in NO_LABEL_ARMS), epochs),
        about='No image has a label in training; the names of the classes are known. LFI predicts by '
        "presence; logit-kd has a head that learns the teacher's zero-shot class probabilities. "
        f'{in_epochs(preset.about, epochs)}',
        tests={'': localization_config(student)},
    )


SHAPES_NONE = no_labels('shapes-few', SHAPES_STUDENT)
NO_LABELS = {
    'shapes-none': SHAPES_NONE,
    # The reference still rises at the end of 6 epochs.
    'shapes-none-long': replace(
        SHAPES_NONE,
        about=in_epochs(SHAPES_NONE.about, 20),
        arms=tuple(replace(arm, epochs=20) for arm in SHAPES_NONE.arms if arm.name in ('logit-kd', 'lfi')),
    ),
    'tiny-none': no_labels('tiny-few', TINY_STUDENT),
}
