"""Cards of students and caches on the Hub: YAML metadata, then facts about the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from mmengine.config import Config
from torch import nn

from lfi.engine.scalars import NOT_METRICS, read_scalars
from lfi.models.teachers.teacher_identity import teacher_identity
from lfi.structures.interaction_cache import CacheManifest
from lfi.utils import markdown
from lfi.version import __version__

NAME = 'USER/NAME'
"""Placeholder for the repository's name."""
# Pipeline tags by class names of the task's model; the first match counts.
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
CACHE = """Interaction maps: a vision-language model's scores of where the concepts are in each image of a
data set, for students to learn from. It holds no images, and only digests of their names.

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
    """Build the model card of a student.

    Args:
        facts: facts about the run; unknown ones are left out.
        model: student.
        classes: names of the classes; may be empty.
        answers: whether the saved student answers texts.
        metadata: further YAML fields, such as `license`, `datasets` or `tags`.
    """
    tag = pipeline_tag(model)
    header = {'library_name': 'lfi', **({'pipeline_tag': tag} if tag else {}), **metadata}
    teacher = ' whose teacher is a vision-language model' if facts.teacher else ''
    answer_text = ' It answers texts: whether an image shows each, and where.' if answers else ''
    sections = [
        f'A student of LFI (Learning from Interactions){teacher}.{answer_text}',
        f'## How to load it\n\n{LOAD}\n\n{ASK if answers else PREDICT}',
        f'## What made it\n\n{_table(_training(facts))}',
        _results(facts),
        f'## Classes\n\n{", ".join(map(markdown.plain, classes))}' if classes else '',
    ]
    return _page(header, sections)


def cache_card(manifest: CacheManifest, metadata: Mapping[str, Any]) -> str:
    """Build the dataset card of a cache.

    Args:
        manifest: manifest of the cache.
        metadata: further YAML fields, such as `license` or `source_datasets`.
    """
    rows = {
        'images': f'{manifest.num_images:,}',
        **_teacher(manifest.teacher),
        'concepts': len(manifest.concepts),
        'layers': ', '.join(map(str, manifest.layers)),
        'directions': ', '.join(manifest.directions),
    }
    return _page({**metadata}, [CACHE, _table(rows)])


def pipeline_tag(model: nn.Module) -> str | None:
    """Return the Hub's pipeline tag of a model, or None if its task is unknown."""
    names = {kind.__name__ for kind in type(model).__mro__}
    if getattr(getattr(model, 'predict_by', None), 'has_class_names', False):
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
    """Build the rows of a teacher's identity."""
    model = identity.get('model')
    extractor = identity.get('extractor')
    return {
        'teacher': model and f'`{model if isinstance(model, str) else model.get("type")}`',
        "teacher's weights": identity.get('pretrained'),
        "digest of the teacher's weights": identity.get('weights') and f'`{identity["weights"]}`',
        'extractor': extractor and extractor.get('type'),
    }


def _results(facts: RunFacts) -> str:
    """Build the section of this checkpoint's validation metrics, named as in the log; empty if none."""
    rows = {f'{name}, validation': f'{value:.4g}' for name, value in facts.metrics.items()}
    return f'## Results\n\nOf this checkpoint:\n\n{_table(rows)}' if rows else ''


def _table(rows: Mapping[str, Any]) -> str:
    """Build a table with one row for each known value."""
    return markdown.table(['', ''], [row for row in rows.items() if row[1] not in (None, '')])


def _page(header: Mapping[str, Any], sections: Sequence[str]) -> str:
    user_tags = header.get('tags', ())
    user_tags = [user_tags] if isinstance(user_tags, str) else user_tags
    tags = list(dict.fromkeys(['lfi', 'knowledge-distillation', *user_tags]))
    text = yaml.safe_dump({**header, 'tags': tags}, sort_keys=False, allow_unicode=True)
    body = '\n\n'.join(filter(None, [f'# {NAME}', *sections]))
    return f'---\n{text}---\n\n{body}\n'


_EMPTY: Mapping[str, Any] = MappingProxyType({})
# Keys of a data set that select images, as opposed to paths.
_DATA_KEYS = ('split', 'num_images', 'labels_per_class', 'labelled_images', 'domains', 'domain', 'classes')


@dataclass(frozen=True)
class RunFacts:
    """Facts about a student and its run; unknown ones are None or empty.

    Args:
        model: class name of the model.
        backbone: class name of the backbone.
        parameters: number of the student's parameters.
        data: text about the training data set and its settings.
        teacher: identity from `teacher_identity`.
        unit: unit of the schedule, 'epoch' or 'iter'. Defaults to 'epoch'.
        step: epoch or iteration of the checkpoint.
        steps: number of epochs or iterations of the schedule.
        seed: seed of the training.
        metrics: validation metrics at `step`, named as in the log.
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
    metrics: Mapping[str, float] = field(default_factory=dict)


def collect_facts(
    model: nn.Module, cfg: Config, checkpoint: Path | None = None, meta: Mapping = _EMPTY
) -> RunFacts:
    """Collect the facts for a student's card.

    Args:
        model: student.
        cfg: config of the run.
        checkpoint: checkpoint in the run's folder. Defaults to None: the run is unknown.
        meta: meta data of the checkpoint. Defaults to an empty mapping.
    """
    facts: dict[str, Any] = {}
    teacher = cfg.model.get('teacher')
    if teacher is not None:
        facts['teacher'] = teacher_identity(_plain(teacher))
    if cfg.get('train_dataloader'):
        facts['data'] = dataset_text(cfg.train_dataloader.dataset)
    if checkpoint is not None:
        schedule = cfg.get('train_cfg') or {}
        unit = 'epoch' if schedule.get('by_epoch', 'max_epochs' in schedule) else 'iter'
        facts |= dict(
            unit=unit, step=meta.get(unit), steps=schedule.get(f'max_{unit}s'), seed=meta.get('seed')
        )
        facts['metrics'] = validation_metrics(checkpoint.parent, facts['step'])
    return RunFacts(
        type(model).__name__,
        type(model.get_submodule('backbone')).__name__,
        sum(parameter.numel() for parameter in model.parameters()),
        **facts,
    )


def dataset_text(dataset: Mapping[str, Any]) -> str:
    """Describe a data set by its type and the settings that select images, within its wrappers."""
    kind = dataset['type']
    kind = kind if isinstance(kind, str) else kind.__name__
    settings = {key: dataset[key] for key in _DATA_KEYS if dataset.get(key) is not None}
    if isinstance(settings.get('classes'), str):
        # A string is the path of a file with class names.
        del settings['classes']
    inner = dataset.get('dataset')
    parts = [dataset_text(inner)] if isinstance(inner, Mapping) else []
    parts += [f'{key}={value!r}' for key, value in settings.items()]
    return f'{kind}({", ".join(parts)})' if parts else kind


def validation_metrics(folder: Path, step: int | None) -> dict[str, float]:
    """Read the validation metrics of a step from a run's log; empty if the step has none."""
    rows = [row for row in read_scalars(folder) if row.get('step') == step and 'loss' not in row]
    # A resumed run may repeat a step: the later values count.
    return {
        key: value
        for row in rows
        for key, value in row.items()
        if key not in NOT_METRICS and isinstance(value, int | float) and '/lr' not in key
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return type(value)(map(_plain, value)) if isinstance(value, list | tuple) else value
