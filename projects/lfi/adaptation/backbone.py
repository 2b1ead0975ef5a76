"""From a backbone to one that can be asked."""

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

from lfi.errors import UsageError
from lfi.models.adapters.feature_maps import FeatureMap, find_feature_maps
from lfi.models.backbones import InteractionRecorder
from lfi.utils.config_types import type_name

from .kinds import kind_of
from .source import Expression
from .stages import SIZES, last_stages, outputs_of

INHERITED = Expression('{{_base_.model.backbone}}')


@dataclass(frozen=True)
class AskedBackbone:
    """A backbone that can be asked.

    Args:
        changes: what a config says of it that inherits from the task's own.
        words: what was changed.
        divisor: of which height and width of an image must be multiples; 1 where any will do.
        largest_stride: in pixels, of the outputs.
    """

    changes: Mapping[str, Any]
    words: str
    divisor: int = 1
    largest_stride: int = 1

    @property
    def adds_layers(self) -> bool:
        """Whether it has layers of its own, which begin as they are drawn."""
        return str(self.changes.get('type', '')).endswith('InteractionQueryAdapter')


def asked_backbone(model: Mapping, scope: str) -> AskedBackbone:
    """Let a model's backbone be one that can be asked.

    mmpretrain's ViT becomes ours, and others go into an adapter.

    Args:
        model: config of the task's model.
        scope: where types are looked up that name no scope.

    Raises:
        UsageError: if the backbone cannot be built or run, gives no feature maps, or none that can be read.
    """
    config = model['backbone']
    scope = model.get('_scope_', scope)
    kind = kind_of(config, MODELS, scope)
    if isinstance(kind, type) and issubclass(kind, InteractionRecorder):
        return AskedBackbone({}, 'is asked as it is')
    if kind is VisionTransformer:
        return AskedBackbone(
            {'type': 'lfi.InteractionQueryViT'},
            f'{type_name(config)} -> lfi.InteractionQueryViT, of the same names and checkpoints',
        )
    return _adapted(model, scope)


def _adapted(model: Mapping, scope: str) -> AskedBackbone:
    """A backbone in an adapter."""
    config, own = _with_weights(model)
    plain = _build(config, scope)
    size, reads, maps = _maps_of(plain, config)
    words = type_name(config)
    if len(maps) < 2:
        more = _with_the_output_before(config, plain, scope, size)
        if more is not None:
            config, plain, own = *more, True
            maps = outputs_of(plain, size)
            words += f' with out_indices={config["out_indices"]}'
    adapter: dict[str, Any] = {'type': 'lfi.InteractionQueryAdapter', 'backbone': config}
    if reads:
        adapter['reads'] = reads
    try:
        asked = _build(adapter, scope)
    except UsageError:
        # It sees images of another size than the adapter's own.
        adapter['probe_size'] = size
        asked = _build(adapter, scope)
    _check_same(plain, asked, size)
    stride = max(max(each.stride) for each in maps)
    return AskedBackbone(
        {'_delete_': True, **adapter, 'backbone': config if own else INHERITED},
        f'{words} in an lfi.InteractionQueryAdapter, which reads {_in_words(reads, maps)}',
        1 if _takes_any_size(asked, size) else stride,
        stride,
    )


def _maps_of(plain: nn.Module, config: Mapping) -> tuple[int, tuple[str, ...], list[FeatureMap]]:
    """What queries should read of a backbone.

    Returns:
        The side of a blank image that it sees; the names of its last two stages, none where two outputs are
        read or the only one; and the maps.

    Raises:
        UsageError: if it sees no image, or gives no maps.
    """
    named = f'model.backbone.type={config["type"]!r}'
    own = config.get('img_size')
    sizes = dict.fromkeys([SIZES[0], *([own] if isinstance(own, int) else []), *SIZES[1:]])
    failures: list[str] = []
    for size in sizes:
        try:
            _outputs(plain, size)
        # What a backbone of a fixed size says of other images differs from one to the next.
        except Exception as error:
            failures.append(f'{type(error).__name__}: {error}')
            continue
        outputs = outputs_of(plain, size)
        reads = () if len(outputs) > 1 else last_stages(plain, size)
        if reads:
            return size, reads, find_feature_maps(plain, reads, (size, size))[1]
        if outputs:
            return size, (), outputs
    if len(failures) == len(sizes):
        raise UsageError(f'{named} sees no image of {", ".join(map(str, sizes))} pixels: {failures[0]}')
    raise UsageError(
        f'{named} gives no feature maps (B, C, H, W), and no two of its stages do: interactions are read '
        "from maps. Let it give maps (out_indices, out_type='featmap', features_only=True), or take "
        "mmpretrain's VisionTransformer, whose tokens are read"
    )


def _with_weights(model: Mapping) -> tuple[dict, bool]:
    """The backbone's config with the weights that mmseg's models name beside it; whether that changes it."""
    config = _plain(model['backbone'])
    pretrained = model.get('pretrained')
    if pretrained is None or has_weights_of_its_own(model):
        return config, False
    return {**config, 'init_cfg': {'type': 'Pretrained', 'checkpoint': pretrained}}, True


def has_weights_of_its_own(model: Mapping) -> bool:
    """Whether a model's `pretrained` is no business of its backbone: mmpretrain's classifiers load all."""
    return type_name(model) == 'ImageClassifier'


def _plain(config: Any) -> Any:
    return deepcopy(config.to_dict()) if hasattr(config, 'to_dict') else deepcopy(dict(config))


def _build(config: Mapping, scope: str) -> nn.Module:
    try:
        with MODELS.switch_scope_and_registry(scope) as registry:
            built: nn.Module = registry.build(_plain(config))
    # What a backbone raises at wrong arguments differs from one to the next.
    except Exception as error:
        raise UsageError(
            f'model.backbone.type={config["type"]!r} cannot be built: {type(error).__name__}: {error}'
        ) from error
    return built


def _outputs(backbone: nn.Module, height: int, width: int | None = None) -> Any:
    # Some of them give nothing back.
    backbone.eval()
    with torch.no_grad():
        return backbone(torch.zeros(1, 3, height, width or height))


def _with_the_output_before(
    config: Mapping, plain: nn.Module, scope: str, size: int
) -> tuple[dict, nn.Module] | None:
    """The backbone with the output before its last one too, where it has the option `out_indices`."""
    if 'out_indices' not in inspect.signature(type(plain).__init__).parameters:
        return None
    last = getattr(plain, 'out_indices', None)
    last = last[-1] if isinstance(last, list | tuple) and last else last
    if not isinstance(last, int) or last < 1:
        return None
    changed = {**config, 'out_indices': (last - 1, last)}
    try:
        built = _build(changed, scope)
        two = len(outputs_of(built, size)) == 2
    except UsageError:
        return None
    return (changed, built) if two else None


def _check_same(plain: nn.Module, asked: nn.Module, size: int) -> None:
    """Check that an adapted backbone is the plain one, and that gradients reach what queries read.

    Raises:
        UsageError: if it is not, or they do not.
    """
    asked.load_state_dict(plain.state_dict(), strict=False)
    plain.eval(), asked.eval()
    image = torch.rand(1, 3, size, size)
    kind = type(plain).__name__
    with torch.no_grad():
        expected = _tensors(plain(image))
    recorder: Any = asked
    with recorder.record_interactions(torch.rand(1, 2, recorder.query_dims)) as record:
        found = _tensors(asked(image))
    if len(found) != len(expected) or not all(torch.equal(*pair) for pair in zip(found, expected)):
        raise UsageError(f'model.backbone: {kind} gives other outputs in an adapter than alone')
    try:
        record.states.tokens[-1].sum().backward()
    except RuntimeError as error:
        raise UsageError(
            f'model.backbone: {kind} changes the maps that queries read: {error}. Name other modules in reads'
        ) from error


def _takes_any_size(asked: nn.Module, size: int) -> bool:
    """Whether an adapted backbone takes images whose sides are multiples of nothing."""
    recorder: Any = asked
    try:
        with recorder.record_interactions(torch.rand(1, 2, recorder.query_dims)):
            _outputs(asked, size + 1, size + 3)
    # A backbone of one size only takes what its pipeline gives, and others say so in their own words.
    except Exception:
        return False
    return True


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    return [tensor for value in values for tensor in _tensors(value)]


def _in_words(reads: tuple[str, ...], maps: list[FeatureMap]) -> str:
    named = reads or (('its only output',) if len(maps) == 1 else ('the last output but one', 'the last'))
    return ' and '.join(
        f'{name} ({each.channels} channels, stride {max(each.stride)})' for name, each in zip(named, maps)
    )
