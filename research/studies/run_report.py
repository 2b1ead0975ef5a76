"""One picture of several runs: their learning curves, where teacher and student look, and what is asked."""

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
    """The run's model with its last weights, and its validation set.

    None if it is no LFI run, or its folder has no config or no checkpoint.

    Raises:
        UsageError: The checkpoint does not fit the config.
    """
    files = _files_of(work_dir)
    if files is None:
        return None
    config, checkpoint = files
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    # A cache holds the training images' maps; these are validation images.
    if cfg.model.get('teacher'):
        cfg.model.teacher.cache = None
    model = MODELS.build(model_config(cfg))
    if not isinstance(model, Student) or model.interactions is None:
        return None
    check_weights(model, load_checkpoint(model, checkpoint, map_location='cpu'), asked=True)
    return model.eval(), DATASETS.build(cfg.val_dataloader.dataset)


def draw_maps(axes: np.ndarray, model: Student, dataset: BaseDataset) -> None:
    """Draw the maps of teacher and student for some of a data set's images, a row of axes for each.

    Args:
        axes: (B, 3) matplotlib axes.
        model: an LFI classifier.
        dataset: of validation images.
    """
    # The set may be sorted by class, or go through the classes in turn.
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
    """What two images are asked about, three concepts each.

    The first is asked about two that it shows and one that it does not, the second about three that it does
    not show.

    Args:
        dataset: of validation images, whose classes are the first concepts.
        num_concepts: how many of these to choose from.

    Returns:
        For each of the two the index of the image, three concepts, and which of these it shows.
    """
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(dataset)).tolist()
    first = next((i for i in shuffled if len(_shown(dataset, i)) == 2), shuffled[0])
    second = next((i for i in shuffled if i != first), first)
    questions = []
    for index, count in ((first, 2), (second, 0)):
        shown = _shown(dataset, index)
        absent = [c for c in rng.permutation(num_concepts).tolist() if c not in shown]
        there = shown[:count]
        concepts = there + absent[: 3 - len(there)]
        questions.append((index, concepts, [concept in there for concept in concepts]))
    return questions


def draw_questions(axes: np.ndarray, model: Student, dataset: BaseDataset) -> None:
    """Draw the student's answers to `choose_questions`, a row of axes for each image.

    Args:
        axes: (2, 4) matplotlib axes.
        model: an LFI classifier.
        dataset: of validation images.
    """
    bank = model.teacher.bank
    for cells, (index, concepts, there) in zip(axes, choose_questions(dataset, bank.num_concepts)):
        images, batch = _load(model, dataset, [index])
        answers = model.ask(batch['inputs'], model.teacher.texts[concepts])
        titles = [
            f'{bank.names[concept]} ({"there" if shown else "not there"})'
            for concept, shown in zip(concepts, there)
        ]
        draw_answers(cells[None], images, answers, titles)


@default_style()
def draw_report(runs: Sequence[Run], work_dirs: Sequence[Path], n_images: int) -> Figure:
    """Curves on the left; on the right, of the last run that has maps, what it answers, and its maps.

    Without such a run the curves are alone.

    Args:
        runs: the baseline first.
        work_dirs: the folders of the runs.
        n_images: images with maps of teacher and student.
    """
    students = (load_student(work_dir) for work_dir in reversed(work_dirs))
    student = next((found for found in students if found is not None), None)
    rows = (n_images + 1) // 2
    figure = plt.figure(figsize=(14, max(4.5, 3.5 + 1.4 * rows)), layout='constrained')
    left, right = figure.subfigures(1, 2, squeeze=False)[0]
    draw_curves(left.subplots(), runs)
    if student is None:
        return figure
    asked, compared = right.subfigures(2, 1, height_ratios=(3.5, max(1.4 * rows, 0.01)), squeeze=False)[:, 0]
    asked.suptitle('what the student answers: whether it is there, in %, and where', fontsize=9)
    draw_questions(asked.subplots(2, 4), *student)
    if n_images:
        compared.suptitle("where teacher and student see the image's label", fontsize=9)
        cells = compared.subplots(rows, 6, squeeze=False)
        for cell in cells.flat:
            cell.axis('off')
        draw_maps(cells.reshape(-1, 3)[:n_images], *student)
    return figure


NEXT = """## What to do next

Ask the student about images of your own, on the command line or in a browser; or leave LFI behind and take
the plain model along.

```bash
lfi infer {run} photos --texts 'red circle' star --out-dir seen
lfi demo {run}
lfi export {run} student.pth
```

Then inherit your own config, as the README shows; `lfi --help` has the commands."""


def next_steps(work_dirs: Sequence[Path]) -> str:
    """What to type next with the last run, as Markdown; '' if its folder has no config or no checkpoint."""
    files = _files_of(work_dirs[-1])
    return '' if files is None else NEXT.format(run=' '.join(map(str, files)))


def _files_of(work_dir: Path) -> tuple[Path, str] | None:
    """A run's config and its last checkpoint; None if its folder has no config or no checkpoint."""
    config = next(iter(sorted(work_dir.glob('*.py'))), None)
    checkpoint = None if config is None else find_checkpoint_to_resume(str(work_dir))
    return None if config is None or checkpoint is None else (config, checkpoint)


def _shown(dataset: BaseDataset, index: int) -> list[int]:
    """The classes of an image, its label first."""
    info = dataset.get_data_info(index)
    return list(dict.fromkeys([int(info['gt_label']), *map(int, info.get('gt_bboxes_labels', ()))]))


def _load(model: Student, dataset: BaseDataset, indices: Sequence[int]) -> tuple[np.ndarray, dict]:
    """Images of a data set, (B, H, W, 3) uint8 RGB, and the model's batch of them."""
    data = pseudo_collate([dataset[int(i)] for i in indices])
    images = torch.stack(data['inputs']).flip(1).permute(0, 2, 3, 1).numpy()
    return images, model.data_preprocessor(data, training=False)
