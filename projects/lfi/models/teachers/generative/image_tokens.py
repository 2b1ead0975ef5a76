"""Image side of generative VLMs: image tokens, and the grid of their locations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..loading.weights_source import channel_values


class ImageTokens(nn.Module, ABC):
    """Base class of the image sides of generative VLMs, which map pixels to image tokens and a grid.

    Images are preprocessed as tensors, with the settings of the model's processor.

    Args:
        model: transformers' image-text-to-text model.
        processor: processor of the model.

    Attributes:
        model: the model.
        image_token, image_token_id: placeholder of an image token in a prompt, and its token id.
        cell: height and width in pixels of a location of the grid.
        preprocess_cfg: input size, and the processor's mean, std and interpolation.

    Raises:
        ValueError: if the processor does not scale pixels to [0, 1], its mean or std is invalid, or the
            model's image tokens have no grid.
    """

    cell: int

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__()
        self.model = model
        self.image_token: str = processor.image_token
        self.image_token_id: int = processor.image_token_id
        pixels = processor.image_processor
        if not pixels.do_rescale or abs(255 * pixels.rescale_factor - 1) > 1e-6:
            raise ValueError(
                f'the processor has do_rescale={pixels.do_rescale} and rescale_factor='
                f'{pixels.rescale_factor}: pixels must be scaled to [0, 1], by 1/255'
            )
        normalises = pixels.do_normalize
        self.preprocess_cfg: dict[str, Any] = dict(
            size=None,
            mean=list(channel_values('image_mean', pixels.image_mean)) if normalises else [0.0] * 3,
            std=list(channel_values('image_std', pixels.image_std)) if normalises else [1.0] * 3,
            # PyTorch has no Lanczos interpolation of tensors.
            interpolation='bilinear' if pixels.resample == Image.Resampling.BILINEAR else 'bicubic',
        )

    @property
    def decoder(self) -> Any:
        """Text decoder without the head."""
        return self.model.model.language_model

    @property
    def bare_image(self) -> str:
        """Text for the image in a prompt if the processor has no chat template."""
        return self.image_token

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Grid (h, w) of an image of a size in pixels.

        Raises:
            ValueError: if the size is not a multiple of the cell.
        """
        self._check_multiple(size, self.cell)
        return size[0] // self.cell, size[1] // self.cell

    def text(self, size: tuple[int, int]) -> str:
        """Text that replaces the single image token of a prompt, for an image of `size` (h, w) pixels."""
        h, w = self.grid(size)
        return self.image_token * (h * w)

    def forward(self, images: Tensor) -> Tensor:
        """Compute image tokens by the model's own `get_image_features`.

        Args:
            images: (B, 3, H, W), normalised by the processor's mean and std.

        Returns:
            Image tokens (B, N, D), in the order of the prompt.

        Raises:
            ValueError: if the model cannot run with the values of its config.
        """
        inputs = self.model_inputs(images.to(self.model.dtype))
        try:
            features = self.model.get_image_features(**inputs)
        # transformers does not check a config's values and raises any of these.
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(
                f'the model {self.model.name_or_path} cannot read an image with its config: {error!r}'
            ) from error
        # Each item is the tokens of one image or one tile, (n, D).
        return torch.cat(tuple(features)).unflatten(0, (len(images), -1))

    @abstractmethod
    def model_inputs(self, images: Tensor) -> dict[str, Any]:
        """Prepare the arguments of `get_image_features` for images (B, 3, H, W)."""

    def to_grid(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Arrange values of image tokens (..., N) on the grid: (..., h, w)."""
        return values.unflatten(-1, self.grid(size))

    def position_ids(self, ids: Tensor, size: tuple[int, int]) -> Tensor:
        """Position ids (..., 1, n) of the decoder for a prompt's token ids (n,)."""
        return torch.arange(len(ids), device=ids.device)[None]

    def _check_multiple(self, size: tuple[int, int], side: int) -> None:
        if size[0] % side or size[1] % side:
            raise ValueError(f'input_size={size} must be a multiple of {side}, the side of a cell or tile')


class PlainGrid(ImageTokens):
    """LLaVA's image side: one token per patch, row by row (Liu et al., NeurIPS 2023, section 4.1).

    Position embeddings are interpolated if the input size is not the tower's own.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        vision = model.config.vision_config
        if vision.model_type not in ('clip_vision_model', 'siglip_vision_model'):
            raise ValueError(
                f'the image tokens of a LLaVA with the vision tower {vision.model_type!r} have no '
                'known grid: only those of CLIP and SigLIP do'
            )
        class_token = vision.model_type == 'clip_vision_model'
        if class_token != (model.config.vision_feature_select_strategy == 'default'):
            raise ValueError(
                f'vision_feature_select_strategy={model.config.vision_feature_select_strategy!r} with the '
                f"vision tower {vision.model_type!r} leaves no plain grid of patches: set 'default' for CLIP,"
                " to drop the class token, and 'full' for SigLIP, which has no class token"
            )
        self.cell = vision.patch_size
        self.own_size: int = vision.image_size
        # Patches of 14 px do not fill SigLIP's own 384 px.
        self.preprocess_cfg['size'] = self.own_size // self.cell * self.cell

    def model_inputs(self, images: Tensor) -> dict[str, Any]:
        """Prepare the model's arguments. See `ImageTokens.model_inputs`."""
        is_own_size = tuple(images.shape[-2:]) == (self.own_size, self.own_size)
        return dict(pixel_values=images, **({} if is_own_size else dict(interpolate_pos_encoding=True)))


class TileGrid(ImageTokens):
    """Idefics3's and SmolVLM's image side: tiles, row by row, then the complete image scaled to one tile.

    (Laurençon et al., "Building and better understanding vision-language models", 2024.) If the input has the
    size of one tile, or the processor has `do_image_splitting=False`, there is only the complete image. The
    default input is a square with the processor's longest edge as its side. The complete image is scaled
    bicubically; the processor's default is Lanczos.

    The value of a token of the complete image is spread evenly over the cells that it covers, and added to
    the values of the tiles' tokens, so that no attention is lost.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        pixels = processor.image_processor
        self.splits: bool = pixels.do_image_splitting
        self.tile: int = pixels.max_image_size['longest_edge']
        self.cell = model.config.vision_config.patch_size * model.config.scale_factor
        self.cells_per_side = self.tile // self.cell
        if processor.image_seq_len != self.cells_per_side**2 or self.tile % self.cell:
            raise ValueError(
                f'image_seq_len={processor.image_seq_len} of the processor must be the number of tokens of a '
                f'tile: {self.tile} px in cells of {self.cell}'
            )
        edge = pixels.size['longest_edge'] if self.splits else self.tile
        self.preprocess_cfg['size'] = -(-edge // self.tile) * self.tile
        self.separator: str = processor.fake_image_token
        self.complete_tag = getattr(processor, 'global_image_tag', None) or processor.global_image_token

    @property
    def decoder(self) -> Any:
        """Text decoder without the head."""
        return self.model.model.text_model

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Grid (h, w) of an image. See `ImageTokens.grid`."""
        if not self.splits and size != (self.tile, self.tile):
            raise ValueError(
                f'input_size={size} must be {self.tile}: the processor has do_image_splitting=False'
            )
        self._check_multiple(size, self.tile)
        return super().grid(size)

    def text(self, size: tuple[int, int]) -> str:
        """Tokens of each tile, with the separators of tiles and rows. See `ImageTokens.text`."""
        rows, cols = self._tiles(size)
        tokens = self.image_token * self.cells_per_side**2
        lines = [
            ''.join(f'{self.separator}<row_{row + 1}_col_{col + 1}>{tokens}' for col in range(cols)) + '\n'
            for row in range(rows)
        ]
        end = f'{self.separator}{self.complete_tag}{tokens}{self.separator}'
        return ''.join(lines) + ('\n' + end if lines else end)

    def model_inputs(self, images: Tensor) -> dict[str, Any]:
        """Split images into tiles (B, n, 3, T, T). See `ImageTokens.model_inputs`."""
        t = self.tile
        rows, cols = self._tiles(tuple(images.shape[-2:]))
        tiles = images.unfold(2, t, t).unfold(3, t, t).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
        if rows:
            options: dict[str, Any] = dict(mode='bicubic', align_corners=False, antialias=True)
            complete = F.interpolate(images.float(), (t, t), **options).to(images)
            tiles = torch.cat((tiles, complete[:, None]), 1)
        # The model drops tiles of zeros as padding.
        return dict(pixel_values=torch.where(tiles == 0, torch.finfo(tiles.dtype).tiny, tiles))

    def to_grid(self, values: Tensor, size: tuple[int, int]) -> Tensor:
        """Arrange the tiles, and add the complete image's values. See `ImageTokens.to_grid`."""
        rows, cols = self._tiles(size)
        tokens = values.unflatten(-1, (-1, self.cells_per_side, self.cells_per_side))  # [..., n, s, s]
        complete = tokens[..., -1, :, :]
        if not rows:
            return complete
        # [..., rows, cols, s, s] to [..., rows, s, cols, s].
        tiles = tokens[..., :-1, :, :].unflatten(-3, (rows, cols)).transpose(-3, -2)
        tiles = tiles.flatten(-2).flatten(-3, -2)
        spread = complete.repeat_interleave(rows, -2).repeat_interleave(cols, -1) / (rows * cols)
        return tiles + spread

    def _tiles(self, size: tuple[int, ...]) -> tuple[int, int]:
        """Number of rows and columns of tiles of an image; (0, 0) for an image of a tile's size."""
        rows, cols = size[0] // self.tile, size[1] // self.tile
        return (0, 0) if (rows, cols) == (1, 1) else (rows, cols)


class MergedPatches(ImageTokens):
    """Qwen2-VL's and Qwen2.5-VL's image side: one token per square of patches, 2 x 2 as published.

    (Wang et al., "Qwen2-VL: Enhancing Vision-Language Model's Perception of the World at Any Resolution",
    2024, section 2.1.) The input size is any multiple of a square's side. The default has 16 x 16 squares,
    448 px for the published models.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        vision = model.config.vision_config
        self.patch: int = vision.patch_size
        self.merge: int = vision.spatial_merge_size
        self.frames: int = vision.temporal_patch_size
        self.cell = self.patch * self.merge
        self.preprocess_cfg['size'] = 16 * self.cell

    @property
    def bare_image(self) -> str:
        """Text for the image in a prompt if the processor has no chat template."""
        return f'<|vision_start|>{self.image_token}<|vision_end|>'

    def to(self, *args: Any, **kwargs: Any) -> MergedPatches:
        """Move the module. `memory_format` is ignored: 3D convolutions have no `channels_last`."""
        kwargs.pop('memory_format', None)
        return super().to(*args, **kwargs)

    def model_inputs(self, images: Tensor) -> dict[str, Any]:
        """Prepare the patches, ordered by squares, (B * n, 3 * frames * p * p), and the patches' grid."""
        b = len(images)
        h, w = self.grid((images.shape[-2], images.shape[-1]))
        x = images.view(b, 3, h, self.merge, self.patch, w, self.merge, self.patch)
        x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)  # [B, h, w, merge, merge, 3, p, p]
        # A still image is a video of equal frames.
        patches = x.unsqueeze(6).expand(*x.shape[:6], self.frames, *x.shape[6:])
        grid = torch.tensor([[1, h * self.merge, w * self.merge]], device=images.device).expand(b, -1)
        return dict(pixel_values=patches.flatten(5).flatten(0, 4), image_grid_thw=grid)

    def position_ids(self, ids: Tensor, size: tuple[int, int]) -> Tensor:
        """Position ids of time, height and width, (3, 1, n). See `ImageTokens.position_ids`."""
        h, w = self.grid(size)
        grid = torch.tensor([[1, h * self.merge, w * self.merge]], device=ids.device)
        return self.model.model.get_rope_index(ids[None], image_grid_thw=grid)[0]
