"""Gives a metric what it cannot ask for itself: the model's interaction maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from lfi.engine.processes import refuse_shards
from lfi.errors import UsageError
from lfi.models.losses.interaction_distill_loss import aligned
from lfi.registry import HOOKS
from lfi.structures import StudentGrid, set_multi_hot_, valid_sizes_of

from .image_maps import ImageMaps, without_padding
from .localization_metric import labels_of


@HOOKS.register_module()
class InteractionMapsHook(Hook):
    """Adds to images that are validated or tested what student and teacher answer, for a metric to read.

    It acts on samples with `regions` (`lfi.LoadRegions`) or `heat_maps` (`lfi.LoadHeatMap`), before they are
    predicted, and sets their `interactions`, an `ImageMaps`: the maps of the concepts that these name, and
    the presence of all concepts. A concept beyond the teacher's bank is left out. The image passes once more
    through the backbone, asked about all concepts, and through the teacher; its mirror image through the
    backbone, asked about those that the batch names. All is in float32.

    Raises:
        TypeError: if the model does not learn from interactions, or is sharded (FSDP).
        UsageError: before the run, under test-time augmentation; and if the model reads a cache: it holds the
            training images, and no mirror images.
    """

    asks_student = True
    """Says to `lfi.FittingWeightsHook` that the checkpoint must have what answers."""

    def before_run(self, runner: Runner) -> None:
        """Refuse what does not fit: test-time augmentation, and a cache, which does not hold these images."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if isinstance(model, BaseTTAModel):
            raise UsageError('InteractionMapsHook asks about one view of an image: leave out --tta')
        cache = (getattr(model, 'teacher_cfg', None) or {}).get('cache')
        if cache is not None:
            raise UsageError(
                f'InteractionMapsHook asks the teacher about validation and test images, and '
                f'model.teacher.cache={cache!r} holds training images alone: set it to None, or leave the '
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
        model: a `Student` that learns from `Interactions`.
        batch: as the data loader gives it.

    Raises:
        TypeError: if they do, and the model does not learn from interactions.
    """
    samples = batch['data_samples']
    named = [sorted({*sample.get('regions', ()), *sample.get('heat_maps', ())}) for sample in samples]
    if not any(named):
        return
    if getattr(model, 'interactions', None) is None:
        raise TypeError(
            'InteractionMapsHook needs an lfi.Student that learns from lfi.Interactions, got '
            f'{type(model).__name__}'
        )
    known = model.teacher.bank.num_concepts
    named = [[concept for concept in concepts if concept < known] for concepts in named]
    # The preprocessor may write into what it is given.
    copies = [sample.new() for sample in samples]
    data = model.data_preprocessor(dict(inputs=batch['inputs'], data_samples=copies), False)
    inputs = data['inputs']
    sizes = valid_sizes_of(inputs, data['data_samples'])

    # The teacher first: its texts follow it to the device.
    labels = None
    if model.family.reads_labels:
        labels = _labels(samples, named, known, len(model.teacher.bank)).to(inputs.device)
    teacher, asked_in_training = (maps.to('cpu') for maps in model.teacher_answers(inputs, sizes, labels))
    texts = model.teacher.texts[:known]
    student = model.ask(inputs, texts, sizes).to('cpu')
    # Something must be asked, even where the bank knows nothing of what is named.
    asked = sorted({concept for concepts in named for concept in concepts}) or [0]
    mirrored = model.ask(mirror_images(inputs, sizes), texts[asked], sizes).to('cpu')
    canvas = StudentGrid.of(model.backbone, tuple(inputs.shape[-2:])).canvas
    # As the loss compares them: in units of what it compares.
    scale = model.interactions.loss.spatial_scale(aligned(asked_in_training, student))
    heat = aligned(teacher, student).spatial_log_probs(scale)[:, -1].exp()  # [B, C, H, W]
    attention = student.spatial_log_probs().exp()  # [B, L, C, H, W]
    reflection = mirrored.spatial_log_probs()[:, -1].exp()  # [B, len(asked), H, W]
    for b, (sample, concepts, size) in enumerate(zip(samples, named, sizes)):
        mirrored_at = [asked.index(concept) for concept in concepts]
        sample.interactions = ImageMaps(
            concepts=concepts,
            student=attention[b][:, concepts],
            mirrored=mirror_maps(
                without_padding(reflection[b][mirrored_at], mirrored.valid[b]), size[1] / canvas[1]
            ),
            teacher=heat[b][concepts],
            presence=student.presence[b],
            teacher_presence=teacher.presence[b, :known],
            valid=student.valid[b],
            size=size,
            canvas=canvas,
        )


def _labels(
    samples: Sequence[Any], named: Sequence[Sequence[int]], num_concepts: int, num_texts: int
) -> Tensor:
    """What a step of training would ask each image about first, (B, C).

    Args:
        samples: of the images.
        named: the concepts of each image that have a region or a heat map: where images have no `gt_label`,
            as in detection, these are its labels.
        num_concepts: of the bank, without its background.
        num_texts: C, of the bank.
    """
    found = []
    for sample, concepts in zip(samples, named):
        labels = labels_of(sample)
        first = concepts if labels is None else [label for label in labels if 0 <= label < num_concepts]
        found.append(torch.tensor(first, dtype=torch.long))
    return set_multi_hot_(torch.zeros(len(found), num_texts), found)


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
