"""What a model's config says of a teacher before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip

from lfi.registry import TEACHERS, VLMS, type_of

from .generative.folder import GENERATIVE
from .generative.generative_vlm import generative_text_dims
from .loading.folder_config import FILE, read_folder_config
from .loading.weights import BLIP, check_name, find_config_folder


def open_clip_config(model: str) -> dict[str, Any]:
    """The config of an open_clip model.

    Args:
        model: a name, a folder, or a teacher that ships with the package, as `load_vlm` takes them.

    Raises:
        FileNotFoundError: if a folder or its config is missing.
        ValueError: if the name is unknown, or as `read_folder_config` says.
    """
    folder = find_config_folder(model)
    if folder is None:
        check_name(model)
        found = open_clip.get_model_config(model)
    else:
        found = read_folder_config(folder / FILE)['model_cfg']
    return dict(found)


def text_dims_of(teacher: Mapping[str, Any]) -> int:
    """The width of a teacher's text space, by its config alone.

    Args:
        teacher: config of a teacher that `TEACHERS` knows. A class that takes no `model` of `load_vlm`,
            and the class of a dual encoder of one's own, say it by an attribute, `text_dims`.

    Raises:
        ValueError: if the config does not say it, or the teacher is unknown.
        FileNotFoundError: if the folder of its model, or that folder's config, is missing.
    """
    arguments = dict(teacher)
    kind = type_of({'type': arguments.pop('type', 'VLMAttentionTeacher')}, TEACHERS, 'teacher')
    model = bind_arguments(kind, arguments).get('model')
    if isinstance(model, Mapping):
        kind = type_of(dict(model), VLMS, 'model')
    stated = getattr(kind, 'text_dims', None)
    if isinstance(stated, int):
        return stated
    try:
        if not isinstance(model, str):
            raise ValueError(f'{kind.__name__} has no text_dims, a class attribute that is an int')
        of_prefix = (width for prefix, width in OF_PREFIX.items() if model.startswith(prefix))
        return next(of_prefix, _of_open_clip)(model)
    except (FileNotFoundError, ValueError) as error:
        how = f"set readout.text_dims to the width of the teacher's text space, which is not known: {error}"
        raise type(error)(how) from error


def _of_open_clip(model: str) -> int:
    return int(open_clip_config(model)['embed_dim'])


def _of_blip(model: str) -> int:
    from mmengine.config import Config
    from mmpretrain.apis import ModelHub

    name = model.removeprefix(BLIP)
    try:
        config = Config.fromfile(name) if Path(name).suffix == '.py' else ModelHub.get(name).config
        return int(config.model.text_neck.out_features)
    except (AttributeError, KeyError, ValueError) as error:
        raise ValueError(f'model={model!r} is no BLIP for retrieval of mmpretrain ({error!r})') from error


OF_PREFIX = {BLIP: _of_blip, GENERATIVE: generative_text_dims}
"""Who knows the width of a model of another project, by how the model's name begins."""


def bind_arguments(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments that a class would be built with, defaults included.

    What an `__init__` takes as `**kwargs` is bound by that of the next class in the method resolution order,
    to which it is handed on.

    Args:
        kind: the class.
        config: the arguments by name, without `type`. `cache` is the student's, and left out.

    Returns:
        Each argument by its name.

    Raises:
        TypeError: if an argument is missing, or no class takes it.
    """
    arguments: dict[str, Any] = {}
    rest = {name: value for name, value in config.items() if name != 'cache'}
    for owner in kind.__mro__[:-1]:
        if '__init__' not in vars(owner):
            continue
        signature = inspect.signature(vars(owner)['__init__'])
        try:
            bound = signature.bind(None, **rest)
        except TypeError as error:
            raise TypeError(f'{kind.__name__}: {error}') from error
        bound.apply_defaults()
        kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
        more = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
        rest = bound.arguments.pop(more[0]) if more else {}
        own = list(bound.arguments.items())[1:]
        arguments.update((name, v) for name, v in own if kinds[name] is not inspect.Parameter.VAR_POSITIONAL)
        if not more:
            break
    if rest:
        raise TypeError(f'{kind.__name__}: no class takes the arguments {", ".join(rest)}')
    return arguments
