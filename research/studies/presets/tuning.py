"""Studies that choose the settings of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..settings import SETTINGS, Options, tuned
from .preset import Preset


def tuning(preset: Preset, epochs: int, settings: Mapping[str, Sequence[Options]] = SETTINGS) -> Preset:
    """The settings on one seed that the study itself does not use.

    Args:
        preset: the study.
        epochs: of complete schedules, which may be shorter than the study's: enough to rank settings.
        settings: that are tried, by the arm's name. Defaults to those for studies with all labels.
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
            for arm in tuned(preset.arms, settings)
        ),
        metrics=preset.metrics[:1],
        tests={},
        seeds=(100,),
        short=(),
    )
