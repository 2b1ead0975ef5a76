"""The answers of the raters, read by the key of the study."""

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
    """A key or answers that cannot be used; the message names the file."""


@dataclass(frozen=True)
class Rater:
    """One rater's answers.

    Args:
        name: The name as the rater gave it.
        chosen: For each trial the choice: 'A', 'B', 'right', 'wrong' or 'tie'.
        left: For each trial the source shown on the left.
    """

    name: str
    chosen: Mapping[str, str]
    left: Mapping[str, str]

    @property
    def catches(self) -> list[bool]:
        """For each answered catch trial whether the answer was right; a tie is not."""
        return [choice == 'right' for trial, choice in self.chosen.items() if self.left[trial] in CATCH]

    @property
    def pairs(self) -> dict[str, str]:
        """The choices in the answered pairs of A and B."""
        return {trial: choice for trial, choice in self.chosen.items() if self.left[trial] not in CATCH}

    def attentive(self, least: float) -> bool:
        """Whether at least one catch trial was answered, and at least this share of them right."""
        # 14 of 25 are 0.56, and in floating point less than 0.56 * 25.
        return bool(self.catches) and sum(self.catches) >= least * len(self.catches) - 1e-9


def read_key(path: str | Path) -> dict:
    """Read the key that `build_study` made.

    Raises:
        StudyError: If there is no such file, or it is no key.
    """
    key = _read(path)
    if not {'study', 'sources', 'trials'} <= set(key):
        raise StudyError(f'{path} is not a key of a study: it must hold study, sources and trials')
    sources, trials = key['sources'], key['trials']
    if not isinstance(sources, dict) or set(sources) != {'A', 'B'}:
        raise StudyError(f'{path} was changed: its sources must say what A and B are')
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
    """Read the files that the page saved, one for each rater.

    Args:
        paths: The files.
        key: The key of the study.

    Raises:
        StudyError: If a file is missing, holds no answers or those of another study, or two files are of one
            rater. Capital letters, spaces beside another and the way accents are stored make no
            difference to a name.
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
    """The raters' answers to the pairs of A and B.

    Raises:
        StudyError: If there are none.
    """
    rows = [
        (SCORES[choice], rater.left[trial] == 'A', rater.name, key['trials'][trial]['image'], trial)
        for rater in raters
        for trial, choice in rater.pairs.items()
    ]
    if not rows:
        raise StudyError('no pair of A and B was answered by a rater who can be used')
    return Preferences(*map(np.asarray, zip(*rows)))


def _read_rater(path: str | Path, key: Mapping) -> Rater:
    file = _read(path)
    if not isinstance(file.get('rater'), str) or not isinstance(file.get('answers'), dict):
        raise StudyError(f'{path} holds no answers: save them by the button on the page of the study')
    if file.get('study') != key['study']:
        raise StudyError(f'{path} is of the study {file.get("study")!r}, the key of {key["study"]!r}')
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
                f'{path}: choice={answer.get("choice")!r} of the trial {name!r} is none of {CHOICES}'
            )
        sides = [trial['first'], trial['second']]
        if not answer['first_on_left']:
            sides.reverse()
        left[name] = sides[0]
        chosen[name] = dict(zip(CHOICES, [*sides, 'tie']))[answer['choice']]
    return Rater(file['rater'], chosen, left)


def _read(path: str | Path) -> dict:
    try:
        found = json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise StudyError(f'{path} cannot be read: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f'{path} is no JSON file: {error}') from error
    if not isinstance(found, dict):
        raise StudyError(f'{path} holds a {type(found).__name__}, not the fields of a study')
    return found
