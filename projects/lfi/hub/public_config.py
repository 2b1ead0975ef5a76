"""Config of a student for publication: without the training's data, files and folders."""

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
from lfi.student_folder.config_sanitizer import (
    FREE_TEXTS,
    MAX_LENGTH,
    TEACHER_PARTS,
    USER_ARGUMENTS,
    is_teacher_name,
)
from lfi.utils.config_types import leaf_configs

# Arguments that name files or file backends. The folder holds the weights.
FILE_KEYS = ('pretrained', 'checkpoint_path', 'backend_args', 'file_client_args')
# Prefixes of weights that only training uses.
TRAINING_PREFIXES = ('supervision.', 'control.')
_PRIVATE = re.compile(r'[/~\\]|[A-Za-z]:[/\\]')


def public_student(model: Any, cfg: Config, readout: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the public config of a student, as plain data, and its weights.

    Args:
        model: student.
        cfg: config of the run.
        readout: whether to keep the read-out, with the teacher's name and texts; otherwise `export_student`
            reduces the student.

    Raises:
        UsageError: if the config holds paths or values that are not plain data, or `export_student` raises an
            error.
    """
    model_cfg = deepcopy(dict(model_config(cfg)))
    state = model.state_dict()
    if readout:
        # Explicit values replace those of the teacher's folder, which may be missing at loading.
        explicit = dict(text_dims=model.readout.text_dims, contrast_weight=model.readout.contrast_weight)
        model_cfg = {**model_cfg, 'readout': {**(model_cfg.get('readout') or {}), **explicit}}
        # `reading` defines how maps are made from the teacher's scores. Other options are for training.
        parts = model_cfg.pop('supervision', None) or {}
        readings = {
            name: {key: part[key] for key in ('type', 'reading') if key in part}
            for name, part in parts.items()
            if part and _is_interactions(part)
        }
        model_cfg.pop('control', None)
        model_cfg = {**model_cfg, 'supervision': readings} if readings else model_cfg
        state = {name: value for name, value in state.items() if not name.startswith(TRAINING_PREFIXES)}
    else:
        with as_usage_error(ValueError):
            exported = export_student(model, model_cfg)
        model_cfg, state = dict(exported.model), exported.state
    teacher = model_cfg.pop('teacher', None)
    predict_by = model_cfg.get('predict_by') or {}
    if predict_by.get('concepts') is not None:
        model_cfg['predict_by'] = {**predict_by, 'concepts': list(concept_names(predict_by['concepts']))}
    public = _without_files(model_cfg)
    if teacher is not None:
        public['teacher'] = public_teacher(teacher)
    return _plain(public, 'model'), state


def _is_interactions(part: Mapping[str, Any]) -> bool:
    kind = MODELS.get(part['type']) if isinstance(part['type'], str) else part['type']
    return isinstance(kind, type) and issubclass(kind, Interactions)


def public_pipeline(cfg: Config) -> list[dict[str, Any]] | None:
    """Return the test pipeline as plain data; None if the config has no test or validation."""
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if loader is None:
        return None
    steps = next(leaf_configs(loader.dataset)).get('pipeline')
    return None if steps is None else _plain(_without_files(list(steps)), 'pipeline')


def public_teacher(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Return a teacher's config with the names of its concepts, and without local paths.

    The path of a folder becomes the folder's name in plain characters. The file of weights is removed. Users
    who ask for texts set their own paths.
    """
    public = {key: value for key, value in teacher.items() if key not in USER_ARGUMENTS}
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
        # The model is a repository, and not a folder.
        return model
    plain = re.sub(r'[^\w.+-]+', '-', Path(name).name).lstrip('.+-') or 'teacher'
    public = f'{"" if kind == "local-dir:" else kind}{plain}'[:MAX_LENGTH]
    return public if is_teacher_name(public) else public.replace('.', '-')


def _without_files(value: Any) -> Any:
    """Remove the keys that name initial weights, file backends or data."""
    if isinstance(value, Mapping):
        return {
            key: _without_files(part)
            for key, part in value.items()
            if key not in FILE_KEYS and not (key == 'init_cfg' and _reads_file(part))
        }
    return type(value)(map(_without_files, value)) if isinstance(value, list | tuple) else value


def _reads_file(init: Any) -> bool:
    configs = init if isinstance(init, list | tuple) else [init]
    return any(isinstance(config, Mapping) and 'checkpoint' in config for config in configs)


def _plain(value: Any, where: str) -> Any:
    plain = to_plain(value, where)
    _refuse_private(plain, where)
    return plain


def _refuse_private(value: Any, where: str, free_keys: Sequence[str] = ()) -> None:
    """Refuse paths, except in the arguments `free_keys`: concepts and prompts may look like paths."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in free_keys:
                _refuse_private(part, f'{where}.{key}', FREE_TEXTS if key in TEACHER_PARTS else free_keys)
    elif isinstance(value, list):
        for i, part in enumerate(value):
            _refuse_private(part, f'{where}[{i}]', free_keys)
    elif isinstance(value, str) and _PRIVATE.match(value):
        raise UsageError(f'{where}={value!r} is a path of this machine: set it to None, or remove it')
