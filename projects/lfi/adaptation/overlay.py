"""The config that inherits from a user's and learns from interactions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from lfi.concepts import check_unrepeated
from lfi.errors import UsageError
from lfi.utils.config_types import model_config, type_name

from .backbone import AskedBackbone, asked_backbone, has_weights_of_its_own
from .class_names import check_number, named_classes, read_concepts
from .data import changed_data
from .pipelines import DataChanges
from .source import assignments
from .task import Task, task_of
from .teacher import asked_teacher, named_teacher
from .user_config import UserConfig

HOOKS = {
    'non_finite': {'type': 'lfi.NonFiniteHook'},
    'concept_check': {'type': 'lfi.ConceptCheckHook'},
}

# The names of an adapter's own layers begin so.
ADDED = 'backbone.interaction'


@dataclass(frozen=True)
class Overlay:
    """A config file that is not written yet.

    Args:
        text: of the file.
        words: what it changes, and how.
        cached: whether a cache of the teacher's maps can be read.
        plain: the task's own model.
    """

    text: str
    words: list[tuple[str, str]]
    cached: bool
    plain: nn.Module


def overlay(
    user: UserConfig, out: Path, teacher: str, concepts: str | None = None, unlabelled: str | None = None
) -> Overlay:
    """Turn a task's config into one that learns from a teacher's interactions.

    Args:
        user: the task's config.
        out: where the file will be, from which it inherits.
        teacher: one of our configs', MODEL:TAG of open_clip, or a folder, as `named_teacher` takes it.
        concepts: a file with the classes' names, a line each. Defaults to None: the data set names them.
        unlabelled: a folder of further images without labels. Defaults to None.

    Raises:
        UsageError: if any of these cannot be used; the message names the field, its value and what to do.
    """
    named_teacher(teacher)
    cfg, scope = user.cfg, user.scope
    task, model = task_of(cfg.model, scope)
    if unlabelled is not None and not Path(unlabelled).expanduser().is_dir():
        raise UsageError(f'--unlabelled {unlabelled} is not a folder: give the folder of your images')
    named, names = _concepts(cfg, scope, concepts)
    call, config = asked_teacher(teacher, named, len(names), task.is_dense)
    backbone = asked_backbone(cfg.model, scope)
    plain = build_model(cfg, 'the config')
    data = changed_data(cfg, scope, plain, unlabelled, one_size=not task.is_dense)

    words = [
        ('model', f'{type_name(cfg.model)} -> {" of ".join(model.values())}'),
        ('backbone', backbone.words),
        ('teacher', _asked_in_words(teacher, named, config, len(names))),
    ]
    if cfg.model.get('pretrained') and not has_weights_of_its_own(cfg.model):
        model['pretrained'] = None
    if backbone.changes:
        model['backbone'] = backbone.changes
    variables: dict[str, Any] = {'_base_': user.base_of(out), 'custom_imports': _imports(cfg)}
    preprocessor = _padding(cfg, data, backbone, task)
    if data.turned:
        # The task's model sees what it saw.
        preprocessor['to_rgb'] = not _preprocessor_of(cfg).get('to_rgb', False)
    mixing = _mixing(cfg) if unlabelled is not None and task.package == 'mmpretrain' else []
    if mixing:
        # mmpretrain's classifier hands on `train_cfg`, and `False` says no to both others.
        model.update({'train_cfg': None} if 'train_cfg' in mixing else {})
        preprocessor.update({name: False for name in mixing if name != 'train_cfg'})
        words.append(('mixing', f'no {", ".join(mixing)}: an image without a label has none to be mixed'))
        if ((cfg.model.get('head') or {}).get('loss') or {}).get('use_soft'):
            model['head'] = {'loss': {'use_soft': False}}
            words.append(('head', 'loss.use_soft=False: labels that are not mixed are no scores'))
    if preprocessor and 'data_preprocessor' in cfg.model:
        model['data_preprocessor'] = preprocessor
    elif preprocessor:
        variables['data_preprocessor'] = preprocessor
    rates = _rates_of_new_layers(cfg, backbone)
    if rates:
        variables['optim_wrapper'] = {'paramwise_cfg': {'custom_keys': rates}}
        words.append(('rates', f'lr_mult=1.0 for {ADDED}*, which is new, and not as pretrained layers'))
    model['teacher'] = call
    part: dict[str, Any] = {'type': 'lfi.Interactions'}
    if config.get('background'):
        # With a background in the bank locations are best read by a concept's share.
        part['reading'] = {'spatial_reading': 'concept_softmax', 'presence': 'best-location'}
    if task.loss_weights:
        part['loss'] = {'type': 'lfi.InteractionDistillLoss', **task.loss_weights}
    model['supervision'] = {'interactions': part}
    variables.update(model=model, **data.variables)
    hooks = {name: hook for name, hook in HOOKS.items() if name not in (cfg.get('default_hooks') or {})}
    if hooks:
        variables['default_hooks'] = hooks
    if cfg.get('work_dir'):
        # In the other's folder checkpoints would replace its own.
        variables['work_dir'] = f'work_dirs/{out.stem}'
        words.append(('work_dir', f'{cfg.work_dir} -> {variables["work_dir"]}'))
    if cfg.get('resume'):
        variables.update(resume=False, load_from=None)
        words.append(('resume', 'False: this training begins anew'))
    title = f'# {user.path.name}, learning from the interactions of {teacher}; written by `lfi adapt`.\n'
    text = title + assignments(variables)
    return Overlay(text, [*words, *data.words], data.why_online is None, plain)


def build_model(cfg: Config, whose: str) -> nn.Module:
    """Build a config's model on the CPU, as a Runner does; no weights are read.

    Args:
        cfg: the config.
        whose: how messages name it.

    Raises:
        UsageError: if it cannot be built.
    """
    try:
        built: nn.Module = MODELS.build(deepcopy(model_config(cfg)))
    # What a model raises at wrong arguments differs from one to the next.
    except Exception as error:
        raise UsageError(
            f'model.type={cfg.model.type!r} of {whose} cannot be built: {type(error).__name__}: {error}'
        ) from error
    return built


def _concepts(cfg: Config, scope: str, file: str | None) -> tuple[Any, list[str]]:
    if file is not None:
        names = read_concepts(file)
        check_number(names, cfg.model, given=True)
        check_unrepeated(names, f'--concepts {file}')
        return names, names
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    named, names = named_classes(dataset, scope)
    check_number(names, cfg.model, given=False)
    return named, names


def _asked_in_words(name: str, named: Any, config: Mapping, number: int) -> str:
    kind = (
        f'the {number} classes that {named["type"]} names'
        if isinstance(named, Mapping)
        else ', '.join(named[:3])
    )
    about = kind if isinstance(named, Mapping) else f'{number} classes, {kind}{", …" if number > 3 else ""}'
    few = f', {config["max_concepts"]} of them an image' if 'max_concepts' in config else ''
    return f'{name} is asked about {about}{few}'


def _imports(cfg: Config) -> dict[str, Any]:
    own = cfg.get('custom_imports') or {}
    imports = own.get('imports') or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    return {
        'imports': imports if 'lfi' in imports else [*imports, 'lfi'],
        'allow_failed_imports': own.get('allow_failed_imports', False),
    }


def _mixing(cfg: Config) -> list[str]:
    """The options by which labels are made scores, and images mixed."""
    own = _preprocessor_of(cfg)
    augments = ['train_cfg'] if (cfg.model.get('train_cfg') or {}).get('augments') else []
    return augments + [name for name in ('batch_augments', 'to_onehot') if own.get(name)]


def _preprocessor_of(cfg: Config) -> Mapping[str, Any]:
    found: Mapping[str, Any] = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    return found


def _rates_of_new_layers(cfg: Config, backbone: AskedBackbone) -> dict[str, Any]:
    """What `custom_keys` must say of an adapter's own layers, lest they learn at pretrained layers' rate."""
    keys = ((cfg.get('optim_wrapper') or {}).get('paramwise_cfg') or {}).get('custom_keys') or {}
    # As mmengine: the longest key that is a part of a parameter's name.
    key = next((key for key in sorted(sorted(keys), key=len, reverse=True) if key in f'{ADDED}.'), None)
    if not backbone.adds_layers or key is None or keys[key].get('lr_mult', 1) == 1:
        return {}
    return {ADDED: {**keys[key], 'lr_mult': 1.0}}


def _padding(cfg: Config, data: DataChanges, backbone: AskedBackbone, task: Task) -> dict[str, Any]:
    """How far the data preprocessor must pad, and with what, if it does not.

    Raises:
        UsageError: if it pads to a size of which that is no divisor.
    """
    preprocessor = _preprocessor_of(cfg)
    own = preprocessor.get(task.pad_divisor) or 1
    needed = [own]
    if data.divisor > 1:
        needed.append(data.divisor)
    if data.divisor > 1 and task.is_dense:
        needed.append(backbone.largest_stride)
    if task.is_dense:
        needed.append(backbone.divisor)
    divisor = math.lcm(*needed)
    found: dict[str, Any] = {}
    size = preprocessor.get('size')
    if size and any(side % divisor for side in size):
        raise UsageError(
            f'data_preprocessor.size={size} must be of multiples of {divisor} pixels, for {backbone.words}'
        )
    if divisor != own and not size:
        found[task.pad_divisor] = divisor
    if backbone.divisor > 1 and not task.pads_for_test:
        of_test = preprocessor.get('test_cfg') or {}
        if not of_test.get('size'):
            # Merged with their own.
            found['test_cfg'] = {'size_divisor': math.lcm(of_test.get('size_divisor') or 1, backbone.divisor)}
    return found if data.pad_value is None else {**found, task.pad_value: data.pad_value}
