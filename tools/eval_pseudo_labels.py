"""Measure the labels that tools/pseudo_label.py gives, on images that have annotations.

python tools/eval_pseudo_labels.py configs/teachers/lit-lite0_coco.py
python tools/eval_pseudo_labels.py CONFIG --checkpoint FILE --sweep

The images are those of the config's validation set, as they are on disk. The table has the labels of the
config's teacher, or of a student, and controls beside them. --sweep prints what each threshold gives: choose
it on images that nothing is measured on, such as those of the training.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping

import lfi  # noqa: F401
import numpy as np
from lfi.datasets import unaugmented
from lfi.engine import launch
from lfi.pseudo_labels import StudentReader, TeacherReader, options
from lfi.pseudo_labels.quality import AnnotatedImage, compare, sweep_masks, sweep_presence
from mmengine.config import Config
from mmengine.registry import DATASETS
from tqdm import tqdm

PRESENCE = ('precision', 'recall', 'f1', 'first')
OBJECTS = ('mean_iou', 'box_ap', 'box_recall', 'mask_ap', 'mask_recall')
TITLES = dict(
    precision='precision',
    recall='recall',
    f1='F1',
    first='first class',
    mean_iou='mean IoU',
    box_ap='box AP50',
    box_recall='box recall',
    mask_ap='mask AP50',
    mask_recall='mask recall',
)


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    launch.add_config_arguments(parser)
    options.add_reader_arguments(parser)
    options.add_rule_arguments(parser)
    parser.add_argument('--images', type=int, metavar='N', help='only N images, evenly spaced (default: all)')
    parser.add_argument('--sweep', action='store_true', help='print what other thresholds give, too')
    return parser.parse_args()


def read(cfg: Config, reader: TeacherReader | StudentReader, args: Namespace) -> list[AnnotatedImage]:
    """The annotations of the validation images, and what is said of these images."""
    dataset = DATASETS.build(unaugmented(cfg.val_dataloader.dataset, steps=('Load',)))
    count = min(args.images or len(dataset), len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    images: list[AnnotatedImage] = []
    with tqdm(total=count, unit=' images') as bar:
        for start in range(0, count, args.batch_size):
            results = [dataset[int(i)] for i in chosen[start : start + args.batch_size]]
            answers = reader([each['img'] for each in results])
            images += map(AnnotatedImage.of, results, answers)
            bar.update(len(results))
    return images


def table(rows: Mapping, columns: tuple[str, ...], head: str) -> str:
    lines = [f'| {" | ".join((head, *(TITLES[column] for column in columns)))} |']
    lines.append('| --- ' * (1 + len(columns)) + '|')
    for name, measures in rows.items():
        cells = ' | '.join(f'{100 * measures[column]:.1f}' for column in columns)
        lines.append(f'| {name} | {cells} |')
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    cfg = launch.load_config(args.config, args.cfg_options)
    reader = options.reader_of(args, cfg)
    rules = options.rules_of(args, reader)
    images = read(cfg, reader, args)
    settings = ', '.join(f'{name}={value:g}' for name, value in vars(rules).items())
    try:
        found = compare(images, rules)
    except ValueError as error:
        raise launch.UsageError(str(error)) from error
    print(f'\n{len(images)} images; {settings}; in %\n')
    print(table(found, (*PRESENCE, *OBJECTS), 'labels'))
    if args.sweep:
        print(f'\n{table(sweep_presence(images), PRESENCE, "presence threshold")}')
        print(f'\n{table(sweep_masks(images, rules), OBJECTS, "mask threshold")}')


if __name__ == '__main__':
    launch.run(main)
