"""Commands to go on with after a run, and observations on its curves and confusions."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from lfi.concepts.names import class_name
from lfi.utils.next_commands import PHOTOS, TEXTS, export_commands, infer_command

from .confusion import Confusion
from .history import Curve, History, lower_is_better
from .run_images import RunImages

MIN_VALIDATIONS = 3
"""Smallest number of validations from which a trend is read."""
MIN_DROP = 0.05
"""Smallest drop of a metric from its best value that counts, relative to this value."""
MIN_CONFUSED = 0.2
"""Smallest share of a class's images, taken for another class, that is named."""
MIN_MISTAKES, MAX_CONFUSIONS = 3, 3
"""Smallest number of such images, and largest number of named confusions."""


@dataclass(frozen=True)
class Advice:
    """Observation, with a command that follows from it.

    Args:
        text: what was measured.
        command: command line; empty if none follows.
    """

    text: str
    command: str = ''


@dataclass(frozen=True)
class RunFiles:
    """Files of a run, for command lines.

    Args:
        folder: its folder.
        config: its config.
        checkpoint: its best checkpoint, or its last one.
    """

    folder: Path
    config: Path
    checkpoint: Path

    def command(self, name: str) -> str:
        """Return a command line on the config and the checkpoint."""
        return shlex.join(['lfi', name, str(self.config), str(self.checkpoint)])

    def infer(self, images: str, texts: Sequence[str]) -> str:
        """Return the command line that asks the model about images."""
        return shlex.join(infer_command(str(self.config), str(self.checkpoint), images, texts))


def next_commands(files: RunFiles, has_test: bool, answers: bool) -> list[Advice]:
    """List the commands that use the trained model.

    Args:
        files: files of the run.
        has_test: whether the config has test data.
        answers: whether the model answers texts.
    """
    (export,) = export_commands(str(files.config), str(files.checkpoint))
    advice = [
        Advice('Predict on images of your own:', files.infer(PHOTOS, TEXTS if answers else ())),
        Advice('Upload images in the browser:', files.command('demo')),
        Advice('Export the weights:', shlex.join(export)),
    ]
    test = 'Measure again on the test data of the config (the validation images, if there are no others):'
    return [*advice, *([Advice(test, files.command('test'))] if has_test else [])]


def advice_of_curves(history: History, config: Config, files: RunFiles) -> list[Advice]:
    """Say whether the best validation is the last one, or long past while the loss still fell."""
    if history.main is None:
        return []
    name, curve = history.main
    curve = {step: value for step, value in curve.items() if math.isfinite(value)}
    steps = [*curve]
    if len(steps) < MIN_VALIDATIONS:
        return []
    sign = -1 if lower_is_better(name) else 1
    best = max(steps, key=lambda step: sign * curve[step])
    last = steps[-1]
    unit = history.unit
    if best == last:
        text = (
            f'{name} was still improving: {curve[steps[-2]]:.4g} at {unit} {steps[-2]}, {curve[last]:.4g} at '
            f'{unit} {last}, the last. A longer training:'
        )
        return [Advice(text, _retrain(config, files, 'longer', 2))]
    text = f'{name} was best at {unit} {best} of {last}: {curve[best]:.4g}, and {curve[last]:.4g} at the end'
    drop = sign * (curve[best] - curve[last]) / max(abs(curve[best]), 1e-9)
    loss = history.losses.get('loss') or {}
    then, now = (_last_until(loss, step) for step in (best, last))
    if then is None or now is None or drop < MIN_DROP or now >= then:
        return [Advice(f'{text}.')]
    text += f', while the training loss fell from {then:.4g} to {now:.4g}. A shorter training:'
    return [Advice(text, _retrain(config, files, 'shorter', best / last))]


def advice_of_confusions(
    confusion: Confusion, images: RunImages, classes: Sequence[str], texts: Sequence[str], files: RunFiles
) -> list[Advice]:
    """Name the classes that a classifier often takes for another, and look at one such image.

    Args:
        confusion: confusions of the classifier.
        images: the images that were measured.
        classes: class names by label.
        texts: texts to ask about by label; empty if the model answers none.
        files: files of the run.
    """
    advice = []
    totals = confusion.truths
    for pair, wrong in confusion.mistakes()[:MAX_CONFUSIONS]:
        truth, prediction = pair
        index, total = confusion.examples.get(pair), totals[truth]
        if index is None or wrong < max(MIN_MISTAKES, MIN_CONFUSED * total):
            continue
        names = [class_name(classes, truth), class_name(classes, prediction)]
        image = images.image(index)
        command = ''
        if isinstance(image, str):
            asked = [texts[label] for label in (truth, prediction) if label < len(texts)]
            command = files.infer(image, asked)
        text = f'{wrong} of {total} images of {names[0]} are taken for {names[1]}.'
        advice.append(Advice(f'{text} Look at one:' if command else text, command))
    return advice


def _retrain(config: Config, files: RunFiles, name: str, factor: float) -> str:
    """Return the command of a training with more or fewer epochs; empty if no option scales the schedule."""
    epochs = (config.get('train_cfg') or {}).get('max_epochs')
    if not epochs or config.get('max_epochs') != epochs:
        return ''
    folder = files.folder.with_name(f'{files.folder.name}_{name}')
    option = f'max_epochs={max(1, round(epochs * factor))}'
    return shlex.join(['lfi', 'train', str(files.config), '--work-dir', str(folder), '--cfg-options', option])


def _last_until(curve: Curve, step: int) -> float | None:
    """Return the value of a curve at a step, or the last one before."""
    return next((curve[known] for known in sorted(curve, reverse=True) if known <= step), None)
