"""Ask people whose interaction maps are better: make the page of a study, and analyse the answers.

python tools/human_study.py make --a CONFIG CHECKPOINT --b CONFIG CHECKPOINT --out study.html
python tools/human_study.py make --a CONFIG CHECKPOINT --b teacher --out study.html
python tools/human_study.py analyse answers*.json --key study.key.json

The page is one file, to be opened in a browser. The sources of its maps are in study.key.json, which no rater
should see. docs/human_study.md says more.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import lfi  # noqa: F401
import numpy as np
import torch
from lfi.engine import launch
from lfi.human_study import (
    Pair,
    StudyError,
    analyse,
    build_study,
    catch_pairs,
    read_key,
    read_raters,
)
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS, init_default_scope
from mmpretrain import get_model
from torch import Tensor
from tqdm import tqdm

# The teacher's own maps instead of a second student's.
TEACHER = 'teacher'
# Candidates for each catch trial; the best become trials.
CANDIDATES = 4


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)

    make = commands.add_parser('make', help='write the page and its key')
    make.set_defaults(run=make_study)
    make.add_argument(
        '--a', nargs=2, required=True, metavar=('CONFIG', 'CHECKPOINT'), help='an LFI classifier'
    )
    make.add_argument(
        '--b',
        nargs='+',
        required=True,
        metavar=('CONFIG', 'CHECKPOINT'),
        help=f'another one, or "{TEACHER}": the maps of the teacher of A',
    )
    make.add_argument('--out', required=True, help='the page, study.html; the key becomes study.key.json')
    make.add_argument(
        '--images', type=int, default=40, metavar='N', help="images of A's validation set (%(default)s)"
    )
    make.add_argument('--catch', type=int, default=8, metavar='K', help='catch trials (%(default)s)')
    make.add_argument(
        '--seed', type=int, default=0, help='of the images, their order and sides (%(default)s)'
    )
    make.add_argument(
        '--cfg-options',
        nargs='+',
        action=launch.CfgOptions,
        metavar='KEY=VALUE',
        help='change settings of both configs',
    )

    analysis = commands.add_parser('analyse', help='print the result of the answers')
    analysis.set_defaults(run=analyse_answers)
    analysis.add_argument('answers', nargs='+', metavar='ANSWERS', help='the files that the raters saved')
    analysis.add_argument('--key', required=True, help='the key that was written with the page')
    analysis.add_argument(
        '--least-catch',
        type=float,
        default=0.8,
        metavar='SHARE',
        help='leave out raters who answer a smaller share of the catch trials right (%(default)s)',
    )
    analysis.add_argument('--out', help='write all numbers to this JSON file')

    args = parser.parse_args()
    if 'b' in args:
        if args.b != [TEACHER] and len(args.b) != 2:
            make.error(f'--b takes CONFIG CHECKPOINT or {TEACHER}, got {" ".join(args.b)}')
        if args.images < 1 or args.catch < 0 or args.seed < 0:
            make.error('--images must be at least 1, --catch and --seed at least 0')
    elif not 0 <= args.least_catch <= 1:
        analysis.error(f'--least-catch {args.least_catch} must be a share, from 0 to 1')
    return args


class Student:
    """A trained LFI classifier and its validation set."""

    def __init__(self, config: str, checkpoint: str, options: dict | None) -> None:
        cfg = launch.load_config(config, options)
        if 'teacher' not in cfg.get('model', {}):
            raise launch.UsageError(f'{config} has no model.teacher: its model has no interaction maps')
        launch.require_checkpoint(checkpoint)
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        # A cache holds the training images' maps; these are validation images.
        cfg.model.teacher_cache = None
        self.config = config
        self.model = get_model(cfg, checkpoint, device=get_device()).eval()
        if not hasattr(self.model, 'predict_interactions'):
            raise launch.UsageError(
                f'{config} is of a {type(self.model).__name__}, which has no interaction maps'
            )
        self.dataset = DATASETS.build(cfg.val_dataloader.dataset)

    def maps_of(self, index: int) -> tuple[str, Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """The name of an image of the validation set, its pixels (3, H, W), and for each label two maps.

        They are the last layer's, (h, w) over locations: the student's own and the teacher's.
        """
        data = pseudo_collate([self.dataset[index]])
        batch = self.model.data_preprocessor(data, training=False)
        sample = batch['data_samples'][0]
        teacher, student = self.model.predict_interactions(batch['inputs'], batch['data_samples'])
        labels = self.model.concept_labels(batch['data_samples'])[0].nonzero().flatten().tolist()
        asked = range(teacher.logits.shape[2]) if teacher.concepts is None else teacher.concepts[0].tolist()
        own, others = (maps.over_positions()[0, -1].cpu() for maps in (student, teacher))
        names = self.model.teacher.bank.names
        maps = {names[c]: (own[m], others[m]) for m, c in enumerate(asked) if c in labels}
        return sample.metainfo.get('img_path') or str(index), data['inputs'][0], maps


def pairs_of(indices: Sequence[int], a: Student, b: Student | None) -> Iterator[Pair]:
    """A pair for each image and each of its labels; without B against A's teacher."""
    for index in tqdm(indices, unit=' images'):
        name, pixels, maps = a.maps_of(index)
        if b is None:
            pairs = maps
        else:
            other_name, other_pixels, other_maps = b.maps_of(index)
            if not torch.equal(pixels, other_pixels) or maps.keys() != other_maps.keys():
                raise launch.UsageError(
                    f'image {index} of the validation set is {name} with {sorted(maps)} for A, but '
                    f'{other_name} with {sorted(other_maps)} for B, or its pixels differ: both configs must '
                    'have the same val_dataloader.dataset and concepts'
                )
            pairs = {concept: (maps[concept][0], other_maps[concept][0]) for concept in maps}
        # Images are loaded as BGR.
        picture = pixels.flip(0).permute(1, 2, 0).numpy()
        for concept, both in pairs.items():
            yield Pair(name, concept, picture, dict(zip('AB', both)))


def make_study(args: argparse.Namespace) -> None:
    out = Path(args.out)
    key_file = out.with_suffix('.key.json')
    if key_file.exists():
        raise launch.UsageError(
            f'{key_file} is there already, and answers to its page need it: choose another --out'
        )
    a = Student(*args.a, args.cfg_options)
    b = None if args.b == [TEACHER] else Student(*args.b, args.cfg_options)
    wanted = args.images + args.catch
    if wanted > len(a.dataset) or (b is not None and len(b.dataset) != len(a.dataset)):
        raise launch.UsageError(
            f'--images {args.images} and --catch {args.catch} need {wanted} validation images of both '
            f'sources; A has {len(a.dataset)}, B {len((b or a).dataset)}'
        )
    drawn = np.random.default_rng(args.seed).permutation(len(a.dataset)).tolist()
    candidates = drawn[args.images :][: CANDIDATES * args.catch]
    pairs = list(pairs_of(drawn[: args.images], a, b))
    catches, agreement = catch_pairs(list(pairs_of(candidates, a, b)), args.catch)

    sources = {name: ', '.join(given) for name, given in (('A', args.a), ('B', args.b))}
    page, key = build_study([*pairs, *catches], sources, args.seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding='utf-8')
    key_file.write_text(json.dumps(key, indent=1) + '\n', encoding='utf-8')
    print(
        f'{len(pairs)} pairs of {args.images} images and {len(catches)} catch trials, '
        f'{len(page) / 1e6:.1f} MB: {out}\nThe key, which no rater should see: {key_file}'
    )
    if catches:
        print(
            f'In the catch trials A and B agree by a Spearman correlation of {agreement:.2f} or more. '
            'Where it is low, the right side is uncertain.'
        )


def analyse_answers(args: argparse.Namespace) -> None:
    key = read_key(args.key)
    text, results = analyse(read_raters(args.answers, key), key, args.least_catch)
    print(text)
    if args.out:
        out = Path(args.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
        print(f'\nWritten to {out}')


def main() -> None:
    args = parse_args()
    try:
        args.run(args)
    except StudyError as error:
        raise launch.UsageError(str(error)) from error


if __name__ == '__main__':
    launch.run(main)
