"""Interaction queries for any backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from mmengine.model import BaseModule, ModuleList
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from lfi.models.backbones import InteractionRecorder, InteractionStates
from lfi.registry import MODELS
from lfi.utils.modules import class_with_mixin
from lfi.utils.options import check_whole

from .feature_maps import FeatureMap, Reads, find_feature_maps
from .read_layer import ReadLayer

if TYPE_CHECKING:
    # Type checkers then know that the other base class is a module.
    _Backbone = nn.Module
else:
    _Backbone = object


class QueryLayers(BaseModule):
    """Weights that interaction queries add to a backbone: learned queries, and a layer for each map.

    Args:
        maps: maps to read.
        query_dims: C, width of the queries.
        num_heads: number of attention heads of each layer.
        num_queries: K, number of learned queries.
    """

    def __init__(self, maps: Sequence[FeatureMap], query_dims: int, num_heads: int, num_queries: int) -> None:
        super().__init__()
        self.queries = None
        if num_queries:
            self.queries = nn.Parameter(torch.zeros(1, num_queries, query_dims))
            trunc_normal_(self.queries, std=0.02)
        finest = min(feature_map.stride for feature_map in maps)
        # mmengine's ModuleList calls `init_weights` of its modules.
        self.layers = ModuleList(
            ReadLayer(m.channels, query_dims, num_heads, num_queries > 0, m.scale(finest)) for m in maps
        )


class _ForwardPass:
    """State of the queries and tokens during a forward pass."""

    def __init__(
        self,
        image_size: tuple[int, int],
        grid: tuple[int, int],
        queries: Tensor | None,
        asked_queries: Tensor | None,
        valid: Tensor | None,
    ) -> None:
        self.image_size, self.grid, self.valid = image_size, grid, valid
        self.queries, self.asked_queries = queries, asked_queries
        self.grad_enabled = torch.is_grad_enabled()
        self.tokens: list[Tensor] = []
        self.attention: list[Tensor] = []

    def read(self, layer: ReadLayer, feature: Tensor) -> Tensor:
        """Let the queries read a map (B, C', h, w); return the map with the learned queries' write-back."""
        x = self.tokens[-1] if self.tokens else None
        feature, x, self.queries, self.asked_queries, attention = layer(
            feature, x, self.queries, self.asked_queries, self.grid, self.valid
        )
        self.tokens.append(x)
        if attention is not None:
            self.attention.append(attention)
        return feature

    def states(self) -> InteractionStates:
        """Recorded states, for the read-out."""
        layers = tuple(range(len(self.tokens)))
        return InteractionStates(
            self.asked_queries, tuple(self.attention), tuple(self.tokens), layers, self.grid, self.valid
        )


class InteractionQueries(InteractionRecorder, _Backbone):
    """Mixin that `interaction_query_adapter` puts before the class of a backbone."""

    interaction: QueryLayers
    query_dims: int
    _maps: list[FeatureMap]
    _reads: Reads
    _unread: list[str]
    _pass: _ForwardPass | None = None

    def forward(self, x: Tensor) -> Any:
        """Return the backbone's own outputs for images (B, 3, H, W), and record interactions."""
        learned = self.interaction.queries
        if learned is None and not self._records:
            return super().forward(x)
        # len() would fix the batch size of an exported graph.
        b, height, width = x.shape[0], x.shape[-2], x.shape[-1]
        grid = self.patch_grid(height, width)
        queries = None if learned is None else learned.expand(b, -1, -1)
        asked_queries, valid = self._initial_asked_queries(b), self._valid_patches(b, grid, x.device)
        self._pass = state = _ForwardPass((height, width), grid, queries, asked_queries, valid)
        try:
            outputs = super().forward(x)
            if isinstance(self._reads[0], int):
                outputs = self._read_outputs(outputs)
        finally:
            self._pass = None
        if len(state.tokens) != len(self._reads):
            raise ValueError(
                f'the forward pass gave {len(state.tokens)} of the {len(self._reads)} maps of '
                f'reads={self._reads!r}: the backbone bypasses modules, as with set_grad_checkpointing. Read '
                'its outputs, or switch checkpointing off'
            )
        self._write(state.states())
        return outputs

    @property
    def patch_stride(self) -> tuple[int, int]:
        """Height and width in pixels from one location to the next, in the finest map that is read."""
        return min(feature_map.stride for feature_map in self._maps)

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """Grid (H, W) of the finest map that is read, for an image of height x width pixels."""
        return min(self._maps, key=lambda feature_map: feature_map.stride).grid(height, width)

    def check_last_layer_recorded(self) -> None:
        """Check that no output, or module with weights, follows the last map that is read."""
        if self._unread:
            raise ValueError(f'reads={list(self._reads)} ends before {self._unread[0]}: read a later map too')

    def _read_outputs(self, outputs: Any) -> Any:
        if isinstance(outputs, Tensor):
            return self._read(0, outputs)
        maps = list(outputs)
        indices: Any = self._reads
        for layer, index in enumerate(indices):
            maps[index] = self._read(layer, maps[index])
        return type(outputs)(maps)

    def _read_module(self, layer: int, module: nn.Module, inputs: tuple, output: Tensor) -> Tensor | None:
        """Forward hook of a module whose map is read. None leaves the map unchanged."""
        return None if self._pass is None else self._read(layer, output)

    def _read(self, layer: int, feature: Tensor) -> Tensor:
        state = self._pass
        assert state is not None
        if state.grad_enabled and not torch.is_grad_enabled():
            raise ValueError(
                f'reads={self._reads[layer]!r} is computed without gradients, as inside a block with '
                'with_cp=True, and interactions would learn nothing: read the outputs of whole stages, or '
                'set with_cp=False'
            )
        expected = self._maps[layer].grid(*state.image_size)
        if tuple(feature.shape[-2:]) != expected:
            raise ValueError(
                f'reads={self._reads[layer]!r} gives a map of {tuple(feature.shape[-2:])} for images of '
                f'{state.image_size} pixels, and not of {expected}: set pad_size_divisor of the data '
                f'preprocessor to a multiple of {max(self._maps[layer].stride)}, or, if the map has another '
                'stride, set probe_size to a multiple of it'
            )
        layers: Any = self.interaction.layers
        return state.read(layers[layer], feature)


@MODELS.register_module(name='InteractionQueryAdapter')
def interaction_query_adapter(
    backbone: Mapping,
    query_dims: int = 128,
    num_heads: int = 4,
    num_queries: int = 0,
    reads: Sequence[int] | Sequence[str] | None = None,
    probe_size: int | tuple[int, int] = 256,
) -> Any:
    """Build a backbone with interaction queries.

    The config is `dict(type='lfi.InteractionQueryAdapter', backbone=dict(type='mmdet.ResNet', ...))`. Queries
    read feature maps of the backbone one after the other, each map by a small layer, and persist from layer
    to layer. An image has K learned queries, and one query for each concept that it is asked about
    (`record_interactions`). The attention of this query over the locations is the concept's map. All maps are
    resized to the finest grid. The tokens of a layer are the sum of the maps so far, as in a residual stream.

    The backbone keeps its class, arguments, parameter names and checkpoints. New parameters are named
    `interaction.*`. Asked queries never change the backbone's outputs. Learned queries write back to the maps
    through a gate. With the initial gate, zero, the outputs equal those of the plain backbone bit for bit.

    Args:
        backbone: config of a backbone whose outputs or modules' outputs are maps (B, C, H, W). Types without
            scope are of the default scope. For mmpretrain's ViT, `lfi.InteractionQueryViT` adds no weights.
        query_dims: C, width of queries and tokens. Defaults to 128.
        num_heads: number of attention heads in each layer. Defaults to 4.
        num_queries: K, number of learned queries. Defaults to 0: asked queries alone.
        reads: maps to read, in the order of the forward pass: indices of the backbone's outputs, or names of
            its modules, such as `('layer3', 'layer4')` of a ResNet. With names of modules, later stages
            see the learned queries' write-back. Defaults to None: the last two outputs, or the only one.
        probe_size: height and width in pixels, or one number for both, of a blank image, from which the maps'
            channels and strides are measured: a multiple of all strides. Defaults to 256.

    Returns:
        The backbone. Its class now inherits from `InteractionQueries` and from the backbone's own class.

    Raises:
        ValueError: if the backbone records interactions already, `query_dims` is not a multiple of
            `num_heads`, or `find_feature_maps` refuses the backbone.
    """
    with MODELS.switch_scope_and_registry(None) as registry:
        plain = registry.build(backbone)
    if isinstance(plain, InteractionRecorder):
        raise ValueError(f'backbone={dict(backbone)!r} has queries of its own: use it without the adapter')
    check_whole(1, query_dims=query_dims, num_heads=num_heads)
    check_whole(0, num_queries=num_queries)
    if query_dims % num_heads:
        raise ValueError(f'query_dims={query_dims} must be a multiple of num_heads={num_heads}')
    size = (probe_size, probe_size) if isinstance(probe_size, int) else (probe_size[0], probe_size[1])
    sources, maps, unread = find_feature_maps(plain, reads, size)
    plain.__class__ = class_with_mixin('InteractionQuery', InteractionQueries, type(plain))
    plain.query_dims, plain._reads, plain._maps, plain._unread = query_dims, sources, maps, unread
    plain.interaction = QueryLayers(maps, query_dims, num_heads, num_queries)
    modules = dict(plain.named_modules())
    for layer, source in enumerate(sources):
        if isinstance(source, str):
            modules[source].register_forward_hook(partial(plain._read_module, layer))
    return plain
