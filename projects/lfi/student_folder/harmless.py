"""A config of someone else as data that can do no harm when it is built.

OpenMMLab's registries import a type that they do not know by its path, `subprocess.Popen` as well as any
other; some of its types evaluate a text (`nms`), or read a file of pickles that a text names. So a config is
built only if its types are registered, and its other texts are names.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmengine.registry import Registry

from lfi.registry import TASK_TYPES
from lfi.repositories import HubError

SCOPES = ('lfi', 'mmengine', 'mmpretrain', 'mmdet', 'mmseg')
"""Packages whose types are known; others, once their registry has been imported."""
REGISTRIES = (
    'MODELS',
    'TASK_UTILS',
    'TRANSFORMS',
    'BATCH_AUGMENTS',
    'WEIGHT_INITIALIZERS',
    'TEACHERS',
    'VLMS',
    'EXTRACTORS',
)
"""Of what a model and its pipeline are made."""
OPERATORS = ('RoIAlign', 'RoIPool', 'nms', 'soft_nms')
"""Types that mmcv looks up among its operators."""
REFUSED = (
    # Initial values are not needed, and these would be fetched.
    'Pretrained',
    'PretrainedInit',
    # They build a model from a file or a folder that a text names, and its code with it.
    'HuggingFaceClassifier',
    'KnowledgeDistillationSingleStageDetector',
    'LAD',
)
ASKED = ('teacher', 'zero_shot')
"""Parts that hold concepts and prompts."""
FREE = ('concepts', 'templates', 'background', 'question')
"""What of them nothing evaluates."""
TEACHER_NAMES = ('model', 'pretrained', 'weights_file')
"""Arguments of a teacher that name what it is loaded from."""
# The name of a model, with its source before it.
_TEACHER = re.compile(r'(transformers:[\w.-]+/)?[\w.:+-]*')
_NAME = re.compile(r'[\w.+-]*')
# What configs, pickles and weights are named.
_FILE = re.compile(r'.*\.(py|json|ya?ml|pkl|pickle|pth?|ckpt|bin|npy|npz|safetensors)', re.IGNORECASE)
_DOTTED = re.compile(r'[^\W\d]\w*(\.[^\W\d]\w*)+')


def check_harmless(config: dict[str, Any], scope: str, where: str) -> None:
    """Check a part of a config before it is built; no code of it runs, and nothing that it names is imported.

    Concepts and prompts, which nothing evaluates, are free texts: `FREE` below `ASKED`.

    Args:
        config: plain data, with tuples.
        scope: the default scope.
        where: its name in messages.

    Raises:
        HubError: for a type that is not registered, a text that is not a name or is one of a file, or a model
            that would bring its own code; the message has its place.
    """
    parts = list(_parts(config, where))
    scopes = {scope, 'lfi', 'mmengine'}
    for key, value, place, _ in parts:
        if key == '_scope_' or (key == 'type' and '.' in str(value)):
            scopes.add(str(value).partition('.')[0])
        if key in ASKED and value is not None:
            _check_asked(value, place)
        if key == 'trust_remote_code' and value:
            raise _refusal(place, value, 'lets a model bring its own code')
    for name in scopes:
        if name not in SCOPES and f'{name}.registry' not in sys.modules:
            raise _refusal(
                where, name, 'names a package that is not known. If you trust it, import it before'
            )
    known = Known(scopes)
    for key, value, place, free in parts:
        if key == 'type' and value not in known:
            raise _refusal(
                place,
                value,
                'is not a type that the registries of OpenMMLab and LFI know. If you trust it, import the '
                'module that registers it before',
            )
        if free or not isinstance(value, str):
            continue
        if not _NAME.fullmatch(value) or _FILE.fullmatch(value):
            raise _refusal(place, value, 'is not a name: files, addresses and expressions are not read')
        if _DOTTED.fullmatch(value) and value not in known and _is_module(value.partition('.')[0]):
            raise _refusal(place, value, 'names what is in a module, and is not a registered type')


class Known:
    """The types that the registries of some packages hold.

    Args:
        scopes: the packages; those that are installed are imported.
    """

    def __init__(self, scopes: set[str]) -> None:
        self._names = {scope: set(_registered(scope)) for scope in scopes if find_spec(scope)}

    def __contains__(self, kind: object) -> bool:
        """Whether a name, with its package before it or without, is that of a type."""
        if not isinstance(kind, str):
            return False
        scope, _, name = kind.rpartition('.')
        if name in REFUSED:
            return False
        if scope:
            return name in self._names.get(scope, ())
        return name in OPERATORS or any(name in names for names in self._names.values())


def _registered(scope: str) -> Iterator[str]:
    module = import_module(f'{scope}.registry')
    for name in REGISTRIES:
        registry = getattr(module, name, None)
        if isinstance(registry, Registry):
            registry.import_from_location()
            yield from registry.module_dict
    if scope == 'lfi':
        # Imported when they are built.
        yield from TASK_TYPES


def _parts(value: Any, where: str, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any, str, bool]]:
    """Each value with its key, its place, and whether its texts are free; `above` are the keys down to it."""
    free = any(key in ASKED for key in above) and any(key in FREE for key in above)
    # Checked apart.
    named = above[-2:-1] == ('teacher',) and above[-1] in TEACHER_NAMES
    yield above[-1] if above else '', value, where, free or named
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _parts(part, f'{where}.{name}', (*above, name))
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _parts(part, f'{where}[{i}]', (*above, ''))


def _check_asked(part: object, where: str) -> None:
    """Refuse a teacher that would read files of this machine, or import or build more than a model."""
    if not isinstance(part, dict):
        raise _refusal(where, part, 'must be a dict')
    concepts = part.get('concepts', [])
    if not (isinstance(concepts, list | tuple) and all(isinstance(name, str) for name in concepts)):
        raise _refusal(f'{where}.concepts', concepts, 'must be a list of names')
    for name in TEACHER_NAMES:
        value = part.get(name)
        if value is None:
            continue
        name_only = isinstance(value, str) and _TEACHER.fullmatch(value) and not _FILE.fullmatch(value)
        if name == 'weights_file' or not name_only:
            raise _refusal(f'{where}.{name}', value, 'names a file, and files are not read')


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:
        # A module that runs as a script has no origin.
        return True


def _refusal(where: str, value: object, why: str) -> HubError:
    return HubError(f'{where}={value!r} was refused, and nothing of it was run: it {why}')
