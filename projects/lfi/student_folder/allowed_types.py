"""Types that a student may be built of, and the strings in their code.

A type of OpenMMLab is allowed by its module, and a transform by its name. A type of another package is the
user's own: only the user's import can have registered it.
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
"""Packages whose types are known. Other packages are known once their registry is imported."""
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
"""Registries of the parts of a model and its pipeline."""
OPERATORS = (
    'RoIAlign',
    'RoIPool',
    'SimpleRoIAlign',
    'nms',
    'soft_nms',
    # FPG and Cascade RPN look these up themselves.
    'conv',
    'dilation',
    'interpolation_conv',
    'last_conv',
    'offset',
)
"""Operators of mmcv, and other types that are in no registry."""
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
"""Modules of the types that a student may have. Types for texts, videos and pretraining are left out."""
REFUSED = (
    # These load weights or a model by a name.
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
"""Types in modules of `FAMILIES` that are not allowed."""
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
    # Loaders of the image and its annotations.
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
"""Transforms of a test pipeline."""
LIBRARIES = (
    'albumentations',
    # mmpretrain registers torchvision's transforms as objects of `functools.partial`.
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
"""Packages whose types OpenMMLab registers."""
_TYPE = re.compile(r'(\w+\.)?[\w-]+')
_WORD = re.compile(r'[\w.+-]*|\d+/\d+')


class AllowedTypes:
    """Types that a student may be built of, from the registries of some packages.

    Args:
        scopes: packages; the installed ones are imported. A name without a scope is allowed if its types in
            all packages are allowed.
    """

    def __init__(self, scopes: set[str]) -> None:
        with _installed_packages_only():
            registries = {scope: _registries(scope) for scope in sorted(scopes) if is_known(scope)}
        # After all imports: packages may fill each other's registries.
        self._types = {scope: _registered_types(filled) for scope, filled in registries.items()}

    def __contains__(self, name: object) -> bool:
        """Whether a name, with or without its scope, is an allowed type."""
        if not isinstance(name, str) or not _TYPE.fullmatch(name):
            return False
        if name in OPERATORS:
            return True
        kinds = self._find(name)
        return bool(kinds) and all(map(_is_allowed, kinds))

    def is_user_type(self, name: object) -> bool:
        """Whether a name is an allowed type of a package that is neither LFI nor of `LIBRARIES`."""
        return name in self and any(not _is_of_library(kind) for kind in self._find(str(name)))

    def code_strings(self, name: str) -> set[str]:
        """Return the strings in the code of a name's types that have the form of a word or a fraction."""
        return set().union(*map(_code_strings, self._find(name)))

    def _find(self, name: str) -> list[Any]:
        scope, _, plain = name.rpartition('.')
        scopes = [scope] if scope else list(self._types)
        return [kind for scope in scopes for kind in self._types.get(scope, {}).get(plain, ())]


def is_known(scope: str) -> bool:
    """Whether a package's types are known: it is imported, or it is OpenMMLab's and installed.

    A package in the working directory does not count as installed: a student's folder may hold anything.
    """
    if f'{scope}.registry' in sys.modules:
        return True
    if scope not in SCOPES:
        return False
    with _installed_packages_only():
        return find_spec(scope) is not None


@contextmanager
def _installed_packages_only() -> Iterator[None]:
    """Restrict imports to installed packages: OpenMMLab tries to import many optional ones."""
    with override(sys, 'path', list(filter(_is_installed, sys.path))):
        yield


def _is_installed(folder: str) -> bool:
    """Whether a folder of `sys.path` is neither the working directory nor a student's folder."""
    is_working_dir = os.path.realpath(folder) == os.path.realpath(os.curdir)
    return os.path.isabs(folder) and not is_working_dir and not os.path.exists(os.path.join(folder, WEIGHTS))


@cache
def _code_strings(kind: Any) -> frozenset[str]:
    """Return the strings of the form `_WORD` in the code of a type, of its bases and of their modules."""
    bases = [base for base in getattr(kind, '__mro__', [kind]) if base not in (object, nn.Module)]
    modules = {base.__module__ for base in bases}
    definitions = [
        value
        for name in modules
        for value in vars(sys.modules[name]).values()
        if getattr(value, '__module__', None) == name
    ]
    strings = (string for definition in (*bases, *definitions) for string in _strings(definition))
    return frozenset(filter(_WORD.fullmatch, strings))


def _strings(value: Any) -> Iterator[str]:
    """Iterate over the strings in a definition: constants, defaults and attributes."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in (*value, *value.values()):
            yield from _strings(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, CodeType):
        yield from _strings(value.co_consts)
    elif isinstance(value, staticmethod | classmethod):
        yield from _strings(value.__func__)
    elif isinstance(value, property | cached_property):
        getter = value.fget if isinstance(value, property) else value.func
        yield from _strings(getter)
    elif inspect.isfunction(value):
        function = inspect.unwrap(value)
        if inspect.isfunction(function):
            yield from _strings([function.__code__, function.__defaults__, function.__kwdefaults__])
    elif inspect.isclass(value):
        for part in vars(value).values():
            if not inspect.isclass(part):
                yield from _strings(part)


def _registries(scope: str) -> list[Registry]:
    """Return the registries of a package, after the import of its types."""
    module = import_module(f'{scope}.registry')
    values = [getattr(module, name, None) for name in REGISTRIES]
    registries = [registry for registry in values if isinstance(registry, Registry)]
    for registry in registries:
        registry.import_from_location()
    return registries


def _registered_types(registries: list[Registry]) -> dict[str, list[Any]]:
    """Return the types of registries by name."""
    types: dict[str, list[Any]] = {}
    for registry in registries:
        for name, kind in registry.module_dict.items():
            types.setdefault(name, []).append(kind)
    return types


def _is_allowed(kind: Any) -> bool:
    module, name = _module_and_name(kind)
    if not _is_of_library(kind):
        return True
    if _is_below(module, TRANSFORM_MODULES):
        return name in TRANSFORMS
    # Functions of other packages than LFI may load weights, like `from_pretrained`.
    may_build = inspect.isclass(kind) or module.startswith('lfi.')
    return may_build and name not in REFUSED and _is_below(module, FAMILIES)


def _is_of_library(kind: Any) -> bool:
    return _module_and_name(kind)[0].partition('.')[0] in ('lfi', *LIBRARIES)


def _module_and_name(kind: Any) -> tuple[str, str]:
    # A `partial` lacks both attributes.
    return getattr(kind, '__module__', 'functools'), getattr(kind, '__name__', '')


def _is_below(module: str, packages: tuple[str, ...]) -> bool:
    return any(f'{module}.'.startswith(f'{package}.') for package in packages)
