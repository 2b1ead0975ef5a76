"""Hook for metrics that read interaction maps."""

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
from lfi.models.losses.interaction_distill_loss import align_maps
from lfi.registry import HOOKS
from lfi.structures import StudentGrid, get_valid_sizes, set_multi_hot_

from .image_maps import ImageMaps, fill_padding
from .semantic_consistency_metric import image_labels


@HOOKS.register_module()
class InteractionMapsHook(Hook):
    """Hook that adds interaction maps of student and teacher to validation and test samples.

    The hook sets `interactions`, an `ImageMaps`, of samples with `regions` (`lfi.LoadRegions`) or `heat_maps`
    (`lfi.LoadHeatMap`) before prediction. `ImageMaps` holds the maps of the concepts with a region or a heat
    map, and the presence of all concepts. Concepts beyond the teacher's bank are left out.

    Each batch costs two more passes of the student, one of them on mirrored images, and one pass of the
    teacher, in float32.

    Raises:
        TypeError: if the model does not learn from interactions, or is sharded (FSDP).
        UsageError: before the run, if test-time augmentation is on or the model reads a cache. A cache holds
            training images only.
    """

    asks_student = True
    """`lfi.FittingWeightsHook` then requires the read-out in the checkpoint."""

    def before_run(self, runner: Runner) -> None:
        """Refuse test-time augmentation and a cached teacher."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if isinstance(model, BaseTTAModel):
            raise UsageError('InteractionMapsHook asks about one view of an image: leave out --tta')
        cache = (getattr(model, 'teacher_cfg', None) or {}).get('cache')
        if cache is not None:
            raise UsageError(
                f'InteractionMapsHook asks the teacher about validation and test images, but '
                f'model.teacher.cache={cache!r} holds training images only: set model.teacher.cache=None, or '
                'use the hook with tools/test.py and not in training'
            )

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        """Set `interactions` of the samples."""
        refuse_shards(runner.model)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        add_interactions(model, data_batch)

    before_test_iter = before_val_iter


@torch.no_grad()
def add_interactions(model: Any, batch: dict) -> None:
    """Set `interactions` of the samples of a batch, if any sample has `regions` or `heat_maps`.

    Args:
        model: `Student` that learns from `Interactions`.
        batch: batch from the data loader, with `inputs` and `data_samples`.

    Raises:
        TypeError: if a sample has regions or heat maps, and the model does not learn from interactions.
    """
    samples = batch['data_samples']
    indices = [sorted({*sample.get('regions', ()), *sample.get('heat_maps', ())}) for sample in samples]
    if not any(indices):
        return
    if getattr(model, 'interactions', None) is None:
        raise TypeError(
            'InteractionMapsHook needs an lfi.Student that learns from lfi.Interactions, got '
            f'{type(model).__name__}'
        )
    num_concepts = model.teacher.bank.num_concepts
    indices = [[concept for concept in concepts if concept < num_concepts] for concepts in indices]
    # The preprocessor may change the samples in place.
    copies = [sample.new() for sample in samples]
    data = model.data_preprocessor(dict(inputs=batch['inputs'], data_samples=copies), False)
    inputs = data['inputs']
    sizes = get_valid_sizes(inputs, data['data_samples'])

    # Run the teacher first, which moves its text embeddings to the device.
    labels = None
    if model.family.reads_labels:
        labels = _training_labels(samples, indices, num_concepts, len(model.teacher.bank)).to(inputs.device)
    teacher, training_maps = (maps.to('cpu') for maps in model.teacher_answers(inputs, sizes, labels))
    texts = model.teacher.text_embeddings[:num_concepts]
    student = model.ask(inputs, texts, sizes).to('cpu')
    # The student needs at least one concept, even if all concepts of the batch lie beyond the bank.
    asked = sorted({concept for concepts in indices for concept in concepts}) or [0]
    mirrored = model.ask(mirror_images(inputs, sizes), texts[asked], sizes).to('cpu')
    canvas = StudentGrid.of(model.backbone, tuple(inputs.shape[-2:])).canvas
    # Read the teacher's maps at the temperature that the loss uses in training.
    temperature = model.interactions.loss.spatial_temperature_of(training_maps)
    teacher_maps = align_maps(teacher, student).spatial_log_probs(temperature)[:, -1].exp()  # [B, C, H, W]
    student_maps = student.spatial_log_probs().exp()  # [B, L, C, H, W]
    mirrored_maps = mirrored.spatial_log_probs()[:, -1].exp()  # [B, len(asked), H, W]
    for b, (sample, concepts, size) in enumerate(zip(samples, indices, sizes)):
        mirrored_rows = [asked.index(concept) for concept in concepts]
        sample.interactions = ImageMaps(
            concepts=concepts,
            student=student_maps[b][:, concepts],
            mirrored=mirror_maps(
                fill_padding(mirrored_maps[b][mirrored_rows], mirrored.valid[b]), size[1] / canvas[1]
            ),
            teacher=teacher_maps[b][concepts],
            presence=student.presence[b],
            teacher_presence=teacher.presence[b, :num_concepts],
            valid=student.valid[b],
            size=size,
            canvas=canvas,
            presence_fit=model.readout.presence_fit,
        )


def _training_labels(
    samples: Sequence[Any], indices: Sequence[Sequence[int]], num_concepts: int, num_texts: int
) -> Tensor:
    """Labels that a training step would give the teacher, (B, C), multi-hot.

    Args:
        samples: data samples of the B images.
        indices: concepts of each image that have a region or a heat map. They serve as labels if images have
            no `gt_label`, as in detection.
        num_concepts: number of concepts of the bank, without the background.
        num_texts: C, number of texts of the bank.
    """
    rows = []
    for sample, concepts in zip(samples, indices):
        labels = image_labels(sample)
        classes = concepts if labels is None else [label for label in labels if 0 <= label < num_concepts]
        rows.append(torch.tensor(classes, dtype=torch.long))
    return set_multi_hot_(torch.zeros(len(rows), num_texts), rows)


def mirror_images(inputs: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Mirror images (B, 3, H, W) left to right, each within its size, (height, width), at the top left."""
    mirrored = inputs.clone()
    for image, source, (h, w) in zip(mirrored, inputs, sizes):
        image[:, :h, :w] = source[:, :h, :w].flip(-1)
    return mirrored


def mirror_maps(maps: Tensor, share: float) -> Tensor:
    """Mirror maps (n, H, W) left to right within the left `share` of their width, which shows the image."""
    # Column x of an image of width w is column w - x of its mirror image.
    view = maps.new_tensor([[[-1, 0, 2 * share - 2], [0, 1, 0]]])
    points = F.affine_grid(view, [1, 1, *maps.shape[1:]], align_corners=False)
    return F.grid_sample(maps[None], points, padding_mode='border', align_corners=False)[0]
