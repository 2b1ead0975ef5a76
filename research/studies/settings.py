"""What is tuned of the arms: the settings that are tried. What was chosen among them the configs have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .arms import Arm

Options = Mapping[str, str]

WEIGHT = 'model.distill_loss.loss_weight'


def _lfi(positions: str, concepts: str, presence: str) -> Options:
    return {
        'model.interaction_loss.positions_weight': positions,
        'model.interaction_loss.concepts_weight': concepts,
        'model.interaction_loss.presence_weight': presence,
    }


# As many for each way to distil, and more at the end of a range where the best of them lies there.
SETTINGS: dict[str, list[Options]] = {
    'feature-mse': [{WEIGHT: value} for value in ('0.125', '0.5', '2', '8', '32')],
    'logit-kd': [{WEIGHT: value} for value in ('0.25', '1', '4', '16')],
    'attention-transfer': [{WEIGHT: value} for value in ('0.5', '2', '8', '32')],
    'dense-features': [{WEIGHT: value} for value in ('0.5', '2', '8', '32', '128')],
    'lightly-train-v3': [{WEIGHT: value} for value in ('0.03125', '0.125', '0.5', '2', '8')],
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
    'logit-kd': [{WEIGHT: value} for value in ('0.0625', '0.25', '1', '4', '16')],
    'dense-features': [{WEIGHT: value} for value in ('2', '8', '32', '128', '512')],
    'lightly-train-v3': [{WEIGHT: value} for value in ('0.125', '0.5', '2', '8', '32')],
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
    'dense-features': [*FEW_SETTINGS['dense-features'], {WEIGHT: '2048'}],
    'lightly-train-v3': [
        *FEW_SETTINGS['lightly-train-v3'],
        *({WEIGHT: value} for value in ('128', '512', '2048')),
    ],
}

# Without labels nothing competes with a way to pretrain but the prior. LFI has its defaults.
PRETRAINING_SETTINGS: dict[str, list[Options]] = {
    'dense-features': [{WEIGHT: value} for value in ('2', '8', '32', '128')],
    # Of '0.5' to '32' the smallest was best: '0.125' was added.
    'lightly-train-v3': [{WEIGHT: value} for value in ('0.125', '0.5', '2', '8', '32')],
    'lfi': [_lfi('1', '2', '1')],
}

# A detector's own losses are small, and most of its images have no boxes.
FEW_BOXES_SETTINGS: dict[str, list[Options]] = {
    'lfi': [_lfi('0.5', '1', '0.5'), _lfi('2', '4', '2'), _lfi('8', '16', '8')],
}

# Of these the best.
_LFI_BOXES = _lfi('2.0', '4.0', '2.0')
FEW_BOXES_CHOSEN: dict[str, Options] = {'shuffled-images': _LFI_BOXES, 'lfi': _LFI_BOXES}

_LFI = _lfi('4.0', '8.0', '4.0')
# Of these the best on Shapes. LFI's negative controls have LFI's, and LFI with logit KD has both.
FEW_CHOSEN: dict[str, Options] = {
    'logit-kd': {WEIGHT: '4.0'},
    'dense-features': {WEIGHT: '512.0'},
    'lightly-train-v3': {WEIGHT: '512.0'},
    'shuffled-images': _LFI,
    'mean-target': _LFI,
    # Of LFI's the weight of presence.
    'presence': {'model.interaction_loss.presence_weight': '4.0'},
    'lfi': _LFI,
    'lfi-cached': _LFI,
    'lfi-logit-kd': {**_LFI, 'model.logit_kd.loss_weight': '4.0'},
}

# And on photos, where logit KD and LFI have those of all labels.
PHOTOS_FEW_CHOSEN: dict[str, Options] = {
    'dense-features': {WEIGHT: '128.0'},
    'lightly-train-v3': {WEIGHT: '8.0'},
    'lfi-dense-features': _LFI,
}
# With all labels of photos LFI beside dense features, which weigh as by themselves, has an eighth of its own.
PHOTOS_CHOSEN: dict[str, Options] = {'lfi-dense-features': _lfi('0.25', '0.5', '0.25')}


def chosen(arm: Arm, settings: Mapping[str, Options]) -> Arm:
    """An arm in the settings that it has in a study, if it has any."""
    return replace(arm, options=(*arm.options, *_as_typed(settings.get(arm.name, {}))))


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
            found.append(
                replace(arm, name=f'{arm.name} {label}', options=(*arm.options, *_as_typed(options)))
            )
    return tuple(found)


def _as_typed(options: Options) -> tuple[str, ...]:
    return tuple(f'{key}={value}' for key, value in options.items())
