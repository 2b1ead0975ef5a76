"""Settings of the arms: candidates of the tuning studies, and the settings chosen by them.

LFI's settings for all labels are in its configs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from .arms import LOSS, Arm, root_arm

Options = Mapping[str, str]

QUEUE = 'model.supervision.lightly_train.queue_size'
# Share of the task's head in DHO's predictions.
MIXTURE = 'model.predict_by.weight'


def weight(part: str, value: str) -> Options:
    """Return the option of the loss weight of a supervision part."""
    return {f'model.supervision.{part}.loss_weight': value}


def _weights(part: str, *values: str) -> list[Options]:
    return [weight(part, value) for value in values]


def _lfi(spatial: str, semantic: str, presence: str) -> Options:
    return {
        f'{LOSS}.spatial_weight': spatial,
        f'{LOSS}.semantic_weight': semantic,
        f'{LOSS}.presence_weight': presence,
    }


# Candidates for each supervision. Ranges were extended if the best setting was at an end.
SETTINGS: dict[str, list[Options]] = {
    'feature-mse': _weights('feature_mse', '0.125', '0.5', '2', '8', '32'),
    'logit-kd': _weights('logit_kd', '0.25', '1', '4', '16'),
    'pairwise-affinity': _weights('affinity', '0.5', '2', '8', '32'),
    'dense-features': _weights('dense_features', '0.5', '2', '8', '32', '128'),
    'lightly-train-v3': _weights('lightly_train', '0.03125', '0.125', '0.5', '2', '8'),
    'lfi': [
        _lfi(spatial, semantic, spatial)
        for spatial, semantic in (
            ('0.125', '0.25'),
            ('0.25', '0.5'),
            ('0.5', '1'),
            ('1', '2'),
            ('2', '4'),
            ('4', '8'),
        )
    ],
}

# On photos dense features are ahead of LFI, so LFI with dense features, at their own weight, is tuned too.
PHOTOS_SETTINGS: dict[str, list[Options]] = {
    **SETTINGS,
    # All candidates of LFI but the largest.
    'lfi-dense-features': SETTINGS['lfi'][:-1],
}

# With few labels most images have targets of the teacher alone, so larger weights are tried. This holds for
# presence above all, since its loss is a mean over all concepts.
FEW_SETTINGS: dict[str, list[Options]] = {
    'logit-kd': _weights('logit_kd', '0.0625', '0.25', '1', '4', '16'),
    'dho': _weights('dual_head', '0.25', '1', '4', '16', '64'),
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
# On Shapes two arms of `FEW_SETTINGS` were best at the end of their range, and DHO by its second head.
SHAPES_FEW_SETTINGS: dict[str, list[Options]] = {
    **FEW_SETTINGS,
    'dho': [
        *FEW_SETTINGS['dho'][:3],
        {**weight('dual_head', '4'), MIXTURE: '0'},
        *FEW_SETTINGS['dho'][3:],
    ],
    'dense-features': [*FEW_SETTINGS['dense-features'], weight('dense_features', '2048')],
    'lightly-train-v3': [
        *FEW_SETTINGS['lightly-train-v3'],
        *_weights('lightly_train', '128', '512', '2048'),
    ],
}

# In pretraining the prior is the only other loss. LFI has its defaults.
PRETRAINING_SETTINGS: dict[str, list[Options]] = {
    'dense-features': _weights('dense_features', '2', '8', '32', '128'),
    # '0.125' was added, since the smallest of '0.5' to '32' was best.
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
# Best settings with all labels, by student. LightlyTrain's queue holds a quarter to a half of the images.
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
    # This student was not tuned: it has the ViT's settings.
    'resnet18_lit-lite0_tiny-imagenet-20': _TINY_CHOSEN,
    # This student was not tuned.
    'vit-tiny-p8_clip-b16_tiny-imagenet': {'lightly-train-v3': {QUEUE: '8192'}},
}
PRETRAINING_CHOSEN: dict[str, Options] = {
    'dense-features': weight('dense_features', '8.0'),
    'lightly-train-v3': {QUEUE: '1024', **weight('lightly_train', '0.5')},
}

# Best of FEW_BOXES_SETTINGS.
_LFI_BOXES = _lfi('2.0', '4.0', '2.0')
FEW_BOXES_CHOSEN: dict[str, Options] = {'other-image': _LFI_BOXES, 'lfi': _LFI_BOXES}

LFI_TIMES_4 = _lfi('4.0', '8.0', '4.0')
# Best of SHAPES_FEW_SETTINGS. LFI's controls have the settings of LFI; LFI with logit KD has those of both.
FEW_CHOSEN: dict[str, Options] = {
    'logit-kd': weight('logit_kd', '4.0'),
    'dho': {**weight('dual_head', '4.0'), MIXTURE: '0'},
    'dense-features': weight('dense_features', '512.0'),
    'lightly-train-v3': weight('lightly_train', '512.0'),
    'other-image': LFI_TIMES_4,
    'mean-target': LFI_TIMES_4,
    # Weight of presence in LFI.
    'presence': {f'{LOSS}.presence_weight': '4.0'},
    'lfi': LFI_TIMES_4,
    'lfi-cached': LFI_TIMES_4,
    'lfi-logit-kd': {**LFI_TIMES_4, **weight('logit_kd', '4.0')},
}

# Best of FEW_SETTINGS on photos, where LFI, alone and with logit KD, has its settings for all labels.
PHOTOS_FEW_CHOSEN: dict[str, Options] = {
    'logit-kd': weight('logit_kd', '4.0'),
    'dense-features': weight('dense_features', '128.0'),
    'lightly-train-v3': weight('lightly_train', '8.0'),
    'lfi-dense-features': LFI_TIMES_4,
    'dho': weight('dual_head', '4.0'),
}
# Of a student that labels of other photos have pretrained. Another rate brings no arm over 0.2 points.
PRETRAINED_CHOSEN: dict[str, Options] = {
    'logit-kd': weight('logit_kd', '4.0'),
    'dho': {**weight('dual_head', '4.0'), MIXTURE: '0'},
    'dense-features': weight('dense_features', '512.0'),
    'other-image': LFI_TIMES_4,
    'lfi': LFI_TIMES_4,
}
# Best of PHOTOS_SETTINGS: LFI with dense features at their own weight has an eighth of LFI's weights.
PHOTOS_CHOSEN: dict[str, Options] = {'lfi-dense-features': _lfi('0.25', '0.5', '0.25')}


def with_student_settings(arm: Arm, student: str) -> Arm:
    """Apply the settings for all labels of the baseline or method from which an arm derives.

    Args:
        arm: arm of `ARMS`.
        student: suffix of the names of the student's configs.
    """
    return _with_options(arm, STUDENTS.get(student, {}).get(root_arm(arm.name), {}))


def with_settings(arm: Arm, settings: Mapping[str, Options]) -> Arm:
    """Apply the settings of an arm in a study, if there are any."""
    return _with_options(arm, settings.get(arm.name, {}))


def tuning_arms(arms: Sequence[Arm], settings: Mapping[str, Sequence[Options]]) -> tuple[Arm, ...]:
    """Build the arms of a tuning study: the baseline, and each arm with each of its candidates.

    An option that another candidate of the arm sets has its default.

    Args:
        arms: arms of the study, the baseline first.
        settings: candidate options by arm name.
    """
    candidates = [arms[0]]
    for arm in arms:
        tried = settings.get(arm.name, [])
        untuned = _without_options(arm, {key for options in tried for key in options})
        for options in tried:
            label = ', '.join(f'{key.rsplit(".", 1)[1]} {value}' for key, value in options.items())
            candidates.append(replace(_with_options(untuned, options), name=f'{arm.name} {label}'))
    return tuple(candidates)


def _with_options(arm: Arm, options: Options) -> Arm:
    """Replace options of the same keys and append the others."""
    others = _without_options(arm, options).options
    return replace(arm, options=(*others, *(f'{key}={value}' for key, value in options.items())))


def _without_options(arm: Arm, keys: Collection[str]) -> Arm:
    kept = (option for option in arm.options if option.split('=', 1)[0] not in keys)
    return replace(arm, options=tuple(kept))
