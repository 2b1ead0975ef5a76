"""One picture of several runs: their learning curves, and what teacher and student look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import load_checkpoint

from lfi.engine import find_checkpoint_to_resume
from lfi.models import LFIImageClassifier
from lfi.visualization import draw_interactions

from .curves_figure import draw_curves
from .runs import Run


def load_student(work_dir: Path) -> tuple[LFIImageClassifier, BaseDataset] | None:
    """The run's model with its last weights, and its validation set; None if it is no LFI run."""
    cfg = Config.fromfile(next(iter(sorted(work_dir.glob('*.py')))))
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    # As the Runner does.
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    # A cache holds the training images' maps; these are validation images.
    cfg.model.pop('teacher_cache', None)
    model = MODELS.build(cfg.model)
    if not isinstance(model, LFIImageClassifier):
        return None
    checkpoint = find_checkpoint_to_resume(str(work_dir))
    load_checkpoint(model, checkpoint, map_location='cpu')
    return model.eval(), DATASETS.build(cfg.val_dataloader.dataset)


def draw_maps(axes: np.ndarray, model: LFIImageClassifier, dataset: BaseDataset) -> None:
    """Draw the maps of teacher and student for some of a data set's images, a row of axes for each.

    Args:
        axes: (B, 3) matplotlib axes.
        model: an LFI classifier.
        dataset: of validation images.
    """
    # The set may be sorted by class, or go through the classes in turn.
    indices = np.random.default_rng(0).choice(len(dataset), len(axes), replace=len(dataset) < len(axes))
    data = pseudo_collate([dataset[int(i)] for i in indices])
    images = torch.stack(data['inputs']).flip(1).permute(0, 2, 3, 1).numpy()
    batch = model.data_preprocessor(data, training=False)
    teacher, student = model.predict_interactions(batch['inputs'], batch['data_samples'])
    labels = torch.cat([sample.gt_label for sample in batch['data_samples']])
    if teacher.concepts is None:
        concepts = labels.tolist()
    else:
        concepts = (teacher.concepts == labels[:, None]).int().argmax(1).tolist()
    draw_interactions(axes, images, teacher, student, model.teacher.bank.names, concepts)


def draw_report(runs: Sequence[Run], work_dirs: Sequence[Path], n_images: int) -> Figure:
    """Curves on the left; on the right the maps of the last run that has any.

    Args:
        runs: the baseline first.
        work_dirs: the folders of the runs.
        n_images: images with maps.
    """
    students = (load_student(work_dir) for work_dir in reversed(work_dirs))
    student = next((found for found in students if found is not None), None)
    rows = (n_images + 1) // 2
    figure = plt.figure(figsize=(14, max(4, 1.5 * rows)), layout='constrained')
    left, right = figure.subfigures(1, 2, squeeze=False)[0]
    draw_curves(left.subplots(), runs)
    if student is not None and n_images:
        cells = right.subplots(rows, 6, squeeze=False)
        for cell in cells.flat:
            cell.axis('off')
        draw_maps(cells.reshape(-1, 3)[:n_images], *student)
    return figure
