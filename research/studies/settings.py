"""What is tuned of the arms: the settings that are tried, and what was chosen among them.

What was chosen of LFI with all labels its configs have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .arms import LOSS, Arm, origin_of

Options = Mapping[str, str]

QUEUE = 'model.supervision.lightly_train.queue_size'


def weight(part: str, value: str) -> Options:
    """The weight of a supervision part."""
    return {f'model.supervision.{part}.loss_weight': value}


def _weights(part: str, *values: str) -> list[Options]:
    return [weight(part, value) for value in values]


def _lfi(positions: str, concepts: str, presence: str) -> Options:
    return {
        f'{LOSS}.spatial_weight': positions,
        f'{LOSS}.semantic_weight': concepts,
        f'{LOSS}.presence_weight': presence,
    }


# As many for each way to distil, and more at the end of a range where the best of them lies there.
SETTINGS: dict[str, list[Options]] = {
    'feature-mse': _weights('feature_mse', '0.125', '0.5', '2', '8', '32'),
    'logit-kd': _weights('logit_kd', '0.25', '1', '4', '16'),
    'pairwise-affinity': _weights('affinity', '0.5', '2', '8', '32'),
    'dense-features': _weights('dense_features', '0.5', '2', '8', '32', '128'),
    'lightly-train-v3': _weights('lightly_train', '0.03125', '0.125', '0.5', '2', '8'),
    'lfi': [
        _lfi(positions, concepts, positions)
        for positions, concepts in (
            ('0.125', '0.25'),
            ('0.25', '0.5'),
            ('0.5', '1'),
            ('1', '2'),
            ('2', '4'),
            ('4', '8'),
        )
    ],
}

# On photos dense features are ahead of LFI, and LFI beside them is tried too. They weigh as by themselves.
PHOTOS_SETTINGS: dict[str, list[Options]] = {
    **SETTINGS,
    # Those of LFI alone, but for the largest.
    'lfi-dense-features': SETTINGS['lfi'][:-1],
}

# With few labels most images are known to the teacher alone, and its part may weigh more; presence above all,
# whose error is a mean over all concepts.
FEW_SETTINGS: dict[str, list[Options]] = {
    'logit-kd': _weights('logit_kd', '0.0625', '0.25', '1', '4', '16'),
    'dense-features': _weights('dense_features', '2', '8', '32', '128', '512'),
    'lightly-train-v3': _weights('lightly_train', '0.125', '0.5', '2', '8', '32'),
    'lfi': [
        _lfi('0.25', '0.5', '4'),
        _lfi('1', '2', '1'),
        _lfi('2', '4', '2'),
        _lfi('4', '8', '4'),
        _lfi('8', '16', '8'),
    ],
}
# On Shapes two of these were best at the end of their range.
SHAPES_FEW_SETTINGS: dict[str, list[Options]] = {
    **FEW_SETTINGS,
    'dense-features': [*FEW_SETTINGS['dense-features'], weight('dense_features', '2048')],
    'lightly-train-v3': [
        *FEW_SETTINGS['lightly-train-v3'],
        *_weights('lightly_train', '128', '512', '2048'),
    ],
}

# Without labels nothing competes with a way to pretrain but the prior. LFI has its defaults.
PRETRAINING_SETTINGS: dict[str, list[Options]] = {
    'dense-features': _weights('dense_features', '2', '8', '32', '128'),
    # Of '0.5' to '32' the smallest was best: '0.125' was added.
    'lightly-train-v3': _weights('lightly_train', '0.125', '0.5', '2', '8', '32'),
    'lfi': [_lfi('1', '2', '1')],
}

# A detector's own losses are small, and most of its images have no boxes.
FEW_BOXES_SETTINGS: dict[str, list[Options]] = {
    'lfi': [_lfi('0.5', '1', '0.5'), _lfi('2', '4', '2'), _lfi('8', '16', '8')],
}

_TINY_CHOSEN: dict[str, Options] = {
    'feature-mse': weight('feature_mse', '8.0'),
    'logit-kd': weight('logit_kd', '1.0'),
    'pairwise-affinity': weight('affinity', '2.0'),
    'dense-features': weight('dense_features', '32.0'),
    'lightly-train-v3': {QUEUE: '512', **weight('lightly_train', '2.0')},
}
# With all labels of each student's data the best of these; the queue holds a quarter to a half of the images.
STUDENTS: dict[str, dict[str, Options]] = {
    'vit-128x6-p8_shapes': {
        'feature-mse': weight('feature_mse', '0.5'),
        'logit-kd': weight('logit_kd', '1.0'),
        'pairwise-affinity': weight('affinity', '8.0'),
        'dense-features': weight('dense_features', '8.0'),
        'lightly-train-v3': {QUEUE: '1024', **weight('lightly_train', '0.125')},
    },
    'vit-128x6-p8_lit-lite0_tiny-imagenet-20': _TINY_CHOSEN,
    'vit-128x6-p8_lit-lite0_tiny-imagenet-50': _TINY_CHOSEN,
    # It was never tuned.
    'vit-tiny-p8_clip-b16_tiny-imagenet': {'lightly-train-v3': {QUEUE: '8192'}},
}
PRETRAINING_CHOSEN: dict[str, Options] = {
    'dense-features': weight('dense_features', '8.0'),
    'lightly-train-v3': {QUEUE: '1024', **weight('lightly_train', '0.5')},
}

# Of these the best.
_LFI_BOXES = _lfi('2.0', '4.0', '2.0')
FEW_BOXES_CHOSEN: dict[str, Options] = {'other-image': _LFI_BOXES, 'lfi': _LFI_BOXES}

_LFI = _lfi('4.0', '8.0', '4.0')
# Of these the best on Shapes. LFI's negative controls have LFI's, and LFI with logit KD has both.
FEW_CHOSEN: dict[str, Options] = {
    'logit-kd': weight('logit_kd', '4.0'),
    'dense-features': weight('dense_features', '512.0'),
    'lightly-train-v3': weight('lightly_train', '512.0'),
    'other-image': _LFI,
    'mean-target': _LFI,
    # Of LFI's the weight of presence.
    'presence': {f'{LOSS}.presence_weight': '4.0'},
    'lfi': _LFI,
    'lfi-cached': _LFI,
    'lfi-logit-kd': {**_LFI, **weight('logit_kd', '4.0')},
}

# And on photos, where logit KD and LFI have those of all labels.
PHOTOS_FEW_CHOSEN: dict[str, Options] = {
    'dense-features': weight('dense_features', '128.0'),
    'lightly-train-v3': weight('lightly_train', '8.0'),
    'lfi-dense-features': _LFI,
}
# With all labels of photos LFI beside dense features, which weigh as by themselves, has an eighth of its own.
PHOTOS_CHOSEN: dict[str, Options] = {'lfi-dense-features': _lfi('0.25', '0.5', '0.25')}


def of_student(arm: Arm, student: str) -> Arm:
    """An arm in the settings that its baseline has for a student with all labels, if it has any.

    Args:
        arm: of the table.
        student: how the names of its configs end.
    """
    return _with(arm, STUDENTS.get(student, {}).get(origin_of(arm.name), {}))


def chosen(arm: Arm, settings: Mapping[str, Options]) -> Arm:
    """An arm in the settings that it has in a study, if it has any."""
    return _with(arm, settings.get(arm.name, {}))


def tuned(arms: Sequence[Arm], settings: Mapping[str, Sequence[Options]]) -> tuple[Arm, ...]:
    """The first arm, and each arm that has settings in each of these.

    Args:
        arms: of the study.
        settings: for each arm's name the options that are tried.
    """
    found = [arms[0]]
    for arm in arms:
        for options in settings.get(arm.name, []):
            label = ', '.join(f'{key.rsplit(".", 1)[1]} {value}' for key, value in options.items())
            found.append(replace(_with(arm, options), name=f'{arm.name} {label}'))
    return tuple(found)


def _with(arm: Arm, options: Options) -> Arm:
    """The arm with options in place of those that it has of the same keys."""
    kept = (option for option in arm.options if option.split('=', 1)[0] not in options)
    return replace(arm, options=(*kept, *(f'{key}={value}' for key, value in options.items())))
