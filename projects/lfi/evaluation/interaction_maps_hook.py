"""Gives a metric what it cannot ask for itself: the model's interaction maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from lfi.engine.shards import refuse_shards
from lfi.errors import UsageError
from lfi.models.batches import seen_canvas, valid_sizes_of
from lfi.registry import HOOKS
from lfi.structures import InteractionMaps

from .image_maps import ImageMaps


@HOOKS.register_module()
class InteractionMapsHook(Hook):
    """Adds to images that are validated or tested where student and teacher look, for a metric to read.

    It acts on samples with `regions` (`lfi.LoadRegions`) or `heat_maps` (`lfi.LoadHeatMap`), before they are
    predicted, and sets their `interactions`, an `ImageMaps` of the concepts that these name. A concept is
    left out where it is beyond the teacher's bank or not among its `max_concepts`. The image and its mirror
    image pass once more through the backbone and the teacher, in float32.

    Raises:
        TypeError: if the model does not learn from interactions, or is sharded (FSDP).
        UsageError: before the run, if the model reads a cache: it holds the training images, and no mirror
            images.
    """

    def before_run(self, runner: Runner) -> None:
        """Refuse a cache before it is asked about images that it does not hold."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        cache = getattr(model, '_teacher_cache', None)
        if cache is not None:
            raise UsageError(
                f'InteractionMapsHook asks the teacher about validation and test images, and '
                f'model.teacher_cache={cache!r} holds training images alone: set it to None, or leave the '
                'hook out of training and use it with tools/test.py'
            )

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        """Set the samples' maps."""
        refuse_shards(runner.model)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        add_interactions(model, data_batch)

    before_test_iter = before_val_iter


@torch.no_grad()
def add_interactions(model: Any, batch: dict) -> None:
    """Set `interactions` of a batch's samples, if any of them names concepts by `regions` or `heat_maps`.

    Args:
        model: of `InteractionDistillMixin`, in eval mode.
        batch: as the data loader gives it.

    Raises:
        TypeError: if they do, and the model does not learn from interactions.
    """
    samples = batch['data_samples']
    named = [sorted({*sample.get('regions', ()), *sample.get('heat_maps', ())}) for sample in samples]
    if not any(named):
        return
    if not hasattr(model, 'predict_interactions'):
        raise TypeError(
            'InteractionMapsHook needs a model that learns from interactions, such as '
            f'lfi.LFIImageClassifier, got {type(model).__name__}'
        )
    known = len(model.teacher.bank)
    named = [[concept for concept in concepts if concept < known] for concepts in named]
    asking = [_asking(sample, concepts) for sample, concepts in zip(samples, named)]
    data = model.data_preprocessor(dict(inputs=batch['inputs'], data_samples=asking), False)
    inputs, asking = data['inputs'], data['data_samples']
    sizes = valid_sizes_of(inputs, asking)

    teacher, student = (maps.to('cpu') for maps in model.predict_interactions(inputs, asking))
    canvas = seen_canvas(model.backbone, tuple(inputs.shape[-2:]), student.grid)
    mirrored = model.predict_interactions(mirror_images(inputs, sizes), asking)[1].to('cpu')
    heat = teacher.over_positions(model.interaction_loss.positions_scale(teacher))[
        :, -1
    ].exp()  # [B, M, H, W]
    attention = student.over_positions().exp()  # [B, L, M, H, W]
    reflection = mirrored.over_positions()[:, -1].exp()  # [B, M, H, W]
    for b, (sample, concepts, size) in enumerate(zip(samples, named, sizes)):
        # With an image and its mirror image the teacher may bring other concepts of its own.
        indices, mirrored_indices = _indices(student, b), _indices(mirrored, b)
        kept = [concept for concept in concepts if concept in indices and concept in mirrored_indices]
        at = [indices[concept] for concept in kept]
        mirrored_at = [mirrored_indices[concept] for concept in kept]
        sample.interactions = ImageMaps(
            concepts=kept,
            student=attention[b][:, at],
            mirrored=mirror_maps(reflection[b][mirrored_at], size[1] / canvas[1]),
            teacher=heat[b][at],
            valid=student.valid[b],
            size=size,
            canvas=canvas,
        )


def mirror_images(inputs: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Mirror each image of a batch (B, 3, H, W) left to right, within its (height, width) at the top left."""
    mirrored = inputs.clone()
    for image, source, (h, w) in zip(mirrored, inputs, sizes):
        image[:, :h, :w] = source[:, :h, :w].flip(-1)
    return mirrored


def mirror_maps(maps: Tensor, share: float) -> Tensor:
    """Mirror maps (n, H, W) left to right, within the left share of their width that shows the image."""
    # At x of its width w an image shows what its mirror image shows at w - x.
    view = maps.new_tensor([[[-1, 0, 2 * share - 2], [0, 1, 0]]])
    points = F.affine_grid(view, [1, 1, *maps.shape[1:]], align_corners=False)
    return F.grid_sample(maps[None], points, padding_mode='border', align_corners=False)[0]


def _asking(sample: BaseDataElement, concepts: list[int]) -> BaseDataElement:
    """A copy of a sample by which the model looks for these concepts."""
    sample = sample.new()
    sample.pop('gt_concepts', None)
    sample.gt_concepts = torch.tensor(concepts, dtype=torch.int64)
    return sample


def _indices(maps: InteractionMaps, b: int) -> dict[int, int]:
    """The index of each concept among the maps of image b."""
    concepts = range(maps.logits.shape[2]) if maps.concepts is None else maps.concepts[b].tolist()
    return {concept: index for index, concept in enumerate(concepts)}
