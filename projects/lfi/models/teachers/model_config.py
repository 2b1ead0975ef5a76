"""Properties of a teacher that are known from its config, before it is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip

from lfi.registry import TEACHERS, VLMS, resolve_type

from .generative.folder import GENERATIVE
from .generative.generative_vlm import generative_text_dims
from .loading.folder_config import FILE, read_folder_config
from .loading.weights import BLIP, check_name, find_config_folder

STORED_OPTIONS = ('cache', 'text_folder')
"""Options of `model.teacher` that name stored outputs: maps or features, and embeddings of texts."""


def open_clip_config(model: str) -> dict[str, Any]:
    """Read the config of an open_clip model.

    Args:
        model: name of a model or of a teacher that ships with the package, or a folder; see `load_vlm`.

    Raises:
        FileNotFoundError: if a folder or its config is missing.
        ValueError: if the name is unknown, or the folder's config is invalid.
    """
    folder = find_config_folder(model)
    if folder is None:
        check_name(model)
        config = open_clip.get_model_config(model)
    else:
        config = read_folder_config(folder / FILE)['model_cfg']
    return dict(config)


def text_dims_of(teacher: Mapping[str, Any]) -> int:
    """Width of a teacher's text space, from its config alone.

    Args:
        teacher: config of a teacher that is registered in `TEACHERS`. The class of a custom dual encoder, or
            of a teacher whose model `load_vlm` does not load, has the width as an attribute, `text_dims`.

    Raises:
        ValueError: if the config does not give the width, or the teacher is unknown.
        FileNotFoundError: if the model's folder, or the config in it, is missing.
    """
    arguments = dict(teacher)
    kind = resolve_type({'type': arguments.pop('type', 'VLMAttentionTeacher')}, TEACHERS, 'teacher')
    model = bind_arguments(kind, arguments).get('model')
    if isinstance(model, Mapping):
        kind = resolve_type(dict(model), VLMS, 'model')
    text_dims = getattr(kind, 'text_dims', None)
    if isinstance(text_dims, int):
        return text_dims
    try:
        if not isinstance(model, str):
            raise ValueError(f'{kind.__name__} has no text_dims, a class attribute that is an int')
        readers = (reader for prefix, reader in TEXT_DIMS_BY_PREFIX.items() if model.startswith(prefix))
        return next(readers, _open_clip_text_dims)(model)
    except (FileNotFoundError, ValueError) as error:
        advice = (
            'A trained student needs no teacher if readout.text_dims is set to the width of its text space'
        )
        raise type(error)(f'{error}. {advice}') from error


def _open_clip_text_dims(model: str) -> int:
    return int(open_clip_config(model)['embed_dim'])


def _blip_text_dims(model: str) -> int:
    from mmengine.config import Config
    from mmpretrain.apis import ModelHub

    name = model.removeprefix(BLIP)
    try:
        config = Config.fromfile(name) if Path(name).suffix == '.py' else ModelHub.get(name).config
        return int(config.model.text_neck.out_features)
    except (AttributeError, KeyError, ValueError) as error:
        raise ValueError(f'model={model!r} is not a BLIP for retrieval of mmpretrain ({error!r})') from error


TEXT_DIMS_BY_PREFIX = {BLIP: _blip_text_dims, GENERATIVE: generative_text_dims}
"""Functions that read the width of the text space, by the prefix of the model's name."""


def without_stored_options(teacher: Mapping[str, Any]) -> dict[str, Any]:
    """Return a teacher's config without `STORED_OPTIONS`."""
    return {name: value for name, value in teacher.items() if name not in STORED_OPTIONS}


def bind_arguments(kind: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Bind a config to the arguments of a class, defaults included.

    The `**kwargs` of an `__init__` are bound to the `__init__` of the next class in the method resolution
    order, to which they are passed on.

    Args:
        kind: class to build.
        config: arguments by name, without `type`. `STORED_OPTIONS` belong to the student and are left out.

    Returns:
        All arguments by name.

    Raises:
        TypeError: if an argument is missing, or no class takes it.
    """
    arguments: dict[str, Any] = {}
    unbound = without_stored_options(config)
    for owner in kind.__mro__[:-1]:
        if '__init__' not in vars(owner):
            continue
        signature = inspect.signature(vars(owner)['__init__'])
        try:
            bound = signature.bind(None, **unbound)
        except TypeError as error:
            raise TypeError(f'{kind.__name__}: {error}') from error
        bound.apply_defaults()
        kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
        keywords = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
        unbound = bound.arguments.pop(keywords[0]) if keywords else {}
        items = list(bound.arguments.items())[1:]  # Without `self`.
        found = {key: v for key, v in items if kinds[key] is not inspect.Parameter.VAR_POSITIONAL}
        # A class may set another default than the class from which it inherits.
        arguments = {**found, **arguments}
        if not keywords:
            break
    if unbound:
        raise TypeError(f'{kind.__name__}: no class takes the arguments {", ".join(unbound)}')
    return arguments
