"""Compare training runs: a table, the learning curves, and what teacher and student look at.

python tools/analysis_tools/compare_runs.py BASELINE_DIR RUN_DIR [...] --out report.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import lfi  # noqa: F401
import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch
from lfi.engine import find_checkpoint_to_resume, launch
from lfi.studies import epoch_table, markdown_table, read_run
from lfi.studies.curves_figure import draw_curves
from lfi.visualization import draw_interactions
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import load_checkpoint


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare training runs with the first one')
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='the baseline first')
    parser.add_argument('--names', nargs='+', help='names of the runs; default: those of the folders')
    parser.add_argument('--metric', default='accuracy/top1', help='validation metric (%(default)s)')
    parser.add_argument('--epochs', action='store_true', help='print one row an epoch for each run too')
    parser.add_argument('--out', help='write the curves, and the maps of the last LFI run, to this picture')
    parser.add_argument('--images', type=int, default=6, help='images with maps in the picture (%(default)s)')
    args = parser.parse_args()
    if args.names and len(args.names) != len(args.work_dirs):
        parser.error(f'--names gives {len(args.names)} names for {len(args.work_dirs)} runs')
    return args


def load_student(work_dir: Path) -> tuple[torch.nn.Module, torch.utils.data.Dataset] | None:
    """The run's model with its last weights, and its validation set; None if it is no LFI run."""
    cfg = Config.fromfile(next(iter(sorted(work_dir.glob('*.py')))))
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    # As the Runner does.
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    # A cache holds the training images' maps; these are validation images.
    cfg.model.pop('teacher_cache', None)
    model = MODELS.build(cfg.model)
    if not hasattr(model, 'predict_interactions'):
        return None
    checkpoint = find_checkpoint_to_resume(str(work_dir))
    load_checkpoint(model, checkpoint, map_location='cpu')
    return model.eval(), DATASETS.build(cfg.val_dataloader.dataset)


def draw_maps(axes: np.ndarray, model: torch.nn.Module, dataset: torch.utils.data.Dataset) -> None:
    # The set may be sorted by class, or go through the classes in turn.
    places = np.random.default_rng(0).choice(len(dataset), len(axes), replace=len(dataset) < len(axes))
    data = pseudo_collate([dataset[int(i)] for i in places])
    images = torch.stack(data['inputs']).flip(1).permute(0, 2, 3, 1).numpy()
    batch = model.data_preprocessor(data, training=False)
    teacher, student = model.predict_interactions(batch['inputs'], batch['data_samples'])
    labels = torch.cat([sample.gt_label for sample in batch['data_samples']])
    if teacher.concepts is None:
        concepts = labels.tolist()
    else:
        concepts = (teacher.concepts == labels[:, None]).int().argmax(1).tolist()
    draw_interactions(axes, images, teacher, student, model.teacher.bank.names, concepts)


def write_report(path: str, runs: list, work_dirs: list[Path], n_images: int) -> None:
    """Curves on the left; on the right the maps of the last run that has any."""
    students = (load_student(work_dir) for work_dir in reversed(work_dirs))
    student = next((found for found in students if found is not None), None)
    rows = (n_images + 1) // 2
    figure = plt.figure(figsize=(14, max(4, 1.5 * rows)), layout='constrained')
    left, right = figure.subfigures(1, 2)
    draw_curves(left.subplots(), runs)
    if student is not None and n_images:
        cells = right.subplots(rows, 6, squeeze=False)
        for cell in cells.flat:
            cell.axis('off')
        draw_maps(cells.reshape(-1, 3)[:n_images], *student)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    args = parse_args()
    work_dirs = [Path(work_dir) for work_dir in args.work_dirs]
    names = args.names or [None] * len(work_dirs)
    runs = [read_run(work_dir, name, args.metric) for work_dir, name in zip(work_dirs, names)]
    print(markdown_table(runs))
    if args.epochs:
        for run in runs:
            print(f'\n{run.name}\n\n{epoch_table(run)}')
    if args.out:
        write_report(args.out, runs, work_dirs, args.images)
        print(f'\nThe picture is {args.out}')


if __name__ == '__main__':
    # Of folders that hold no run, and of runs that are no pairs.
    launch.run(main, FileNotFoundError, ValueError)
