"""Report on a human study, as text and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lfi.utils import markdown

from .answers import CATCH, Rater, StudyError, judgements
from .preferences import preference_table, summarize


def analyse(raters: Sequence[Rater], key: Mapping, least_catch: float) -> tuple[str, dict]:
    """Analyse the answers of the raters who passed the catch trials.

    A rater passes by answering one catch trial or more, and a share of `least_catch` or more of the answered
    ones correctly. Without catch trials all raters pass. Unanswered pairs are missing values.

    Args:
        raters: all raters.
        key: key of the study.
        least_catch: minimum share of catch trials answered correctly, from 0 to 1.

    Returns:
        Text with Markdown tables, and a dict with `study`, `sources`, `least_catch`, the counts of each of
        the `raters`, and the `results` of `research.human_study.preferences.summarize`.

    Raises:
        StudyError: if no rater passed, or no passing rater answered a pair.
    """
    n_catches = sum(trial['first'] in CATCH for trial in key['trials'].values())
    n_pairs = len(key['trials']) - n_catches
    used = [rater for rater in raters if not n_catches or rater.attentive(least_catch)]
    rule = (
        f'Raters are used if they answered a catch trial, and {least_catch:.0%} or more of the answered ones '
        'correctly.'
    )
    if not used:
        tallies = (f'{rater.name} {sum(rater.catches)} of {len(rater.catches)}' for rater in raters)
        raise StudyError(f'no rater is left: catch trials right: {", ".join(tallies)}. {rule}')
    rows = [_counts(rater, rater in used) for rater in raters]
    summary = summarize(judgements(used, key))

    blocks = [f'Study {key["study"]}: {n_pairs} pairs, {n_catches} catch trials.']
    blocks += [f'{name} is {source}.' for name, source in key['sources'].items()]
    blocks.append(_rater_table(rows, n_pairs, n_catches))
    left_out = [row['rater'] for row in rows if not row['used']]
    if left_out:
        blocks.append(f'Left out: {", ".join(left_out)}. {rule}')
    partial = [row['rater'] for row in rows if row['used'] and row['pairs'] < n_pairs]
    if partial:
        blocks.append(f'Incomplete, with missing pairs skipped: {", ".join(partial)}.')
    blocks.append(
        f'{summary["answers"]} answers, raters used: {summary["raters"]}, images: {summary["images"]}.'
    )
    blocks.append(preference_table(summary))
    results = dict(
        study=key['study'],
        sources=dict(key['sources']),
        least_catch=least_catch,
        raters=rows,
        results=summary,
    )
    return '\n\n'.join(blocks), results


def _counts(rater: Rater, used: bool) -> dict:
    chosen = list(rater.pairs.values())
    counts = {choice: chosen.count(choice) for choice in ('A', 'tie', 'B')}
    catches = dict(answered=len(rater.catches), right=sum(rater.catches))
    return dict(rater=rater.name, pairs=len(chosen), catches=catches, **counts, used=used)


def _rater_table(rows: Sequence[dict], n_pairs: int, n_catches: int) -> str:
    titles = (
        'rater',
        'pairs answered',
        'catch trials answered',
        'catch trials right',
        'A',
        'tie',
        'B',
        'used',
    )
    cells = []
    for row in rows:
        cells.append(
            [
                row['rater'],
                f'{row["pairs"]} of {n_pairs}',
                f'{row["catches"]["answered"]} of {n_catches}',
                *(row['catches']['right'], row['A'], row['tie'], row['B']),
                'yes' if row['used'] else 'no',
            ]
        )
    return markdown.table(titles, cells)
