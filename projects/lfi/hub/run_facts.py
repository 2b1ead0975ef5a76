"""What a finished run says of its student: its settings, its log, and the study that it is part of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmengine.config import Config
from torch import nn

from lfi.config_files import tools_root
from lfi.engine.scalars import read_scalars
from lfi.models.teachers.teacher_identity import teacher_identity
from lfi.studies.grid import START
from lfi.studies.paired import mean_and_spread
from lfi.studies.presets import PRESETS
from lfi.studies.published import file_of
from lfi.studies.runs import in_per_cent, metric_name
from lfi.studies.study import Cell, Key, read_cells

_NOTHING: Mapping[str, Any] = MappingProxyType({})
# What stands in a row of the log beside the metrics of a validation.
_NO_METRICS = ('step', 'epoch', 'iter', 'time', 'data_time', 'memory', 'lr')
# Keys of a data set that say which images it has, and not where they lie.
_OF_DATA = ('split', 'num_images', 'labels_per_class', 'labelled_images', 'domains', 'domain', 'classes')


@dataclass(frozen=True)
class RunFacts:
    """What is known of a student; what is not known is None or empty.

    Args:
        model: type of the model.
        backbone: type of its backbone.
        parameters: how many the student has.
        data: the training's data set and its settings, in words.
        teacher: the teacher's identity, as `teacher_identity` gives it.
        unit: 'epoch', or 'iter' where the schedule counts iterations.
        step: after which the checkpoint was saved.
        steps: of the whole schedule.
        seed: of the training.
        validated: metrics of the validation at that step, by the log's names.
        tested: metrics of the study's test of this checkpoint, by the log's names.
        arm: of the study.
        study: its name.
        about: what the study is on.
        published: the study's published test metric of all arms, in words, by arm.
        metric: of the study's table.
    """

    model: str
    backbone: str
    parameters: int
    data: str | None = None
    teacher: Mapping[str, Any] | None = None
    unit: str = 'epoch'
    step: int | None = None
    steps: int | None = None
    seed: int | None = None
    validated: Mapping[str, float] = field(default_factory=dict)
    tested: Mapping[str, float] = field(default_factory=dict)
    arm: str | None = None
    study: str | None = None
    about: str = ''
    published: Mapping[str, str] = field(default_factory=dict)
    metric: str | None = None


def facts_of(
    model: nn.Module, cfg: Config, checkpoint: Path | None = None, meta: Mapping = _NOTHING
) -> RunFacts:
    """Gather what a run says.

    Args:
        model: the student.
        cfg: config of its run.
        checkpoint: file of the run's folder. Defaults to None: nothing is known of a run.
        meta: of the checkpoint. Defaults to nothing.
    """
    known: dict[str, Any] = {}
    teacher = cfg.model.get('teacher')
    if teacher is not None:
        known['teacher'] = teacher_identity(_plain(teacher))
    if cfg.get('train_dataloader'):
        known['data'] = data_in_words(cfg.train_dataloader.dataset)
    if checkpoint is not None:
        schedule = cfg.get('train_cfg') or {}
        unit = 'epoch' if schedule.get('by_epoch', 'max_epochs' in schedule) else 'iter'
        known |= dict(
            unit=unit, step=meta.get(unit), steps=schedule.get(f'max_{unit}s'), seed=meta.get('seed')
        )
        known['validated'] = validated(checkpoint.parent, known['step'])
        known |= _of_study(checkpoint)
    return RunFacts(
        type(model).__name__,
        type(model.get_submodule('backbone')).__name__,
        sum(parameter.numel() for parameter in model.parameters()),
        **known,
    )


def data_in_words(dataset: Mapping[str, Any]) -> str:
    """A data set's type, with the settings that say which images it has; wrappers are named around it."""
    kind = dataset['type']
    kind = kind if isinstance(kind, str) else kind.__name__
    settings = {key: dataset[key] for key in _OF_DATA if dataset.get(key) is not None}
    if isinstance(settings.get('classes'), str):
        # The file that names them.
        del settings['classes']
    inner = dataset.get('dataset')
    parts = [data_in_words(inner)] if isinstance(inner, Mapping) else []
    parts += [f'{key}={value!r}' for key, value in settings.items()]
    return f'{kind}({", ".join(parts)})' if parts else kind


def validated(folder: Path, step: int | None) -> dict[str, float]:
    """The metrics that a run's log has of a step; empty where it was not validated."""
    rows = [row for row in read_scalars(folder) if row.get('step') == step and 'loss' not in row]
    # A resumed run may repeat a step: the later word counts.
    return {
        key: value
        for row in rows
        for key, value in row.items()
        if key not in _NO_METRICS and isinstance(value, int | float) and '/lr' not in key
    }


def _of_study(checkpoint: Path) -> dict[str, Any]:
    """What the run's cell of a study says, if it is one, and has tested this checkpoint."""
    try:
        cell = json.loads((checkpoint.parent / 'cell.json').read_text(encoding='utf-8'))
        step = int(checkpoint.stem.rsplit('_', 1)[1])
    except (OSError, ValueError, IndexError):
        return {}
    if cell.get('epoch') != step or 'test' not in cell:
        return {}
    # What the training before this one has scored is of another checkpoint.
    tested = {key: value for key, value in cell['test'].items() if not key.startswith(START)}
    return {'tested': tested, **_published(cell.get('identity'))}


def _published(identity: str | None) -> dict[str, Any]:
    """The published study that has this cell; empty where there is none."""
    for name, preset in PRESETS.items():
        if preset.leaves_domains_out:
            continue
        metric = preset.validation or preset.metrics[0]
        file = file_of(preset, name, metric, tools_root() / 'docs/results')
        cells = read_cells(file, metric_name(metric)) if file.is_file() else {}
        own = next((key for key, cell in cells.items() if identity and cell.identity == identity), None)
        if own is not None:
            known = dict(arm=own[0], study=name, about=preset.about, metric=metric_name(metric))
            return {**known, 'published': _by_arm(cells)}
    return {}


def _by_arm(cells: Mapping[Key, Cell]) -> dict[str, str]:
    tests: dict[str, list[float]] = {}
    for (arm, _, _), cell in cells.items():
        tests.setdefault(arm, []).append(cell.test)
    return {arm: f'{mean_and_spread(values)}, {len(values)} seeds' for arm, values in tests.items()}


def in_words(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics by the tables' names, in per cent where the tables have them so."""
    return {metric_name(key): in_per_cent(key, value) for key, value in metrics.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return type(value)(map(_plain, value)) if isinstance(value, list | tuple) else value
