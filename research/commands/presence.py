"""Measure how true presence is: calibration error and ranking, of a teacher and of students.

    LFI_DATA_ROOT=... LFI_TEACHER_ROOT=... python -m research presence
    ... --student tiny 'ResNet-18, seed 0' RUN/CONFIG.py RUN/epoch_8.pth

Images are COCO's (80 names) and the validation images of Tiny-ImageNet's first 20 classes. A teacher is asked
about COCO's validation images alone: `lit-lite0` has learnt from the training images.
Fits are made on the images at even places and measured on those at odd ones. There are two kinds of
questions. For the *bank*, each image is asked about all names. For *four texts*, each image is asked four
times about four names, of which none (in a quarter), one (in half) or up to two are in the image. A teacher's
presence is its softmax over the texts that are asked about, or its odds against names of ImageNet
(`lfi.models.teachers.names_presence`), whose slope and offset this command fits, too.
"""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import lfi
import mmcv
import numpy as np
import torch
from lfi.apis.interaction_inferencer import InteractionInferencer
from lfi.cli.arguments import ArgumentParser, positive
from lfi.cli.running import run_tool
from lfi.datasets import TinyImageNet
from lfi.errors import UsageError
from lfi.evaluation import average_precision
from lfi.evaluation.calibration import calibration_error, fit_presence
from lfi.models.teachers import VLMAttentionTeacher, build_teacher
from lfi.models.teachers.names_presence import OFFSET, SLOPE
from lfi.structures import PixelFormat, fitted_presence
from lfi.utils import markdown
from torch import Tensor
from tqdm import tqdm

from ..studies.csv_file import write_csv

TITLES = (
    'data',
    'presence',
    'questions',
    'shown',
    'calibration error',
    'after a fit',
    'average precision',
    'shown, below 0.2',
    'absent, above 0.5',
)
QUESTIONS = 4
"""Questions of four texts for each image."""
RESAMPLES = 1000


class Photos(NamedTuple):
    """Photos with the concepts that they show."""

    paths: list[str]
    names: list[str]
    shown: Tensor
    """(N, C) bool."""


class Answers(NamedTuple):
    """Presence of texts in N images, and what is true."""

    presence: Tensor
    """(N, T) in [0, 1]."""
    shown: Tensor
    """(N, T) bool."""


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        '--student',
        nargs=4,
        action='append',
        default=[],
        metavar=('DATA', 'NAME', 'CONFIG', 'CHECKPOINT'),
        help='the data to ask a student about, coco or tiny, and the student; may be repeated',
    )
    parser.add_argument('--teacher', default='lit-lite0', help='name of the teacher (%(default)s)')
    parser.add_argument('--input-size', type=positive, default=320, help="the teacher's (%(default)s)")
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/presence.csv'), help='CSV file (%(default)s)'
    )
    return parser.parse_args()


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args())


def main(args: Namespace) -> None:
    """Run the command with its arguments."""
    if 'LFI_DATA_ROOT' not in os.environ:
        raise UsageError('LFI_DATA_ROOT is not set: set it to the folder of the data')
    root = Path(os.environ['LFI_DATA_ROOT'])
    tiny = tiny_photos(root / 'tiny-imagenet-200')
    photos = {'coco': coco_photos(root / 'coco', 'train2017', 'val2017'), 'tiny': tiny}
    unknown = [data for data, *_ in args.student if data not in photos]
    if unknown:
        raise UsageError(f'--student {unknown[0]}: the data is none of {", ".join(photos)}')
    rows, of_four = [], []
    for data, found in {'coco val': coco_photos(root / 'coco', 'val2017'), 'tiny': tiny}.items():
        logits, against_names = ask_teacher(args.teacher, args.input_size, found)
        four = draw_questions(found.shown)
        shown = found.shown.gather(1, four)
        softmax = logits.gather(1, four).unflatten(1, (-1, 4)).softmax(-1).flatten(1)
        of_four.append(Answers(against_names.gather(1, four), shown))
        answers = {
            ('teacher, softmax', 'bank'): Answers(logits.softmax(-1), found.shown),
            ('teacher, against names', 'bank'): Answers(against_names, found.shown),
            ('teacher, softmax', 'four texts'): Answers(softmax, shown),
            ('teacher, against names', 'four texts'): of_four[-1],
        }
        for (name, questions), answer in answers.items():
            rows.append([data, name, questions, *measures(answer)])
    for data, name, config, checkpoint in args.student:
        presence = ask_student(config, checkpoint, photos[data])
        rows.append([data, f'student: {name}', 'bank', *measures(Answers(presence, photos[data].shown))])
    print(markdown.table(TITLES, rows))
    # As many images of each data set.
    count = min(len(answer.shown) for answer in of_four)
    scale, offset = fit_presence(
        *(torch.cat([column[:count:2].flatten() for column in columns]) for columns in zip(*of_four))
    )
    print(
        f'\nSlope and offset against names, by four texts of {count // 2} even images of each: '
        f'{scale * SLOPE:.2f}, '
        f'{scale * OFFSET + offset:.2f} (now {SLOPE}, {OFFSET})'
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_csv([TITLES, *rows], args.out)


def coco_photos(root: Path, *splits: str) -> Photos:
    """Return the photos of splits of COCO, with the classes of their objects."""
    paths, rows = [], []
    for split in splits:
        content = json.loads((root / f'annotations/instances_{split}.json').read_text())
        ids = [category['id'] for category in content['categories']]
        names = [category['name'] for category in content['categories']]
        shown = {image['id']: torch.zeros(len(ids), dtype=torch.bool) for image in content['images']}
        for region in content['annotations']:
            shown[region['image_id']][ids.index(region['category_id'])] = True
        paths += [str(root / split / image['file_name']) for image in content['images']]
        rows += [shown[image['id']] for image in content['images']]
    return Photos(paths, names, torch.stack(rows))


def tiny_photos(root: Path) -> Photos:
    """Return the validation photos of Tiny-ImageNet's first 20 classes; classes take turns."""
    data = TinyImageNet(root, split='val', max_classes=20)
    infos = [data.get_data_info(i) for i in range(len(data))]
    labels = torch.tensor([info['gt_label'] for info in infos])
    # Two of each class in turn: even and odd images have the same classes.
    place = [int((labels[:i] == labels[i]).sum()) for i in range(len(labels))]
    order = sorted(range(len(infos)), key=lambda i: (place[i] // 2, int(labels[i]), place[i]))
    shown = torch.eye(20, dtype=torch.bool)[labels[order]]
    return Photos([infos[i]['img_path'] for i in order], TinyImageNet.class_names(root, 20), shown)


def ask_teacher(name: str, size: int, photos: Photos) -> tuple[Tensor, Tensor]:
    """Return a teacher's logits (N, C) of all names, and their presence (N, C) against names of ImageNet."""
    config = lfi.teacher_config(name, concepts=photos.names, input_size=size)
    teacher = build_teacher({**config, 'presence_against': 'names'}, ())
    assert isinstance(teacher, VLMAttentionTeacher) and teacher.names_presence is not None
    rows = []
    for path in tqdm(photos.paths, unit=' images'):
        image = torch.from_numpy(np.ascontiguousarray(mmcv.imread(path).transpose(2, 0, 1)))[None]
        features = teacher.features(image, PixelFormat.raw())
        presence = teacher.names_presence(features.scores, teacher.logit_scale * features.pooled)
        rows.append(torch.cat([features.scores, presence]))
    logits, against_names = torch.stack(rows).unbind(1)
    return logits, against_names


def ask_student(config: str, checkpoint: str, photos: Photos) -> Tensor:
    """Return a student's presence (N, C) of all names."""
    inferencer = InteractionInferencer(config, checkpoint)
    results = inferencer.stream(photos.paths, photos.names, batch_size=32)
    return torch.stack([result.presence for result in tqdm(results, total=len(photos.paths))])


def draw_questions(shown: Tensor) -> Tensor:
    """Draw `QUESTIONS` questions of four texts for each image.

    Returns:
        (N, 4 * QUESTIONS) int64, indices of the texts.
    """
    rng = np.random.default_rng(0)
    return torch.tensor([[text for _ in range(QUESTIONS) for text in _question(row, rng)] for row in shown])


def _question(row: Tensor, rng: np.random.Generator) -> list[int]:
    present, absent = row.nonzero().flatten().tolist(), (~row).nonzero().flatten().tolist()
    count = min(int(rng.choice(3, p=(0.25, 0.5, 0.25))), len(present))
    texts = [*rng.choice(present, count, replace=False), *rng.choice(absent, 4 - count, replace=False)]
    return [int(text) for text in texts]


def measures(answers: Answers) -> Iterator[str]:
    """Yield the cells of a row behind its name: all are measured on the odd images."""
    fit = fit_presence(answers.presence[::2].flatten(), answers.shown[::2].flatten())
    presence, shown = answers.presence[1::2], answers.shown[1::2]
    fitted = fitted_presence(presence, fit)
    yield f'{shown.float().mean():.3f}'
    yield _with_interval(lambda i: calibration_error(presence[i].flatten(), shown[i].flatten()), len(shown))
    yield _with_interval(lambda i: calibration_error(fitted[i].flatten(), shown[i].flatten()), len(shown))
    yield _with_interval(
        lambda i: average_precision(presence[i].flatten()[None], shown[i].flatten()[None]).item(), len(shown)
    )
    yield f'{(presence[shown] < 0.2).float().mean():.3f}'
    yield f'{(presence[~shown] > 0.5).float().mean():.3f}'


def _with_interval(measure: Callable[[Tensor], float], count: int) -> str:
    """Return a measure of images by their indices, with a 95 % interval by bootstrap over the images."""
    generator = torch.Generator().manual_seed(0)
    values = [measure(torch.randint(count, (count,), generator=generator)) for _ in range(RESAMPLES)]
    low, high = np.quantile(values, (0.025, 0.975))
    return f'{measure(torch.arange(count)):.3f} ({low:.3f} to {high:.3f})'
