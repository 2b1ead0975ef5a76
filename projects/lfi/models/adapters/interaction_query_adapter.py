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
    # Of what the mixin stands before.
    _Backbone = nn.Module
else:
    _Backbone = object


class QueryLayers(BaseModule):
    """The weights that queries bring to a backbone: a layer for each map that is read.

    Args:
        maps: those that are read.
        query_dims: C, the queries' width.
        num_heads: of each layer's attention.
        num_queries: K, the learned queries.
    """

    def __init__(self, maps: Sequence[FeatureMap], query_dims: int, num_heads: int, num_queries: int) -> None:
        super().__init__()
        self.queries = None
        if num_queries:
            self.queries = nn.Parameter(torch.zeros(1, num_queries, query_dims))
            trunc_normal_(self.queries, std=0.02)
        finest = min(each.stride for each in maps)
        # One that passes `init_weights` on.
        self.layers = ModuleList(
            ReadLayer(each.channels, query_dims, num_heads, num_queries > 0, each.scale(finest))
            for each in maps
        )


class _Pass:
    """How far the queries of a forward pass have come, from map to map."""

    def __init__(
        self,
        image_size: tuple[int, int],
        grid: tuple[int, int],
        queries: Tensor | None,
        asked: Tensor | None,
        valid: Tensor | None,
    ) -> None:
        self.image_size, self.grid, self.valid = image_size, grid, valid
        self.queries, self.asked = queries, asked
        self.learns = torch.is_grad_enabled()
        self.tokens: list[Tensor] = []
        self.attention: list[Tensor] = []

    def read(self, layer: ReadLayer, feature: Tensor) -> Tensor:
        """Read a map (B, C', h, w); what learned queries make of it."""
        x = self.tokens[-1] if self.tokens else None
        feature, x, self.queries, self.asked, attention = layer(
            feature, x, self.queries, self.asked, self.grid, self.valid
        )
        self.tokens.append(x)
        if attention is not None:
            self.attention.append(attention)
        return feature

    def states(self) -> InteractionStates:
        """What the read-out is given."""
        layers = tuple(range(len(self.tokens)))
        return InteractionStates(
            self.asked, tuple(self.attention), tuple(self.tokens), layers, self.grid, self.valid
        )


class InteractionQueries(InteractionRecorder, _Backbone):
    """What `interaction_query_adapter` puts before the class of a backbone."""

    interaction: QueryLayers
    query_dims: int
    _maps: list[FeatureMap]
    _reads: Reads
    _pass: _Pass | None = None

    def forward(self, x: Tensor) -> Any:
        """Extract features (B, 3, H, W); the backbone's own outputs."""
        learned = self.interaction.queries
        if learned is None and not self._records:
            return super().forward(x)
        # len() would fix the number of images of an exported graph.
        b, height, width = x.shape[0], x.shape[-2], x.shape[-1]
        grid = self.patch_grid(height, width)
        queries = None if learned is None else learned.expand(b, -1, -1)
        # Its own, since a backbone may be run in the forward pass of another.
        run = _Pass((height, width), grid, queries, self._asked(b), self._valid_patches(b, grid, x.device))
        self._pass = run
        try:
            outputs = super().forward(x)
            if isinstance(self._reads[0], int):
                outputs = self._read_outputs(outputs)
        finally:
            self._pass = None
        if len(run.tokens) != len(self._reads):
            raise ValueError(
                f'{len(run.tokens)} of the {len(self._reads)} maps of reads={self._reads!r} came: the '
                'backbone passes modules by, as with set_grad_checkpointing. Read its outputs, or switch '
                'that off'
            )
        self._write(run.states())
        return outputs

    @property
    def patch_stride(self) -> tuple[int, int]:
        """Height and width in pixels from one location to the next: that of the finest map that is read."""
        return min(each.stride for each in self._maps)

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """The grid of an image of a size in pixels: that of the finest map that is read."""
        return min(self._maps, key=lambda each: each.stride).grid(height, width)

    def _read_outputs(self, outputs: Any) -> Any:
        if isinstance(outputs, Tensor):
            return self._read(0, outputs)
        read = list(outputs)
        places: Any = self._reads
        for layer, place in enumerate(places):
            read[place] = self._read(layer, read[place])
        return type(outputs)(read)

    def _read_module(self, layer: int, module: nn.Module, inputs: tuple, output: Tensor) -> Tensor | None:
        """The hook of a module whose map is read; None leaves the map as it is."""
        return None if self._pass is None else self._read(layer, output)

    def _read(self, layer: int, feature: Tensor) -> Tensor:
        run = self._pass
        assert run is not None
        if run.learns and not torch.is_grad_enabled():
            raise ValueError(
                f'reads={self._reads[layer]!r} lies where no gradient is kept, as inside a block with '
                'with_cp=True, and interactions would learn nothing: read the outputs of whole stages, or '
                'keep the activations'
            )
        expected = self._maps[layer].grid(*run.image_size)
        if tuple(feature.shape[-2:]) != expected:
            raise ValueError(
                f'reads={self._reads[layer]!r} gives a map of {tuple(feature.shape[-2:])} for images of '
                f'{run.image_size} pixels, and not of {expected}: let the data preprocessor pad them to a '
                f'multiple of {max(self._maps[layer].stride)} (pad_size_divisor), or, if that is not its '
                'stride, set probe_size to a multiple of it'
            )
        layers: Any = self.interaction.layers
        return run.read(layers[layer], feature)


@MODELS.register_module(name='InteractionQueryAdapter')
def interaction_query_adapter(
    backbone: Mapping,
    query_dims: int = 128,
    num_heads: int = 4,
    num_queries: int = 0,
    reads: Sequence[int] | Sequence[str] | None = None,
    probe_size: int | tuple[int, int] = 256,
) -> Any:
    """Build `dict(type='lfi.InteractionQueryAdapter', backbone=dict(type='mmdet.ResNet', ...))`.

    Queries read feature maps of the backbone, one after the other, by a small layer of their own for each,
    and persist from layer to layer: one for each concept that an image is asked about
    (`record_interactions`), whose attention over the locations is the concept's map, and K learned ones. All
    maps are brought to the grid of the finest. The tokens of a layer are the sum of the maps so far, as a
    residual stream adds them up.

    The backbone keeps its class, arguments, parameter names and checkpoints; what is added is named
    `interaction.*`. Its outputs are its own, whatever is asked. Learned queries write back to the maps,
    through a gate that is zero at the start, when the outputs still equal the backbone's own bit for bit.

    Args:
        backbone: config of any backbone whose outputs, or some of whose modules, give maps (B, C, H, W);
            unscoped types are of the default scope. For mmpretrain's ViT an `lfi.InteractionQueryViT` needs
            no further weights.
        query_dims: C, the width of queries and tokens. Defaults to 128.
        num_heads: of the attention in each layer. Defaults to 4.
        num_queries: K, the learned queries. Defaults to 0: asked queries alone.
        reads: which maps are read, in the order in which they come: places among the outputs, or names of
            modules, as `('layer3', 'layer4')` of a ResNet, whose learned queries then also reach the later
            stages. Defaults to None: the last two outputs, or the only one.
        probe_size: height and width in pixels of the blank image by which the maps' channels and strides
            are found when it is built, or one number for both: a multiple of all strides. Defaults to 256.

    Returns:
        The backbone, of a class that has `InteractionQueries` before its own.

    Raises:
        ValueError: if the backbone is asked in a way of its own already; if `query_dims` is not a multiple of
            `num_heads`; or as `find_feature_maps` says.
    """
    with MODELS.switch_scope_and_registry(None) as registry:
        plain = registry.build(backbone)
    if isinstance(plain, InteractionRecorder):
        raise ValueError(f'backbone={dict(backbone)!r} can be asked by itself: use it without the adapter')
    check_whole(1, query_dims=query_dims, num_heads=num_heads)
    check_whole(0, num_queries=num_queries)
    if query_dims % num_heads:
        raise ValueError(f'query_dims={query_dims} must be a multiple of num_heads={num_heads}')
    size = (probe_size, probe_size) if isinstance(probe_size, int) else (probe_size[0], probe_size[1])
    found, maps = find_feature_maps(plain, reads, size)
    plain.__class__ = class_with_mixin('InteractionQuery', InteractionQueries, type(plain))
    plain.query_dims, plain._reads, plain._maps = query_dims, found, maps
    plain.interaction = QueryLayers(maps, query_dims, num_heads, num_queries)
    modules = dict(plain.named_modules())
    for layer, read in enumerate(found):
        if isinstance(read, str):
            modules[read].register_forward_hook(partial(plain._read_module, layer))
    return plain
