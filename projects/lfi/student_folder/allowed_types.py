"""Which types a student may be made of, and the words that these know.

A type of OpenMMLab is allowed by the module in which it is defined, and a transform by its name. What is
registered by another package is the user's own: only his import can have registered it.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from types import CodeType
from typing import Any

from mmengine.registry import Registry
from torch import nn

from lfi.utils.process import override
from lfi.utils.repositories import WEIGHTS

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
OPERATORS = (
    'RoIAlign',
    'RoIPool',
    'SimpleRoIAlign',
    'nms',
    'soft_nms',
    # Of FPG and of Cascade RPN, which look them up themselves.
    'conv',
    'dilation',
    'interpolation_conv',
    'last_conv',
    'offset',
)
"""Types that mmcv looks up among its operators, and others that no registry holds."""
FAMILIES = (
    'lfi.models',
    'mmcv.cnn',
    'mmcv.ops',
    'mmdet.models.backbones',
    'mmdet.models.data_preprocessors',
    'mmdet.models.dense_heads',
    'mmdet.models.detectors',
    'mmdet.models.layers',
    'mmdet.models.losses',
    'mmdet.models.necks',
    'mmdet.models.reid.gap',
    'mmdet.models.roi_heads',
    'mmdet.models.seg_heads',
    'mmdet.models.task_modules',
    'mmengine.model',
    'mmengine.utils.dl_utils',
    'mmpretrain.models.backbones',
    'mmpretrain.models.classifiers',
    'mmpretrain.models.heads',
    'mmpretrain.models.losses',
    'mmpretrain.models.necks',
    'mmpretrain.models.utils',
    'mmseg.models.assigners',
    'mmseg.models.backbones',
    'mmseg.models.data_preprocessor',
    'mmseg.models.decode_heads',
    'mmseg.models.losses',
    'mmseg.models.necks',
    'mmseg.models.segmentors',
    'mmseg.structures.sampler',
    'torch.nn.modules',
)
"""Modules of what a student is made of: not those of texts, of videos and of pretraining."""
REFUSED = (
    # They read the weights, or the model, that a text names.
    'ATSSVLFusionHead',
    'AppearanceFreeLink',
    'Detectron2Wrapper',
    'GLIP',
    'GroundingDINO',
    'GroundingDINOHead',
    'GroundingHead',
    'HuggingFaceClassifier',
    'KnowledgeDistillationSingleStageDetector',
    'LAD',
    'Pretrained',
    'PretrainedInit',
    'SeqGenerationHead',
    'SideAdapterCLIPHead',
    'VPD',
    'VPDDepthHead',
    'VQAGenerationHead',
)
"""Of these modules."""
TRANSFORM_MODULES = (
    'lfi.datasets.transforms',
    'mmcv.transforms',
    'mmdet.datasets.transforms',
    'mmpretrain.datasets.transforms',
    'mmseg.datasets.transforms',
)
TRANSFORMS = (
    'AdjustGamma',
    'CLAHE',
    'CenterCrop',
    'Collect',
    'Compose',
    'EfficientNetCenterCrop',
    'FixScaleResize',
    'FixShapeResize',
    'ImageToTensor',
    'KeyMapper',
    # The image itself, and what a data set says of it.
    'LoadAnnotations',
    'LoadImageFromFile',
    'LoadImageFromNDArray',
    'LoadPanopticAnnotations',
    'LoadRegions',
    'MultiScaleFlipAug',
    'Normalize',
    'NumpyToPIL',
    'PILToNumpy',
    'PackDetInputs',
    'PackInputs',
    'PackMultiTaskInputs',
    'PackSegInputs',
    'Pad',
    'RGB2Gray',
    'RandomCenterCropPad',
    'RandomFlip',
    'RecordView',
    'Rerange',
    'Resize',
    'ResizeEdge',
    'ResizeShortestEdge',
    'ResizeToMultiple',
    'SegRescale',
    'TestTimeAug',
    'ToNumpy',
    'ToPIL',
    'ToTensor',
    'TransformBroadcaster',
    'Transpose',
)
"""Steps of a test pipeline."""
LIBRARIES = (
    'albumentations',
    'functools',
    'mmcv',
    'mmdet',
    'mmengine',
    'mmpretrain',
    'mmseg',
    'open_clip',
    'timm',
    'torch',
    'torchvision',
    'transformers',
)
"""Packages whose types OpenMMLab registers, beside LFI's own."""
_TYPE = re.compile(r'(\w+\.)?[\w-]+')
_WORD = re.compile(r'[\w.+-]*|\d+/\d+')


class AllowedTypes:
    """The types that the registries of some packages hold, and of which a student may be made.

    Args:
        scopes: the packages; those that are installed are imported. What a name without a scope means in any
            of them must be allowed.
    """

    def __init__(self, scopes: set[str]) -> None:
        with _installed_alone():
            registries = {scope: _registries(scope) for scope in sorted(scopes) if is_known(scope)}
        # All are imported by now: some fill the registries of others.
        self._found = {scope: _registered(found) for scope, found in registries.items()}

    def __contains__(self, name: object) -> bool:
        """Whether a name, with its package before it or without, is that of an allowed type."""
        if not isinstance(name, str) or not _TYPE.fullmatch(name):
            return False
        if name in OPERATORS:
            return True
        found = self._named(name)
        return bool(found) and all(map(_is_allowed, found))

    def is_own(self, name: object) -> bool:
        """Whether a name is that of a type of the user's own."""
        return name in self and any(not _is_of_library(kind) for kind in self._named(str(name)))

    def words(self, name: str) -> set[str]:
        """The words that the types of a name know."""
        return set().union(*map(_words_of, self._named(name)))

    def _named(self, name: str) -> list[Any]:
        scope, _, plain = name.rpartition('.')
        scopes = [scope] if scope else list(self._found)
        return [kind for one in scopes for kind in self._found.get(one, {}).get(plain, ())]


def is_known(scope: str) -> bool:
    """Whether a package's types are known: it is imported, or it is OpenMMLab's and installed.

    One that lies in the working directory is no installed one: a student's folder may hold anything.
    """
    if f'{scope}.registry' in sys.modules:
        return True
    if scope not in SCOPES:
        return False
    with _installed_alone():
        return find_spec(scope) is not None


@contextmanager
def _installed_alone() -> Iterator[None]:
    """Import nothing that is not installed: OpenMMLab's packages look for many that may be missing."""
    with override(sys, 'path', list(filter(_is_installed, sys.path))):
        yield


def _is_installed(place: str) -> bool:
    """Whether a folder of `sys.path` is neither the working directory nor a student's."""
    here = os.path.realpath(place) == os.path.realpath(os.curdir)
    return os.path.isabs(place) and not here and not os.path.exists(os.path.join(place, WEIGHTS))


@cache
def _words_of(kind: Any) -> frozenset[str]:
    """The texts that a type names, in its code and in that beside it."""
    own = [part for part in getattr(kind, '__mro__', [kind]) if part not in (object, nn.Module)]
    modules = {part.__module__ for part in own}
    beside = [
        value
        for name in modules
        for value in vars(sys.modules[name]).values()
        if getattr(value, '__module__', None) == name
    ]
    texts = (text for part in (*own, *beside) for text in _texts(part))
    return frozenset(filter(_WORD.fullmatch, texts))


def _texts(value: Any) -> Iterator[str]:
    """The texts in a definition: its constants, defaults and attributes."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in (*value, *value.values()):
            yield from _texts(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, CodeType):
        yield from _texts(value.co_consts)
    elif isinstance(value, staticmethod | classmethod):
        yield from _texts(value.__func__)
    elif isinstance(value, property | cached_property):
        getter = value.fget if isinstance(value, property) else value.func
        yield from _texts(getter)
    elif inspect.isfunction(value):
        function = inspect.unwrap(value)
        if inspect.isfunction(function):
            yield from _texts([function.__code__, function.__defaults__, function.__kwdefaults__])
    elif inspect.isclass(value):
        for part in vars(value).values():
            if not inspect.isclass(part):
                yield from _texts(part)


def _registries(scope: str) -> list[Registry]:
    """A package's registries, filled."""
    module = import_module(f'{scope}.registry')
    found = [getattr(module, name, None) for name in REGISTRIES]
    registries = [registry for registry in found if isinstance(registry, Registry)]
    for registry in registries:
        registry.import_from_location()
    return registries


def _registered(registries: list[Registry]) -> dict[str, list[Any]]:
    """What registries hold, by name."""
    found: dict[str, list[Any]] = {}
    for registry in registries:
        for name, kind in registry.module_dict.items():
            found.setdefault(name, []).append(kind)
    return found


def _is_allowed(kind: Any) -> bool:
    place, name = _place_of(kind)
    if not _is_of_library(kind):
        return True
    if _is_below(place, TRANSFORM_MODULES):
        return name in TRANSFORMS
    # Of OpenMMLab classes alone: a function may be `from_pretrained`.
    plain = inspect.isclass(kind) or place.startswith('lfi.')
    return plain and name not in REFUSED and _is_below(place, FAMILIES)


def _is_of_library(kind: Any) -> bool:
    return _place_of(kind)[0].partition('.')[0] in ('lfi', *LIBRARIES)


def _place_of(kind: Any) -> tuple[str, str]:
    """The module of a type, and its name there."""
    # A `partial` has no name.
    return getattr(kind, '__module__', 'functools'), getattr(kind, '__name__', '')


def _is_below(place: str, modules: tuple[str, ...]) -> bool:
    return any(f'{place}.'.startswith(f'{module}.') for module in modules)
