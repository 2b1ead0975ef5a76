"""Studies that choose the settings of other studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..settings import SETTINGS, Options, tuning_arms
from .preset import Preset


def tuning(preset: Preset, epochs: int, settings: Mapping[str, Sequence[Options]] = SETTINGS) -> Preset:
    """Build the study that tunes another study, with a seed that the other does not use.

    Args:
        preset: the study to tune.
        epochs: epochs of complete schedules, fewer than in the study but enough to rank settings.
        settings: candidate options by arm name. Defaults to `SETTINGS`, for studies with all labels.
    """
    about = (
        'Settings of each way to distil, to be chosen by the validation images, in complete schedules of '
        f'{epochs} epochs.'
    )
    return replace(
        preset,
        about=f'{about} The study: {preset.about}',
        arms=tuple(
            replace(arm, test_config=None, test_options=(), epochs=epochs)
            for arm in tuning_arms(preset.arms, settings)
        ),
        metrics=preset.metrics[:1],
        tests={},
        seeds=(100,),
        short=(),
    )
