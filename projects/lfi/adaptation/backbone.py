"""Changes of a config that let interaction queries read the backbone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import MODELS
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lfi.errors import UsageError
from lfi.models.adapters.feature_maps import FeatureMap, find_feature_maps
from lfi.models.backbones import InteractionRecorder
from lfi.utils.config_types import type_name

from .kinds import registered_class
from .norms import use_plain_norms
from .source import Expression
from .stages import PROBE_SIZES, last_stages, output_maps

INHERITED = Expression('{{_base_.model.backbone}}')


@dataclass(frozen=True)
class AdaptedBackbone:
    """Backbone that interaction queries can read.

    Args:
        changes: `model.backbone` of a config that inherits from the task's.
        description: the change, for the user.
        divisor: height and width of an image must be multiples of this number of pixels. Defaults to 1.
        largest_stride: largest stride of the outputs, in pixels. Defaults to 1.
        has_batch_norm: whether the backbone has batch normalisation. Defaults to False.
    """

    changes: Mapping[str, Any]
    description: str
    divisor: int = 1
    largest_stride: int = 1
    has_batch_norm: bool = False

    @property
    def adds_layers(self) -> bool:
        """Whether the changes add layers with random initial weights."""
        return str(self.changes.get('type', '')).endswith('InteractionQueryAdapter')


def adapt_backbone(model: Mapping, scope: str) -> AdaptedBackbone:
    """Change a model's backbone so that interaction queries can read it.

    mmpretrain's ViT becomes `InteractionQueryViT`. Other backbones go into an `InteractionQueryAdapter`.

    Args:
        model: config of the task's model.
        scope: registry scope of unscoped types.

    Raises:
        UsageError: if the backbone cannot be built or run, or has no feature maps that queries can read.
    """
    config = model['backbone']
    scope = model.get('_scope_', scope)
    backbone_class = registered_class(config, MODELS, scope)
    if isinstance(backbone_class, type) and issubclass(backbone_class, InteractionRecorder):
        return AdaptedBackbone({}, 'unchanged: queries can read it')
    if backbone_class is VisionTransformer:
        return AdaptedBackbone(
            {'type': 'lfi.InteractionQueryViT'},
            f'{type_name(config)} -> lfi.InteractionQueryViT, with the same parameter names and checkpoints',
        )
    return _wrap_in_adapter(model, scope)


def _wrap_in_adapter(model: Mapping, scope: str) -> AdaptedBackbone:
    """Wrap a backbone in an `InteractionQueryAdapter`."""
    config, is_changed = _with_pretrained_weights(model)
    plain = _build(config, scope)
    size, reads, maps = _find_reads(plain, config)
    description = type_name(config)
    if len(maps) < 2:
        extended = _with_two_outputs(config, plain, scope, size)
        if extended is not None:
            config, plain, is_changed = *extended, True
            maps = output_maps(plain, size)
            description += f' with out_indices={config["out_indices"]}'
    _check_strides(maps, description)
    adapter: dict[str, Any] = {'type': 'lfi.InteractionQueryAdapter', 'backbone': config}
    if reads:
        adapter['reads'] = reads
    try:
        adapted = _build(adapter, scope)
    except UsageError:
        # The backbone takes images of another size than the adapter's default.
        adapter['probe_size'] = size
        adapted = _build(adapter, scope)
    _check_adapter(plain, adapted, size)
    stride = max(max(feature_map.stride) for feature_map in maps)
    return AdaptedBackbone(
        {'_delete_': True, **adapter, 'backbone': config if is_changed else INHERITED},
        f'{description} in an lfi.InteractionQueryAdapter, which reads {_describe_reads(reads, maps)}',
        1 if _takes_any_size(adapted, size) else stride,
        stride,
        any(isinstance(module, _BatchNorm) for module in plain.modules()),
    )


def _check_strides(maps: list[FeatureMap], name: str) -> None:
    strides = [max(feature_map.stride) for feature_map in maps]
    if any(stride % min(strides) for stride in strides):
        raise UsageError(
            f'model.backbone: the last two maps of {name} have strides of {" and ".join(map(str, strides))} '
            'pixels, and queries read maps whose strides are multiples of the finest one: take another '
            'backbone, or images of another size'
        )


def _find_reads(plain: nn.Module, config: Mapping) -> tuple[int, tuple[str, ...], list[FeatureMap]]:
    """Find the feature maps of a backbone that queries should read.

    Returns:
        Side in pixels of a blank image that the backbone takes; names of its last two stages, empty if its
        outputs are used; and the maps.

    Raises:
        UsageError: if the backbone takes no image, or returns no maps.
    """
    setting = f'model.backbone.type={config["type"]!r}'
    img_size = config.get('img_size')
    configured = [img_size] if isinstance(img_size, int) else []
    sizes = dict.fromkeys([PROBE_SIZES[0], *configured, *PROBE_SIZES[1:]])
    failures: list[str] = []
    for size in sizes:
        try:
            _run_backbone(plain, size)
        # Backbones of a fixed size raise errors of any type at other images.
        except Exception as error:
            failures.append(f'{type(error).__name__}: {error}')
            continue
        outputs = output_maps(plain, size)
        reads = () if len(outputs) > 1 else last_stages(plain, size)
        if reads:
            return size, reads, find_feature_maps(plain, reads, (size, size))[1]
        if outputs:
            return size, (), outputs
    if len(failures) == len(sizes):
        raise UsageError(f'{setting} takes no image of {", ".join(map(str, sizes))} pixels: {failures[0]}')
    raise UsageError(
        f'{setting} returns no feature maps (B, C, H, W), and fewer than two of its stages do. Queries need '
        "maps: set the backbone to return maps (out_indices, out_type='featmap', features_only=True), or use "
        "mmpretrain's VisionTransformer, whose tokens are read"
    )


def _with_pretrained_weights(model: Mapping) -> tuple[dict, bool]:
    """Return the backbone's config with the weights of mmseg's `model.pretrained`, and whether it changed."""
    config = _copy_config(model['backbone'])
    pretrained = model.get('pretrained')
    if pretrained is None or pretrained_covers_model(model):
        return config, False
    return {**config, 'init_cfg': {'type': 'Pretrained', 'checkpoint': pretrained}}, True


def pretrained_covers_model(model: Mapping) -> bool:
    """Whether a model's `pretrained` is a checkpoint of the whole model, as in mmpretrain's classifiers."""
    return type_name(model) == 'ImageClassifier'


def _copy_config(config: Any) -> Any:
    return deepcopy(config.to_dict()) if hasattr(config, 'to_dict') else deepcopy(dict(config))


def _build(config: Mapping, scope: str) -> nn.Module:
    config = _copy_config(config)
    use_plain_norms(config)
    try:
        with MODELS.switch_scope_and_registry(scope) as registry:
            backbone: nn.Module = registry.build(config)
    # Backbones raise errors of any type at wrong arguments.
    except Exception as error:
        raise UsageError(
            f'model.backbone.type={config["type"]!r} cannot be built: {type(error).__name__}: {error}'
        ) from error
    return backbone


def _run_backbone(backbone: nn.Module, height: int, width: int | None = None) -> Any:
    # `eval` of some backbones returns nothing.
    backbone.eval()
    with torch.no_grad():
        return backbone(torch.zeros(1, 3, height, width or height))


def _with_two_outputs(
    config: Mapping, plain: nn.Module, scope: str, size: int
) -> tuple[dict, nn.Module] | None:
    """Return the backbone with its last two outputs, or None if `out_indices` cannot select these."""
    if 'out_indices' not in inspect.signature(type(plain).__init__).parameters:
        return None
    last = getattr(plain, 'out_indices', None)
    last = last[-1] if isinstance(last, list | tuple) and last else last
    if not isinstance(last, int) or last < 1:
        return None
    changed = {**config, 'out_indices': (last - 1, last)}
    try:
        built = _build(changed, scope)
        has_two = len(output_maps(built, size)) == 2
    except UsageError:
        return None
    return (changed, built) if has_two else None


def _check_adapter(plain: nn.Module, adapted: nn.Module, size: int) -> None:
    """Check that an adapter keeps its backbone's outputs, and gradients reach the maps that queries read.

    Raises:
        UsageError: if the outputs differ, or gradients cannot reach the maps that queries read.
    """
    adapted.load_state_dict(plain.state_dict(), strict=False)
    plain.eval(), adapted.eval()
    image = torch.rand(1, 3, size, size)
    name = type(plain).__name__
    with torch.no_grad():
        expected = _tensors(plain(image))
    recorder: Any = adapted
    with recorder.record_interactions(torch.rand(1, 2, recorder.query_dims)) as record:
        outputs = _tensors(adapted(image))
    if len(outputs) != len(expected) or not all(torch.equal(*pair) for pair in zip(outputs, expected)):
        raise UsageError(f'model.backbone: {name} returns other outputs in an adapter than alone')
    try:
        record.states.tokens[-1].sum().backward()
    except RuntimeError as error:
        raise UsageError(
            f'model.backbone: {name} changes the maps that queries read: {error}. Name other modules in reads'
        ) from error


def _takes_any_size(adapted: nn.Module, size: int) -> bool:
    """Whether an adapted backbone takes images of any height and width."""
    recorder: Any = adapted
    try:
        with recorder.record_interactions(torch.rand(1, 2, recorder.query_dims)):
            _run_backbone(adapted, size + 1, size + 3)
    # Backbones raise errors of any type at sizes that they do not take.
    except Exception:
        return False
    return True


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    return [tensor for value in values for tensor in _tensors(value)]


def _describe_reads(reads: tuple[str, ...], maps: list[FeatureMap]) -> str:
    names = reads or (('its only output',) if len(maps) == 1 else ('the last output but one', 'the last'))
    return ' and '.join(
        f'{name} ({feature_map.channels} channels, stride {max(feature_map.stride)})'
        for name, feature_map in zip(names, maps)
    )
