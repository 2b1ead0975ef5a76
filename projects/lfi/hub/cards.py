"""The pages that the Hub shows of a student and of a cache: metadata in YAML, then what the run tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from mmengine.config import Config
from torch import nn

from lfi.engine.scalars import read_scalars
from lfi.models.teachers.teacher_identity import teacher_identity
from lfi.structures.interaction_cache import CacheManifest
from lfi.utils import markdown
from lfi.version import __version__

NAME = 'USER/NAME'
"""Stands for the repository, until it is known."""
# By the task's model, the first that fits.
PIPELINES = {
    'image-classification': ('ImageClassifier',),
    'image-segmentation': ('BaseSegmentor', 'MaskRCNN'),
    'object-detection': ('BaseDetector',),
}
LOAD = """```python
import lfi
model = lfi.from_pretrained('USER/NAME')
outputs = model(images)  # [B, 3, H, W], normalised as model.data_preprocessor does
```"""
ASK = """Images as files, with predictions, and answers to texts:

```python
from lfi.apis import InteractionInferencer
inferencer = InteractionInferencer('hf://USER/NAME')
results = inferencer('photo.jpg', texts=['dog', 'ball'])['predictions']
```"""
PREDICT = ASK.replace(', and answers to texts', '').replace(", texts=['dog', 'ball']", '')
CACHE = """Interaction maps: what a vision-language model says of where the concepts are in each image of a
data set, for students to learn from. It holds no images, and their names as digests alone.

## How to use it

```bash
lfi train CONFIG --cfg-options model.teacher.cache=hf://datasets/USER/NAME
```

CONFIG names this teacher and these images; LFI compares both.

## What made it"""


def student_card(
    facts: RunFacts,
    model: nn.Module,
    classes: Sequence[str],
    answers: bool,
    metadata: Mapping[str, Any],
) -> str:
    """The model card of a student.

    Args:
        facts: what its run says; what it does not say is left out.
        model: the student.
        classes: names of the labels; may be empty.
        answers: whether the folder's student answers texts.
        metadata: further YAML, which no run knows: `license`, `datasets`, `tags`, ...
    """
    tag = pipeline_tag(model)
    header = {'library_name': 'lfi', **({'pipeline_tag': tag} if tag else {}), **metadata}
    teacher = ' whose teacher is a vision-language model' if facts.teacher else ''
    answered = ' It answers texts: whether an image shows each, and where.' if answers else ''
    sections = [
        f'A student of LFI (Learning from Interactions){teacher}.{answered}',
        f'## How to load it\n\n{LOAD}\n\n{ASK if answers else PREDICT}',
        f'## What made it\n\n{_table(_training(facts))}',
        _results(facts),
        f'## Classes\n\n{", ".join(map(markdown.plain, classes))}' if classes else '',
    ]
    return _page(header, sections)


def cache_card(manifest: CacheManifest, metadata: Mapping[str, Any]) -> str:
    """The dataset card of a cache.

    Args:
        manifest: of the cache.
        metadata: further YAML, which no manifest knows: `license`, `source_datasets`, ...
    """
    rows = {
        'images': f'{manifest.num_images:,}',
        **_teacher(manifest.teacher),
        'concepts': len(manifest.concepts),
        'layers': ', '.join(map(str, manifest.layers)),
        'readings': ', '.join(manifest.directions),
        'labels that chose concepts': manifest.labels,
    }
    return _page({**metadata}, [CACHE, _table(rows)])


def pipeline_tag(model: nn.Module) -> str | None:
    """The Hub's name of a model's task, of a classifier without a head its features; None if unknown."""
    names = {kind.__name__ for kind in type(model).__mro__}
    if getattr(getattr(model, 'predict_by', None), 'names_classes', False):
        return 'zero-shot-image-classification'
    if 'ImageClassifier' in names and not model.with_head:
        return 'image-feature-extraction'
    return next((tag for tag, kinds in PIPELINES.items() if names.intersection(kinds)), None)


def _training(facts: RunFacts) -> dict[str, Any]:
    return {
        'model': f'`{facts.model}`, {facts.parameters:,} parameters',
        'backbone': f'`{facts.backbone}`',
        'data': facts.data and f'`{facts.data}`',
        **_teacher(facts.teacher or {}),
        f'{facts.unit}s': facts.step and f'{facts.step}{f" of {facts.steps}" if facts.steps else ""}',
        'seed': facts.seed,
        'saved by': f'lfi {__version__}',
    }


def _teacher(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of a teacher's identity."""
    model = identity.get('model')
    extractor = identity.get('extractor')
    return {
        'teacher': model and f'`{model if isinstance(model, str) else model.get("type")}`',
        "teacher's weights": identity.get('pretrained'),
        "digest of the teacher's weights": identity.get('weights') and f'`{identity["weights"]}`',
        'extractor': extractor and extractor.get('type'),
    }


def _results(facts: RunFacts) -> str:
    """The metrics of this checkpoint's validation, by the log's names; empty where there was none."""
    rows = {f'{name}, validation': f'{value:.4g}' for name, value in facts.validated.items()}
    return f'## Results\n\nOf this checkpoint:\n\n{_table(rows)}' if rows else ''


def _table(rows: Mapping[str, Any]) -> str:
    """A row for each value that is known."""
    return markdown.table(['', ''], [row for row in rows.items() if row[1] not in (None, '')])


def _page(header: Mapping[str, Any], sections: Sequence[str]) -> str:
    own = header.get('tags', ())
    own = [own] if isinstance(own, str) else own
    tags = list(dict.fromkeys(['lfi', 'knowledge-distillation', *own]))
    text = yaml.safe_dump({**header, 'tags': tags}, sort_keys=False, allow_unicode=True)
    body = '\n\n'.join(filter(None, [f'# {NAME}', *sections]))
    return f'---\n{text}---\n\n{body}\n'


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
