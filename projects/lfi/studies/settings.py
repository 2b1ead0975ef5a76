"""What is tuned of the arms: the settings that are tried, and those that were chosen among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .arms import Arm, origin_of

Options = Mapping[str, str]

DISTILL_LOSS = 'model.distill_loss.'
LOGIT_KD = 'model.logit_kd.'
WEIGHT = f'{DISTILL_LOSS}loss_weight'
# As many for each way to distil, and more at the end of a range where the best of them lies there.
SETTINGS: dict[str, list[Options]] = {
    'feature-mse': [{WEIGHT: value} for value in ('0.5', '2', '8')],
    'logit-kd': [{WEIGHT: value} for value in ('1', '4', '16')],
    'attention-transfer': [{WEIGHT: value} for value in ('0.5', '2', '8')],
    'dense-features': [{WEIGHT: value} for value in ('0.5', '2', '8')],
    'lightly-train-v3': [{WEIGHT: value} for value in ('0.5', '2', '8')],
    'lfi': [
        {
            'model.interaction_loss.positions_weight': positions,
            'model.interaction_loss.concepts_weight': concepts,
            'model.interaction_loss.presence_weight': positions,
        }
        for positions, concepts in (('0.5', '1'), ('1', '2'), ('2', '4'))
    ],
}
# What was chosen, by the studies' name and the arm's. With all labels that is what the configs have; with few
# labels, and with none, one of `SETTINGS`, and the config's own where an arm is not named.
CHOSEN: dict[str, dict[str, Options]] = {
    # The weight that the config of the arm logit-kd has.
    'shapes': {'lfi-logit-kd': {f'{LOGIT_KD}loss_weight': '16'}},
    'shapes-few': {},
    'tiny-few': {},
}


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


def with_chosen(arms: Sequence[Arm], chosen: Mapping[str, Options]) -> tuple[Arm, ...]:
    """The arms in the settings that were chosen.

    What changes another arm has that arm's settings, unless its own options or settings say otherwise. LFI
    that learns by logit KD too has those of `logit-kd` besides.

    Args:
        arms: of the study.
        chosen: by the arm's name; arms that are not there keep their config's.
    """
    return tuple(replace(arm, options=_chosen_options(arm, chosen)) for arm in arms)


def _chosen_options(arm: Arm, chosen: Mapping[str, Options]) -> tuple[str, ...]:
    changed = origin_of(arm.name)
    found = [*_as_typed(chosen.get(changed, {})), *arm.options]
    if any(option.startswith(LOGIT_KD) for option in arm.options):
        settings = chosen.get('logit-kd', {})
        found += _as_typed({key.replace(DISTILL_LOSS, LOGIT_KD, 1): value for key, value in settings.items()})
    if changed != arm.name:
        found += _as_typed(chosen.get(arm.name, {}))
    return tuple(found)


def _as_typed(options: Options) -> tuple[str, ...]:
    return tuple(f'{key}={value}' for key, value in options.items())
