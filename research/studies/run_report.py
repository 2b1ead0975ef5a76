"""Figure of several runs: learning curves, maps of teacher and student, and the student's answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from lfi.engine import find_checkpoint_to_resume
from lfi.engine.hooks.fitting_weights import check_weights
from lfi.models import Student
from lfi.utils.config_types import model_config
from lfi.utils.matplotlib_settings import default_style
from lfi.visualization import draw_answers, draw_interactions
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import load_checkpoint

from .curves_figure import draw_curves
from .runs import Run


def load_student(work_dir: Path) -> tuple[Student, BaseDataset] | None:
    """Load the model of a run with its last weights, and its validation set.

    Returns:
        Model and data set. None if the run has no interactions, or its folder no config or checkpoint.

    Raises:
        UsageError: if the checkpoint does not fit the config.
    """
    files = _config_and_checkpoint(work_dir)
    if files is None:
        return None
    config, checkpoint = files
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    # A cache holds maps of training images, not of validation images.
    if cfg.model.get('teacher'):
        cfg.model.teacher.cache = None
    model = MODELS.build(model_config(cfg))
    if not isinstance(model, Student) or model.interactions is None:
        return None
    check_weights(model, load_checkpoint(model, checkpoint, map_location='cpu'), needs_readout=True)
    return model.eval(), DATASETS.build(cfg.val_dataloader.dataset)


def draw_maps(axes: np.ndarray, model: Student, dataset: BaseDataset) -> None:
    """Draw the maps of teacher and student for random images, one per row of axes.

    Args:
        axes: (B, 3) matplotlib axes.
        model: LFI classifier.
        dataset: validation set.
    """
    # Draw at random: the images may be sorted by class.
    indices = np.random.default_rng(0).choice(len(dataset), len(axes), replace=len(dataset) < len(axes))
    images, batch = _load(model, dataset, indices.tolist())
    teacher, student = model.predict_interactions(batch['inputs'], batch['data_samples'])
    labels = torch.cat([sample.gt_label for sample in batch['data_samples']])
    if teacher.concepts is None:
        concepts = labels.tolist()
    else:
        concepts = (teacher.concepts == labels[:, None]).int().argmax(1).tolist()
    draw_interactions(axes, images, teacher, student, model.teacher.bank.names, concepts)


def choose_questions(dataset: BaseDataset, num_concepts: int) -> list[tuple[int, list[int], list[bool]]]:
    """Choose two images, and three concepts to ask about each.

    The first image shows two of its concepts and not the third. The second image shows none of its concepts.

    Args:
        dataset: validation set; its classes are the first concepts of the bank.
        num_concepts: number of concepts in the bank.

    Returns:
        For each image its index, three concepts, and whether the image shows each of them.
    """
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(dataset)).tolist()
    first = next((i for i in shuffled if len(_shown_classes(dataset, i)) == 2), shuffled[0])
    second = next((i for i in shuffled if i != first), first)
    questions = []
    for index, count in ((first, 2), (second, 0)):
        classes = _shown_classes(dataset, index)
        absent = [c for c in rng.permutation(num_concepts).tolist() if c not in classes]
        shown = classes[:count]
        concepts = shown + absent[: 3 - len(shown)]
        questions.append((index, concepts, [concept in shown for concept in concepts]))
    return questions


def draw_questions(axes: np.ndarray, model: Student, dataset: BaseDataset) -> None:
    """Draw the student's answers to `choose_questions`, one image per row of axes.

    Args:
        axes: (2, 4) matplotlib axes.
        model: LFI classifier.
        dataset: validation set.
    """
    bank = model.teacher.bank
    for cells, (index, concepts, shown) in zip(axes, choose_questions(dataset, bank.num_concepts)):
        images, batch = _load(model, dataset, [index])
        answers = model.ask(batch['inputs'], model.teacher.text_embeddings[concepts])
        titles = [
            f'{bank.names[concept]} ({"there" if is_shown else "not there"})'
            for concept, is_shown in zip(concepts, shown)
        ]
        draw_answers(cells[None], images, answers, titles)


@default_style()
def draw_report(runs: Sequence[Run], work_dirs: Sequence[Path], n_images: int) -> Figure:
    """Draw learning curves on the left, and answers and maps of the last LFI run on the right.

    Without an LFI run there are only the curves.

    Args:
        runs: runs to compare, the baseline first.
        work_dirs: folders of the runs.
        n_images: number of images with maps of teacher and student.
    """
    students = (load_student(work_dir) for work_dir in reversed(work_dirs))
    student = next((loaded for loaded in students if loaded is not None), None)
    rows = (n_images + 1) // 2
    figure = plt.figure(figsize=(14, max(4.5, 3.5 + 1.4 * rows)), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.6), squeeze=False)[0]
    draw_curves(left.subplots(), runs)
    if student is None:
        return figure
    answers, maps = right.subfigures(2, 1, height_ratios=(3.5, max(1.4 * rows, 0.01)), squeeze=False)[:, 0]
    answers.suptitle("the student's answers: presence in %, and location", fontsize=9)
    draw_questions(answers.subplots(2, 4), *student)
    if n_images:
        maps.suptitle("maps of teacher and student for the image's label", fontsize=9)
        cells = maps.subplots(rows, 6, squeeze=False)
        for cell in cells.flat:
            cell.axis('off')
        draw_maps(cells.reshape(-1, 3)[:n_images], *student)
    return figure


NEXT = """## What to do next

Ask the student about images of your own, on the command line or in a browser; or export the plain model, to
use it without LFI.

```bash
lfi infer {run} photos --texts 'red circle' star --out-dir seen
lfi demo {run}
lfi export {run} student.pth
```

Then write a config that inherits from this one, as in the README; `lfi --help` lists the commands."""


def next_steps(work_dirs: Sequence[Path]) -> str:
    """Return commands for the last run, as Markdown; '' if its folder has no config or no checkpoint."""
    files = _config_and_checkpoint(work_dirs[-1])
    return '' if files is None else NEXT.format(run=' '.join(map(str, files)))


def _config_and_checkpoint(work_dir: Path) -> tuple[Path, str] | None:
    """Config and last checkpoint of a run; None if its folder has no config or no checkpoint."""
    config = next(iter(sorted(work_dir.glob('*.py'))), None)
    checkpoint = None if config is None else find_checkpoint_to_resume(str(work_dir))
    return None if config is None or checkpoint is None else (config, checkpoint)


def _shown_classes(dataset: BaseDataset, index: int) -> list[int]:
    """Classes that an image shows, its label first."""
    info = dataset.get_data_info(index)
    return list(dict.fromkeys([int(info['gt_label']), *map(int, info.get('gt_bboxes_labels', ()))]))


def _load(model: Student, dataset: BaseDataset, indices: Sequence[int]) -> tuple[np.ndarray, dict]:
    """Load images (B, H, W, 3), uint8 RGB, and the preprocessed batch of them."""
    data = pseudo_collate([dataset[int(i)] for i in indices])
    images = torch.stack(data['inputs']).flip(1).permute(0, 2, 3, 1).numpy()
    return images, model.data_preprocessor(data, training=False)
