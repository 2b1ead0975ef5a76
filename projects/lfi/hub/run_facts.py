"""Facts of a finished run, from its config and its log, for the model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmengine.config import Config
from torch import nn

from lfi.engine.scalars import read_scalars
from lfi.models.teachers.teacher_identity import teacher_identity

_NOTHING: Mapping[str, Any] = MappingProxyType({})
# What stands in a row of the log beside the metrics of a validation.
_NO_METRICS = ('step', 'epoch', 'iter', 'time', 'data_time', 'memory', 'lr')
# Keys of a data set that say which images it has, and not where they lie.
_OF_DATA = ('split', 'num_images', 'labels_per_class', 'labelled_images', 'domains', 'domain', 'classes')


@dataclass(frozen=True)
class RunFacts:
    """Facts of a student; unknown ones are None or empty.

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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return type(value)(map(_plain, value)) if isinstance(value, list | tuple) else value
