"""Answers of the raters, decoded with the key of the study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import numpy as np

from .preferences import Preferences

CATCH = {'right', 'wrong'}
CHOICES = ('left', 'right', 'tie')
SCORES = {'A': 1.0, 'tie': 0.5, 'B': 0.0}


class StudyError(ValueError):
    """Error for an invalid key or invalid answers; the message names the file."""


@dataclass(frozen=True)
class Rater:
    """Answers of one rater.

    Args:
        name: name given by the rater.
        chosen: choice of each trial: 'A', 'B', 'right', 'wrong' or 'tie'.
        left: source shown on the left, by trial.
    """

    name: str
    chosen: Mapping[str, str]
    left: Mapping[str, str]

    @property
    def catches(self) -> list[bool]:
        """Whether each answered catch trial was answered correctly; a tie is incorrect."""
        return [choice == 'right' for trial, choice in self.chosen.items() if self.left[trial] in CATCH]

    @property
    def pairs(self) -> dict[str, str]:
        """Choices of the answered pairs of A and B, by trial."""
        return {trial: choice for trial, choice in self.chosen.items() if self.left[trial] not in CATCH}

    def attentive(self, min_share: float) -> bool:
        """Whether a catch trial was answered, and at least `min_share` of the answers are correct."""
        # The tolerance covers rounding: 0.56 * 25 is greater than 14 in floating point.
        return bool(self.catches) and sum(self.catches) >= min_share * len(self.catches) - 1e-9


def read_key(path: str | Path) -> dict:
    """Read a key of `build_study`.

    Raises:
        StudyError: if the file is missing or not a key.
    """
    key = _read(path)
    if not {'study', 'sources', 'trials'} <= set(key):
        raise StudyError(f'{path} is not a key of a study: it must hold study, sources and trials')
    sources, trials = key['sources'], key['trials']
    if not isinstance(sources, dict) or set(sources) != {'A', 'B'}:
        raise StudyError(f'{path} was changed: its sources must describe A and B')
    if not isinstance(trials, dict) or not all(map(_is_trial, trials.values())):
        raise StudyError(
            f'{path} was changed: each of its trials must have an image, and A and B, or right and wrong, as '
            'first and second'
        )
    return key


def _is_trial(trial: object) -> bool:
    if not isinstance(trial, dict) or not isinstance(trial.get('image'), str):
        return False
    return sorted(map(str, (trial.get('first'), trial.get('second')))) in (['A', 'B'], ['right', 'wrong'])


def read_raters(paths: Sequence[str | Path], key: Mapping) -> list[Rater]:
    """Read the answers that the page saved, one file per rater.

    Args:
        paths: paths of the files.
        key: key of the study.

    Raises:
        StudyError: if a file is missing, holds no answers or answers to another study, or if two files are of
            one rater. Names are compared without case, repeated spaces and Unicode forms.
    """
    raters: list[Rater] = []
    files: dict[str, str | Path] = {}
    for path in paths:
        rater = _read_rater(path, key)
        name = ' '.join(normalize('NFKC', rater.name).casefold().split())
        if name in files:
            raise StudyError(
                f'{files[name]} and {path} are both of the rater {rater.name!r}: give one of them'
            )
        files[name] = path
        raters.append(rater)
    return raters


def judgements(raters: Sequence[Rater], key: Mapping) -> Preferences:
    """Collect the raters' answers to the pairs of A and B.

    Raises:
        StudyError: if there are none.
    """
    rows = [
        (SCORES[choice], rater.left[trial] == 'A', rater.name, key['trials'][trial]['image'], trial)
        for rater in raters
        for trial, choice in rater.pairs.items()
    ]
    if not rows:
        raise StudyError('no pair of A and B was answered by an attentive rater')
    return Preferences(*map(np.asarray, zip(*rows)))


def _read_rater(path: str | Path, key: Mapping) -> Rater:
    file = _read(path)
    if not isinstance(file.get('rater'), str) or not isinstance(file.get('answers'), dict):
        raise StudyError(f'{path} holds no answers: save them with the button on the page of the study')
    if file.get('study') != key['study']:
        raise StudyError(f'{path} belongs to the study {file.get("study")!r}, the key to {key["study"]!r}')
    chosen, left = {}, {}
    for name, answer in file['answers'].items():
        trial = key['trials'].get(name)
        if trial is None:
            raise StudyError(f'{path}: there is no trial {name!r} in the study')
        if not isinstance(answer, dict) or not isinstance(answer.get('first_on_left'), bool):
            raise StudyError(
                f'{path}: the answer to the trial {name!r} does not say which map was on the left'
            )
        if answer.get('choice') not in CHOICES:
            raise StudyError(
                f'{path}: choice={answer.get("choice")!r} of the trial {name!r} must be one of {CHOICES}'
            )
        sides = [trial['first'], trial['second']]
        if not answer['first_on_left']:
            sides.reverse()
        left[name] = sides[0]
        chosen[name] = dict(zip(CHOICES, [*sides, 'tie']))[answer['choice']]
    return Rater(file['rater'], chosen, left)


def _read(path: str | Path) -> dict:
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise StudyError(f'{path} cannot be read: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f'{path} is not a JSON file: {error}') from error
    if not isinstance(content, dict):
        raise StudyError(f'{path} holds a {type(content).__name__}, not the fields of a study')
    return content
