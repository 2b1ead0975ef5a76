"""What a batch of an OpenMMLab data loader says about its images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfi.errors import UsageError
from lfi.models.teachers import PixelFormat
from lfi.structures import Pieces
from lfi.structures.interaction_cache import StoredMaps


def mark(labels: Tensor, concepts: Sequence[Tensor]) -> Tensor:
    """Set the entries of labels (B, C) that each image's concepts (n,) name to 1, in place."""
    rows = torch.tensor([row for row, its in enumerate(concepts) for _ in range(len(its))], dtype=torch.long)
    labels[rows.to(labels.device, non_blocking=True), torch.cat(list(concepts))] = 1
    return labels


def pixel_format(data_preprocessor: torch.nn.Module) -> PixelFormat:
    """How an OpenMMLab data preprocessor makes its pixels; images are loaded as BGR.

    Raises:
        UsageError: If it is of a type that does not say.
    """
    if not hasattr(data_preprocessor, '_enable_normalize'):
        raise UsageError(
            f'data_preprocessor.type={type(data_preprocessor).__name__!r} does not say how it makes pixels, '
            "which a teacher must know: take the task's own, or inherit from mmengine's ImgDataPreprocessor"
        )
    rgb = bool(
        getattr(data_preprocessor, 'to_rgb', False)
        or getattr(data_preprocessor, '_channel_conversion', False)
        # mmseg 1.2 has its own.
        or getattr(data_preprocessor, 'channel_conversion', False)
    )
    if not data_preprocessor._enable_normalize:
        return PixelFormat.raw(rgb)
    # One value stands for all channels.
    mean, std = (getattr(data_preprocessor, name).flatten().expand(3).tolist() for name in ('mean', 'std'))
    return PixelFormat(tuple(mean), tuple(std), rgb)


def seen_canvas(backbone: torch.nn.Module, size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """Height and width in pixels of what a ViT's patches cover: they pad an image at its right and below.

    Args:
        backbone: a ViT, or one whose grid covers each image exactly.
        size: height and width of the images.
        grid: of the patches.

    Raises:
        ValueError: if images reach beyond what the patches cover, as with `patch_cfg=dict(padding=0)`.
    """
    stride: tuple[int, int] | None = getattr(backbone, 'patch_stride', None)
    if stride is None:
        return size
    canvas = grid[0] * stride[0], grid[1] * stride[1]
    if canvas[0] < size[0] or canvas[1] < size[1]:
        raise ValueError(
            f"images of {size[0]} x {size[1]} pixels reach beyond the student's patches, which cover "
            f'{canvas[0]} x {canvas[1]}: resize or crop them to a multiple of {stride[0]} x {stride[1]}, or '
            'leave padding=0 out of backbone.patch_cfg'
        )
    return canvas


def valid_sizes_of(inputs: Tensor, data_samples: Sequence | None) -> list[tuple[int, int]]:
    """Height and width in pixels of each image's area in its padded batch, at the top left.

    Without samples the images fill their batch.
    """
    full = (inputs.shape[-2], inputs.shape[-1])
    if data_samples is None:
        return [full] * len(inputs)
    shapes = [sample.metainfo.get('img_shape', full)[:2] for sample in data_samples]
    return [(min(h, full[0]), min(w, full[1])) for h, w in shapes]


def refuse_padding(inputs: Tensor, data_samples: Sequence) -> None:
    """Check that all images fill their batch, for what copies features does not tell padding from image.

    Raises:
        ValueError: if one does not.
    """
    full = tuple(inputs.shape[-2:])
    padded = {size for size in valid_sizes_of(inputs, data_samples) if size != full}
    if padded:
        height, width = min(padded)
        raise ValueError(
            f'an image of {height} x {width} pixels is padded to {full[0]} x {full[1]}, and features of '
            'padding would be copied: crop or resize all images to one size in train_pipeline'
        )


def refuse_overhang(backbone: torch.nn.Module, inputs: Tensor) -> None:
    """Check that images end where the student's locations do, for what copies features location by location.

    Raises:
        ValueError: if they do not: the backbone pads them to whole patches.
    """
    full = tuple(inputs.shape[-2:])
    height, width = getattr(backbone, 'patch_stride', (1, 1))
    if full[0] % height or full[1] % width:
        raise ValueError(
            f'images of {full[0]} x {full[1]} pixels end within a location of {height} x {width} pixels of '
            'the student, and features would be copied beside their place: crop or resize them in '
            'train_pipeline to a multiple'
        )


def recorded_views(data_samples: Sequence) -> Tensor | None:
    """(B, 2, 3) of `lfi.RecordView`, or None where a pipeline of the batch has none.

    They stay where the samples have them: on the CPU a view shows whether it is upright, and is read faster.
    """
    if not all('view' in sample for sample in data_samples):
        return None
    return torch.stack([sample.view for sample in data_samples])


def stored_maps(data_samples: Sequence) -> list[StoredMaps] | None:
    """What `lfi.LoadInteractionMaps` has read of each image, or None where one has none."""
    if not all('interaction_maps' in sample for sample in data_samples):
        return None
    return [sample.interaction_maps for sample in data_samples]


def recorded_pieces(data_samples: Sequence) -> list[Pieces] | None:
    """What each image shows of several files (Mosaic), or None where all show one, or no maps were read."""
    stored = stored_maps(data_samples) or []
    if all(one.pieces is None for one in stored) or not all('view' in sample for sample in data_samples):
        return None
    return [one.pieces or Pieces.whole(sample.view) for one, sample in zip(stored, data_samples)]
