"""`InteractionQueryViT`: mmpretrain's ViT with interaction queries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lfi.registry import MODELS, build_component
from lfi.utils.options import check_flags, check_whole

from .conv_stem import ConvStem
from .interaction_encoder_layer import InteractionEncoderLayer
from .interaction_recorder import InteractionRecorder, InteractionStates
from .vitdet_attention import DecomposedRelativePosition

WRITE_BACKS = ('none', 'gated')


@MMPRETRAIN_MODELS.register_module()
@MODELS.register_module()
class InteractionQueryViT(InteractionRecorder, VisionTransformer):
    """Vision Transformer with interaction queries (Learning from Interactions, Gao et al., ICCV 2025).

    Queries start after the position embedding, read the patches in every block by the block's own
    projections, and persist from block to block. An image has K learned queries, and one query for each
    concept that it is asked about (`record_interactions`). The attention of this query to the patches is the
    concept's map. All arguments, outputs, parameter names and checkpoints of mmpretrain's `VisionTransformer`
    keep working. The outputs contain no query tokens, and asked queries never change the outputs.

    Args:
        num_queries: K, number of learned queries. Defaults to 0: asked queries alone.
        stem: config of an `lfi.ConvStem` in place of the patch projection, for training from scratch. The
            backbone sets the stem's patch size, widths and image size. Defaults to None: the plain
            projection, as in published checkpoints.
        write_back: 'gated' or 'none'. If 'gated', the patches in block l add tanh(a_l) times what they read
            from the learned queries. a_l is 0 at the start. So with 'none', and with 'gated' before training,
            the outputs equal those of the plain ViT bit for bit. Defaults to 'gated'.
        persistent: whether queries carry over from block to block. If False, each block starts from the
            initial queries, and blocks whose answers nothing reads are not asked. Defaults to True.
        interaction_layers: indices of the supervised blocks. Defaults to None: the last half.
        window_size: side, in patches, of the square windows within which patches attend to each other, as in
            ViTDet, for large inputs. Queries still read all patches. Needs `with_cls_token=False`. Defaults
            to None: global attention.
        global_attn_layers: indices of the blocks without windows. Defaults to ().
        use_rel_pos: whether the patches' attention has decomposed relative positions, as in ViTDet. Needs
            `with_cls_token=False`. Defaults to False.
        with_cp: whether to recompute activations in the backward pass to save memory. Defaults to False.
        **kwargs: arguments of mmpretrain's `VisionTransformer`.

    Raises:
        AssertionError: if `VisionTransformer` refuses `arch` or `out_indices`.
        ValueError: if another argument is out of range. The message names the argument and its value.
    """

    def __init__(
        self,
        arch: str | dict = 'base',
        *args: Any,
        num_queries: int = 0,
        stem: Mapping | None = None,
        write_back: str = 'gated',
        persistent: bool = True,
        interaction_layers: Sequence[int] | None = None,
        window_size: int | None = None,
        global_attn_layers: Sequence[int] = (),
        use_rel_pos: bool = False,
        with_cp: bool = False,
        out_indices: int | Sequence[int] = -1,
        **kwargs: Any,
    ) -> None:
        _check_choice('write_back', write_back, WRITE_BACKS)
        check_whole(0, num_queries=num_queries)
        check_flags(persistent=persistent, use_rel_pos=use_rel_pos, with_cp=with_cp)
        # VisionTransformer changes the list in place.
        out_indices = list(out_indices) if isinstance(out_indices, Sequence) else out_indices
        super().__init__(arch, *args, out_indices=out_indices, **kwargs)
        if stem is not None:
            self.patch_embed = self._build_stem(stem)

        self.num_queries = num_queries
        self.write_back = write_back
        self.persistent = persistent
        self.with_cp = with_cp
        if interaction_layers is None:
            interaction_layers = range(self.num_layers // 2, self.num_layers)
        self.interaction_layers = self._check_layers('interaction_layers', interaction_layers)
        if not self.interaction_layers:
            raise ValueError(f'interaction_layers=[] must name one or more of the {self.num_layers} blocks')
        self.interaction_queries = None
        if num_queries:
            self.interaction_queries = nn.Parameter(torch.zeros(1, num_queries, self.embed_dims))
            trunc_normal_(self.interaction_queries, std=0.02)
        for layer in self.layers:
            # The base class has built the layers. `InteractionEncoderLayer` adds methods, and a gate.
            layer.__class__ = InteractionEncoderLayer
            gate = nn.Parameter(torch.zeros(1)) if write_back == 'gated' and num_queries else None
            layer.register_parameter('query_gate', gate)
        for module in self.layers.modules():
            if isinstance(module, DropPath):
                # The base class sets numpy floats, at which torch.compile breaks the graph.
                module.drop_prob = float(module.drop_prob)
        if window_size is not None:
            check_whole(1, window_size=window_size)
            self._check_no_cls_token('window_size', window_size)
        if use_rel_pos:
            self._check_no_cls_token('use_rel_pos', use_rel_pos)
        global_attn_layers = self._check_layers('global_attn_layers', global_attn_layers)
        for i, layer in enumerate(self.layers):
            layer.window_size = None if i in global_attn_layers else window_size
            layer.relative_position = None
            if use_rel_pos:
                grid = (layer.window_size,) * 2 if layer.window_size else self.patch_resolution
                layer.relative_position = DecomposedRelativePosition(layer.attn.head_dims, tuple(grid))
        if self.frozen_stages > 0:
            # The base class froze its stages before they had gates.
            self._freeze_stages()

    def train(self, mode: bool = True) -> InteractionQueryViT:
        """Set training mode as in `VisionTransformer`. All modules of frozen stages stay in eval mode."""
        super().train(mode)
        if mode and self.frozen_stages > 0:
            # The base class's train() would enable DropPath in the frozen stages.
            self._freeze_stages()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of `VisionTransformer.forward`, and record interactions.

        Args:
            x: (B, 3, H, W), normalised images.
        """
        b = x.shape[0]
        x, grid = self.patch_embed(x)
        valid = self._valid_patches(b, grid, x.device)
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(b, -1, -1), x), dim=1)
        x = x + resize_pos_embed(
            self.pos_embed, self.patch_resolution, grid, self.interpolate_mode, self.num_extra_tokens
        )
        x = self.pre_norm(self.drop_after_pos(x))

        initial_queries = None
        if self.interaction_queries is not None:
            initial_queries = self.interaction_queries.expand(b, -1, -1)
        queries = initial_queries
        initial_asked_queries = self._initial_asked_queries(b)
        if initial_asked_queries is not None:
            # Match the patches' precision: autocast makes asked queries in half precision.
            initial_asked_queries = initial_asked_queries.to(x.dtype)
        asked_queries = initial_asked_queries
        outs: list[Tensor] = []
        attention: list[Tensor] = []
        tokens: list[Tensor] = []
        # Asked queries that start anew are needed where an answer is read: in supervised blocks and the last.
        answering_layers = {*self.interaction_layers, self.num_layers - 1}
        for i, layer in enumerate(self.layers):
            if not self.persistent:
                queries = initial_queries
                asked_queries = initial_asked_queries if i in answering_layers else None
            x, queries, asked_queries, maps = self._run(layer, x, queries, asked_queries, grid, valid)
            if self._records and i in self.interaction_layers:
                tokens.append(x)
                if maps is not None:
                    attention.append(maps)
            if i == self.num_layers - 1 and self.final_norm:
                x = self.ln1(x)
            if i in self.out_indices:
                outs.append(self._format_output(x, grid))

        layers = self.interaction_layers
        self._write(InteractionStates(asked_queries, tuple(attention), tuple(tokens), layers, grid, valid))
        return tuple(outs)

    @property
    def query_dims(self) -> int:
        """C, width of queries and tokens."""
        return self.embed_dims

    @property
    def patch_stride(self) -> tuple[int, int]:
        """Height and width in pixels from one patch to the next."""
        embed: Any = self.patch_embed
        return embed.stride if isinstance(embed, ConvStem) else embed.projection.stride

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the patch grid of an image of height x width pixels."""
        embed: Any = self.patch_embed
        if isinstance(embed, ConvStem):
            return embed.grid(height, width)
        conv, padding = embed.projection, embed.adaptive_padding
        pads = padding.get_pad_shape((height, width)) if padding else (2 * pad for pad in conv.padding)
        sides = zip((height, width), pads, conv.dilation, conv.kernel_size, conv.stride)
        rows, columns = ((size + pad - d * (k - 1) - 1) // step + 1 for size, pad, d, k, step in sides)
        return rows, columns

    def check_last_layer_recorded(self) -> None:
        """Check that `interaction_layers` has the last block."""
        last = self.num_layers - 1
        if self.interaction_layers[-1] != last:
            raise ValueError(
                f'interaction_layers={list(self.interaction_layers)} ends before block {last}, the last: '
                f'add {last}'
            )

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Layer index of a parameter, and number of layers. Learned queries belong to layer 0."""
        if param_name == prefix + 'interaction_queries':
            return 0, self.num_layers + 2
        return super().get_layer_depth(param_name, prefix)

    def _build_stem(self, cfg: Mapping) -> ConvStem:
        plain = self.patch_embed
        stem: ConvStem = build_component(
            'stem',
            cfg,
            type='lfi.ConvStem',
            patch_size=plain.projection.kernel_size,
            embed_dims=self.embed_dims,
            in_channels=plain.projection.in_channels,
            input_size=self.img_size,
        )
        if stem.init_out_size != tuple(plain.init_out_size):
            raise ValueError(
                f'stem={dict(cfg)!r} has a grid of {stem.init_out_size}, and the backbone one of '
                f'{tuple(plain.init_out_size)}: set patch_size and img_size in the backbone, not in the stem'
            )
        return stem

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any) -> None:
        name = f'{prefix}pos_embed'
        if not self.with_cls_token and f'{prefix}cls_token' in state_dict and name in state_dict:
            # The base class drops the class token's embedding only if the grid is the same.
            state_dict[name] = state_dict[name][:, 1:]
        if name in state_dict:
            _check_grid(state_dict[name].shape[1] - self.num_extra_tokens, self.patch_resolution)
        super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)

    def _run(
        self, layer: nn.Module, *args: Any
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        if self.with_cp and self.training:
            return checkpoint(layer, *args, use_reentrant=False)
        return layer(*args)

    def _check_no_cls_token(self, name: str, value: int) -> None:
        if self.cls_token is not None:
            raise ValueError(
                f'{name}={value} needs with_cls_token=False: a class token is not part of the grid'
            )

    def _check_layers(self, name: str, layers: Sequence[int]) -> tuple[int, ...]:
        if not isinstance(layers, Iterable) or not all(isinstance(i, int) for i in layers):
            raise ValueError(f'{name}={layers!r} must be a list of block indices')
        positive = tuple(i + self.num_layers if i < 0 else i for i in layers)
        if not all(0 <= i < self.num_layers for i in positive):
            raise ValueError(f'{name}={list(layers)} must name some of the {self.num_layers} blocks')
        if list(positive) != sorted(set(positive)):
            raise ValueError(f'{name}={list(layers)} must increase and name no block twice')
        return positive


def _check_grid(length: int, model_grid: Sequence[int]) -> None:
    """Check the grid of a checkpoint's position embedding, which mmpretrain assumes to be square.

    Args:
        length: number of locations of the checkpoint's grid.
        model_grid: rows and columns of the model's grid.

    Raises:
        ValueError: if the checkpoint's grid is not square, and has another number of locations.
    """
    rows, columns = model_grid
    side = math.isqrt(length)
    if length == rows * columns:
        if rows != columns and side * side == length:
            print_log(
                f"The checkpoint's position embedding of {length} locations is read as a grid of {rows} x "
                f'{columns}, that of the model, and not as one of {side} x {side}',
                'current',
            )
        return
    if side * side != length:
        raise ValueError(
            f"the checkpoint's position embedding has {length} locations, which is no square, but the "
            f"model's grid is {rows} x {columns}: set img_size and patch_size to those of the checkpoint"
        )
    if rows != columns:
        print_log(
            f"The checkpoint's position embedding of {length} locations is read as a grid of {side} x "
            f"{side}, and resized to the model's {rows} x {columns}",
            'current',
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f'{name}={value!r} is unknown; choose from {choices}')
