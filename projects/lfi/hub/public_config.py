"""The config of a student as others may read it: without the training's data, files and folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor

from lfi.concepts import concept_names
from lfi.errors import UsageError, as_usage_error
from lfi.export import export_student, model_config
from lfi.models.supervision import Interactions
from lfi.models.teachers.loading.weights import BLIP, GENERATIVE
from lfi.models.teachers.loading.weights_source import is_file_name
from lfi.registry import MODELS
from lfi.student_folder import to_plain
from lfi.student_folder.config_sanitizer import ASKED, FREE, LONGEST, OF_THE_USER, is_teacher_name
from lfi.utils.config_types import leaves

# They name files, or where to fetch some; the weights are in the folder.
OF_FILES = ('pretrained', 'checkpoint_path', 'backend_args', 'file_client_args')
# What a student has for training alone.
TRAINING_PARTS = ('supervision.', 'control.')
_PRIVATE = re.compile(r'[/~\\]|[A-Za-z]:[/\\]')


def public_student(model: Any, cfg: Config, readout: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config of a student, as plain data, and its weights.

    Args:
        model: the student.
        cfg: config of its run.
        readout: whether it keeps its read-out, and with it the teacher's name and texts; otherwise it is
            reduced by `export_student`.

    Raises:
        UsageError: if the config holds what is not plain data, or the path of a file; or as `export_student`
            says.
    """
    own = deepcopy(dict(model_config(cfg)))
    state = model.state_dict()
    if readout:
        # What the teacher's folder says is known now, and not needed where the student is loaded.
        known = dict(text_dims=model.readout.text_dims, contrast_weight=model.readout.contrast_weight)
        own = {**own, 'readout': {**(own.get('readout') or {}), **known}}
        # How the teacher is read; all other parts are for training alone.
        parts = own.pop('supervision', None) or {}
        kept = {
            name: {key: part[key] for key in ('type', 'reading') if key in part}
            for name, part in parts.items()
            if part and _is_interactions(part)
        }
        own.pop('control', None)
        own = {**own, 'supervision': kept} if kept else own
        state = {name: value for name, value in state.items() if not name.startswith(TRAINING_PARTS)}
    else:
        with as_usage_error(ValueError):
            exported = export_student(model, own)
        own, state = dict(exported.model), exported.state
    teacher = own.pop('teacher', None)
    predict_by = own.get('predict_by') or {}
    if predict_by.get('concepts') is not None:
        own['predict_by'] = {**predict_by, 'concepts': list(concept_names(predict_by['concepts']))}
    public = _without_files(own)
    if teacher is not None:
        public['teacher'] = public_teacher(teacher)
    return _plain(public, 'model'), state


def _is_interactions(part: Mapping[str, Any]) -> bool:
    kind = MODELS.get(part['type']) if isinstance(part['type'], str) else part['type']
    return isinstance(kind, type) and issubclass(kind, Interactions)


def public_pipeline(cfg: Config) -> list[dict[str, Any]] | None:
    """The test pipeline as plain data; None where the config has no test."""
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if loader is None:
        return None
    steps = next(leaves(loader.dataset)).get('pipeline')
    return None if steps is None else _plain(_without_files(list(steps)), 'pipeline')


def public_teacher(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """A teacher's config with its concepts by name, and its model as others know it.

    A folder keeps its name alone, of plain characters, and a file of weights is left out: who asks texts says
    where they are.
    """
    public = {key: value for key, value in teacher.items() if key not in OF_THE_USER}
    if 'concepts' in public:
        public['concepts'] = list(concept_names(public['concepts']))
    if isinstance(public.get('pretrained'), str) and is_file_name(public['pretrained']):
        del public['pretrained']
    if isinstance(public.get('model'), str):
        public['model'] = _public_name(public['model'])
    return public


def _public_name(model: str) -> str:
    kind = next((prefix for prefix in (BLIP, GENERATIVE, 'local-dir:') if model.startswith(prefix)), '')
    name = model.removeprefix(kind)
    if kind == GENERATIVE and not Path(name).is_dir() and is_teacher_name(model):
        # A repository.
        return model
    plain = re.sub(r'[^\w.+-]+', '-', Path(name).name).lstrip('.+-') or 'teacher'
    public = f'{"" if kind == "local-dir:" else kind}{plain}'[:LONGEST]
    return public if is_teacher_name(public) else public.replace('.', '-')


def _without_files(value: Any) -> Any:
    """Without what names files for the start of a training, or where data lie."""
    if isinstance(value, Mapping):
        return {
            key: _without_files(part)
            for key, part in value.items()
            if key not in OF_FILES and not (key == 'init_cfg' and _reads_file(part))
        }
    return type(value)(map(_without_files, value)) if isinstance(value, list | tuple) else value


def _reads_file(init: Any) -> bool:
    starts = init if isinstance(init, list | tuple) else [init]
    return any(isinstance(start, Mapping) and 'checkpoint' in start for start in starts)


def _plain(value: Any, where: str) -> Any:
    plain = to_plain(value, where)
    _refuse_private(plain, where)
    return plain


def _refuse_private(value: Any, where: str, free: Sequence[str] = ()) -> None:
    """Refuse paths, but in the arguments `free`: concepts and prompts may look like some."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in free:
                _refuse_private(part, f'{where}.{key}', FREE if key in ASKED else free)
    elif isinstance(value, list):
        for i, part in enumerate(value):
            _refuse_private(part, f'{where}[{i}]', free)
    elif isinstance(value, str) and _PRIVATE.match(value):
        raise UsageError(f'{where}={value!r} is a path of this machine: set it to None, or leave it out')
