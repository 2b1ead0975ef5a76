"""Pretrain a ResNet-18 or a small ViT by LFI, and the ResNet by LightlyTrain's own package, and compare.

All learn from one teacher and the same unlabelled photos of Tiny-ImageNet (the classes from the 21st on, 64
px), with random weights at first, in equally many epochs and batches. LightlyTrain has an environment of its
own. It runs `distillationv3` with its defaults, but for the learning rate, and the teacher `lit-lite0`,
traced. LFI runs `lfi.pretrain`, also with dense features beside or in place of interactions, and with another
image's maps. Its texts are ImageNet's names without those of the tested classes; the names of the photos'
classes are among them. Dense features and LightlyTrain have no texts. Frozen features are compared
on the first 20 classes. A stopped command goes on: `--results` keeps the numbers of each run.

Each side keeps what belongs to its method: LightlyTrain's teacher sees each augmented view, with Mixup and
colours, and LFI's one look at each image; crops begin at 0.14 and 0.35 of an image; weight decay is 1e-6 and
0.05; LightlyTrain reads the last feature map, and LFI the last two. LightlyTrain drops an epoch's last,
smaller batch. It multiplies its learning rate by the square root of the batch size / 1536. LFI's rates here
are for the batch size as it is. `untrained` has random weights. The ViT is that of the studies on photos,
with stem and prior in each run.

    LFI_DATA_ROOT=... LFI_TEACHER_ROOT=... python -m research lightly-train --peer OTHER_VENV/bin/python

Settings are chosen beforehand, with a seed of its own and one half of the references as queries:

    ... --seeds 100 --tuning --learning-rates 0.0005 0.002 0.008 --own-learning-rates 0.0007 0.0014 0.0028
    ... --seeds 100 --tuning --own-weights 1 4 --dense-weights 2 8 32
    ... --seeds 100 --tuning --own-weights 1 4 --max-concepts 64 256

Without `--peer`, LightlyTrain does not run. `--student vit` needs none.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import lfi
import mmcv
import numpy as np
import torch
from lfi.cli.arguments import ArgumentParser, positive, whole
from lfi.cli.running import run_tool
from lfi.errors import UsageError
from lfi.evaluation import KNNMetric, LinearProbeMetric
from lfi.models import InteractionQueryViT
from lfi.models.teachers import VLMAttentionTeacher, build_teacher
from lfi.utils import markdown
from open_clip import IMAGENET_CLASSNAMES
from timm.data import ImageNetInfo
from torch import Tensor, nn
from torchvision.models import resnet18

from ..studies.arms import ARMS, LOSS
from ..studies.csv_file import write_csv
from ..studies.locks import publishing_lock, run_lock
from ..studies.paired import mean_and_spread, paired_by_seed
from ..studies.settings_digest import settings_digest

NUM_TEST_CLASSES, TRAIN_IMAGES, SIDE = 20, 250, 64
"""Classes that are tested and not trained on, training images of a class, and side of an image in pixels."""
TEACHER, TEACHER_SIDE = 'lit-lite0', 224
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Normalisation of the students' RGB images in [0, 255]. Both packages have it."""
METRICS = ('knn', 'linear', 'linear_10')
TITLES = ('k-NN', 'linear probe', 'linear probe, 10 labels a class', 'seconds')
TUNING, TEST = 'tuning', 'test'
"""Parts of a file of results."""

# The traced teacher takes images that are normalised as its own are, at its own size.
PEER = """
import json, time
import torch
import torch.nn.functional as F
import lightly_train

arguments = json.loads({arguments!r})
photos, teacher, side, scale, shift, seed, epochs, batch_size, rate, size, workers, out = arguments


class Teacher(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = torch.jit.load(teacher)
        self.register_buffer("scale", torch.tensor(scale).view(3, 1, 1))
        self.register_buffer("shift", torch.tensor(shift).view(3, 1, 1))

    def get_model(self):
        return self

    def feature_dim(self):
        return 512

    def forward_features(self, x):
        x = F.interpolate(x * self.scale + self.shift, (side, side), mode="bicubic", antialias=True)
        return {{"features": self.trunk(x)}}

    def forward_pool(self, x):
        return {{"pooled_features": x["features"].mean((2, 3), keepdim=True)}}


if __name__ == "__main__":
    start = time.perf_counter()
    lightly_train.pretrain(
        out=out, data=photos, model="torchvision/resnet18", method="distillationv3",
        method_args=dict(teacher=Teacher()), epochs=epochs, batch_size=batch_size, seed=seed,
        num_workers=workers, precision="32-true", accelerator="cpu", overwrite=True,
        optim_args=dict(lr=rate), transform_args=dict(image_size=(size, size)),
    )
    print("seconds", time.perf_counter() - start)
"""

OURS = """
import json, time
import lfi

arguments = json.loads({arguments!r})
photos, model, teacher, concepts, seed, epochs, batch_size, size, workers, options, out = arguments
if __name__ == "__main__":
    start = time.perf_counter()
    lfi.pretrain(
        photos, model=model, teacher=teacher, concepts=concepts, epochs=epochs, batch_size=batch_size,
        input_size=size, workers=workers, out=out, cfg_options={{"randomness.seed": seed, **options}},
    )
    print("seconds", time.perf_counter() - start)
"""


Train = Callable[[Namespace, Path, Path, int, Any, Path], tuple[float, dict[str, Tensor]]]
Run = tuple[str, Any, Train]
"""Name, setting and function of a run."""
# As in `configs/_base_/models/vit-128x6-p8_64.py`, and without a final norm.
VIT: dict[str, Any] = dict(
    arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256),
    img_size=SIDE,
    patch_size=8,
    stem=dict(type='lfi.ConvStem'),
    with_cls_token=False,
    out_type='avg_featmap',
    final_norm=False,
)
LOSS_WEIGHTS = {f'{LOSS}.spatial_weight': 1.0, f'{LOSS}.semantic_weight': 2.0, f'{LOSS}.presence_weight': 1.0}
DENSE_WEIGHT = 'model.supervision.dense_features.loss_weight'


class Student(NamedTuple):
    """Student of the comparison.

    Args:
        label: what the names of its runs begin with.
        model: name of the model for `lfi.pretrain`.
        options: changes of the config that `lfi.pretrain` writes.
        build: builds the model without a head. It gives features (N, C) of images, or a tuple that ends so.
    """

    label: str
    model: str
    options: dict[str, Any]
    build: Callable[[], nn.Module]


def build_resnet() -> nn.Module:
    """Build torchvision's ResNet-18."""
    model = resnet18()
    model.fc = nn.Identity()
    return model


def build_vit() -> nn.Module:
    """Build the ViT of the studies, initialised as in training."""
    model = InteractionQueryViT(**VIT)
    model.init_weights()
    return model


STUDENTS = {
    'resnet18': Student('', 'resnet18', {}, build_resnet),
    'vit': Student(
        'ViT: ',
        'deit-tiny',
        {
            **{f'model.backbone.{name}': value for name, value in VIT.items()},
            # In the config that `lfi.pretrain` writes, it is a name.
            'model.backbone.arch': dict(_delete_=True, **VIT['arch']),
            'model.supervision.prior.type': 'lfi.AffinityPrior',
        },
        build_vit,
    ),
}


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--peer', help='python of an environment with lightly-train 0.18 (none)')
    parser.add_argument('--student', choices=STUDENTS, default='resnet18', help='(%(default)s)')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/lightly-train'), help='folder (%(default)s)'
    )
    parser.add_argument(
        '--results',
        type=Path,
        default=Path('work_dirs/lightly-train.csv'),
        help='CSV file of all runs (%(default)s)',
    )
    parser.add_argument('--seeds', type=whole, nargs='+', default=[0, 1, 2], metavar='N')
    parser.add_argument('--epochs', type=positive, default=8, help='epochs of both (%(default)s)')
    parser.add_argument('--batch-size', type=positive, default=64, help='images of a step (%(default)s)')
    parser.add_argument('--workers', type=positive, default=1, help='data workers of both (%(default)s)')
    parser.add_argument(
        '--images', type=positive, default=TRAIN_IMAGES, help='images of a class (%(default)s)'
    )
    for name, default, metavar, meaning in (
        ('--learning-rates', [0.002], 'LR', 'of LightlyTrain (0.002; its own default is 0.0005)'),
        (
            '--own-learning-rates',
            [0.0014],
            'LR',
            'of LFI, dense features and the control (0.0014, as `lfi.pretrain` has at 64 images a step)',
        ),
        ('--own-weights', [1.0], 'W', "of LFI's losses, times 1, 2 and 1 (1)"),
        ('--dense-weights', [], 'W', 'of dense features, beside and in place of interactions (none)'),
    ):
        parser.add_argument(name, type=float, nargs='+', default=default, metavar=metavar, help=meaning)
    parser.add_argument(
        '--max-concepts',
        type=positive,
        nargs='+',
        default=[],
        metavar='M',
        help="concepts that LFI asks about in an image, beside the config's 16 (none)",
    )
    parser.add_argument('--control', action='store_true', help="learn other images' maps, too")
    parser.add_argument('--tuning', action='store_true', help='test on one half of the references')
    return parser.parse_args()


def run() -> None:
    """Run the command."""
    run_tool(main, parse_args())


def main(args: Namespace) -> None:
    """Run the command with its arguments."""
    for name in ('LFI_DATA_ROOT', 'LFI_TEACHER_ROOT'):
        if name not in os.environ:
            raise UsageError(f'{name} is not set: set it to the folder of the data, or of the teachers')
    student = STUDENTS[args.student]
    if args.peer and student.label:
        raise UsageError(f'--peer trains a ResNet-18 alone: leave it out with --student {args.student}')
    # A second command would write the photos anew, which the first one trains on.
    with run_lock(args.out / '.lock'):
        compare(args, student)


def compare(args: Namespace, student: Student) -> None:
    """Train and test the runs that have no result."""
    results = Results(args.results, TUNING if args.tuning else TEST)
    source = Path(os.environ['LFI_DATA_ROOT']) / 'tiny-imagenet-200'
    photos = write_photos(source, args.out / 'photos', args.images)
    teacher = trace_teacher(args.out / 'teacher.pt')
    references, queries = split_images(source, args.tuning)
    runs: list[Run] = [
        ('untrained', None, untrained),
        *(run for rate in args.own_learning_rates for run in own_runs(student, rate, args)),
    ]
    if args.peer:
        runs += [(f'LightlyTrain, lr {rate:g}', rate, run_peer) for rate in args.learning_rates]
    runs = [(f'{student.label}{name}', setting, train) for name, setting, train in runs]
    for seed in args.seeds:
        for name, setting, train in runs:
            identity = settings_digest(args.epochs, args.batch_size, args.images, setting)
            if not results.has(name, seed, identity):
                folder = args.out / f'{re.sub(r"[^a-zA-Z0-9.]+", "-", name)}-seed{seed}'
                folder.mkdir(exist_ok=True)
                seconds, state = train(args, photos, teacher, seed, setting, folder)
                results.add(
                    name,
                    seed,
                    identity,
                    **frozen_accuracy(student.build(), state, references, queries),
                    seconds=seconds,
                )
            print(results.table(), flush=True)
    # Of this package, the run that is named first.
    print(f'\n{results.differences(runs[1][0])}')


def own_runs(student: Student, rate: float, args: Namespace) -> Iterator[Run]:
    """Yield the runs of this package at a learning rate."""
    options = {'optim_wrapper.optimizer.lr': rate, **student.options}
    methods = {}
    for factor, count in product(args.own_weights, (None, *args.max_concepts)):
        setting = {name: factor * weight for name, weight in LOSS_WEIGHTS.items()}
        method = 'LFI' if factor == 1 else f'LFI, weights times {factor:g}'
        if count is not None:
            method += f', {count} concepts'
            setting['model.teacher.max_concepts'] = count
        methods[method] = setting
    for method, setting in methods.items():
        yield f'{method}, lr {rate:g}', {**setting, **options}, run_lfi
    for weight in args.dense_weights:
        dense_name = f'dense features, weight {weight:g}, lr {rate:g}'
        dense = {DENSE_WEIGHT: weight, **options}
        yield dense_name, {**options_of('dense-features'), **dense}, run_lfi
        for method, setting in methods.items():
            together = {**setting, **options_of('lfi-dense-features'), **dense}
            yield f'{method}{"," * ("," in method)} + {dense_name}', together, run_lfi
    if args.control:
        yield f'other image, lr {rate:g}', {**options_of('other-image'), **options}, run_lfi


class Results:
    """Accuracies and seconds of runs in a CSV file, which outlives the folders of the runs.

    Args:
        path: path of the file.
        part: `TUNING` or `TEST`. Only rows of this part are read; the others stay.
    """

    columns = ('run', 'part', 'seed', *METRICS, 'seconds', 'identity')

    def __init__(self, path: Path, part: str) -> None:
        self._path, self._part = path, part
        self._rows = self._read()

    def _read(self) -> list[dict[str, str]]:
        if not self._path.exists():
            return []
        with self._path.open(newline='') as file:
            return list(csv.DictReader(file))

    def has(self, run: str, seed: int, identity: str) -> bool:
        """Whether a run is there.

        Raises:
            UsageError: if the run had other settings.
        """
        identities = [row['identity'] for row in self._own(run) if row['seed'] == str(seed)]
        if any(found != identity for found in identities):
            raise UsageError(
                f'{self._path}: {run}, seed {seed}, was run with other settings: '
                'remove the row, or choose another file'
            )
        return bool(identities)

    def add(self, run: str, seed: int, identity: str, **values: float) -> None:
        """Add the values of a run to the file, to which another command may have added some."""
        row = dict(run=run, part=self._part, seed=seed, identity=identity)
        row |= {name: f'{value:.2f}' for name, value in values.items()}
        with publishing_lock(self._path.parent):
            self._rows = [*self._read(), {name: str(row[name]) for name in self.columns}]
            write_csv([self.columns, *(list(row.values()) for row in self._rows)], self._path)

    def table(self) -> str:
        """Return a Markdown table of the means and standard deviations over seeds."""
        rows = []
        for run in dict.fromkeys(row['run'] for row in self._rows if row['part'] == self._part):
            values = [[float(row[name]) for row in self._own(run)] for name in (*METRICS, 'seconds')]
            rows.append([run, len(values[0]), *map(mean_and_spread, values)])
        return markdown.table(['', 'seeds', *TITLES], rows)

    def differences(self, method: str) -> str:
        """Return a Markdown table of a run minus each other run, with intervals over shared seeds."""
        rows = []
        for run in dict.fromkeys(row['run'] for row in self._rows if row['part'] == self._part):
            if run != method:
                pairs = [(self._by_seed(run, name), self._by_seed(method, name)) for name in METRICS]
                rows.append([run, *(paired_by_seed(*pair) or '–' for pair in pairs)])
        return markdown.table([f'{method}, minus', *TITLES[:-1]], rows)

    def _by_seed(self, run: str, column: str) -> dict[int, float]:
        return {int(row['seed']): float(row[column]) for row in self._own(run)}

    def _own(self, run: str) -> list[dict[str, str]]:
        return [row for row in self._rows if row['run'] == run and row['part'] == self._part]


def untested_names(source: Path) -> list[str]:
    """Return ImageNet's names without those of the tested classes, each once."""
    tested = class_folders(source)[:NUM_TEST_CLASSES]
    ids = ImageNetInfo('imagenet-1k').label_names()
    return list(dict.fromkeys(name for wnid, name in zip(ids, IMAGENET_CLASSNAMES) if wnid not in tested))


def class_folders(source: Path) -> list[str]:
    """Return the ids of the classes that are there, in the order of `wnids.txt`."""
    ids = (source / 'wnids.txt').read_text().split()
    return [wnid for wnid in ids if (source / 'train' / wnid).is_dir()]


def write_photos(source: Path, folder: Path, images: int) -> Path:
    """Link the unlabelled training photos into one folder, and return it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for wnid in class_folders(source)[NUM_TEST_CLASSES:]:
        for image in sorted((source / 'train' / wnid / 'images').iterdir())[:images]:
            (folder / image.name).symlink_to(image.resolve())
    return folder


class Locations(nn.Module):
    """Features (B, E, h, w) of the teacher's locations, from normalised images of its size."""

    def __init__(self) -> None:
        super().__init__()
        # The texts are not read.
        teacher = build_teacher(
            lfi.teacher_config(TEACHER, concepts=['photo'], background=['other'], input_size=TEACHER_SIDE), ()
        )
        assert isinstance(teacher, VLMAttentionTeacher)
        self.extractor, self.mean, self.std = teacher.extractor, teacher.mean, teacher.std
        # The extractor is no module of its own.
        self.model = next(value for value in vars(teacher.extractor).values() if isinstance(value, nn.Module))

    def forward(self, images: Tensor) -> Tensor:
        """Return the features."""
        return self.extractor.features(images)[0][:, -1]


def trace_teacher(path: Path) -> Path:
    """Trace the teacher, unless the file is there, beside a file with its normalisation; return the file."""
    if not path.is_file():
        module = Locations().eval()
        with torch.no_grad():
            traced = torch.jit.trace(module, torch.randn(2, 3, TEACHER_SIDE, TEACHER_SIDE), check_trace=False)
        traced.save(str(path))
        path.with_suffix('.json').write_text(json.dumps([module.mean, module.std]))
    return path


def options_of(arm: str) -> dict[str, Any]:
    """Return the options of an arm of the studies."""
    pairs = (option.split('=', 1) for option in ARMS[arm].options)
    return {key: None if value == 'None' else value for key, value in pairs}


def untrained(
    args: Namespace, photos: Path, teacher: Path, seed: int, setting: None, folder: Path
) -> tuple[float, dict[str, Tensor]]:
    """Return no seconds, and random weights of the student."""
    torch.manual_seed(seed)
    return 0.0, STUDENTS[args.student].build().state_dict()


def run_lfi(
    args: Namespace, photos: Path, teacher: Path, seed: int, options: dict[str, Any], folder: Path
) -> tuple[float, dict[str, Tensor]]:
    """Pretrain by LFI, and return its seconds and the weights of the student."""
    options = {**options, 'model.teacher.input_size': TEACHER_SIDE}
    out = folder / 'run'
    shutil.rmtree(out, ignore_errors=True)
    concepts = untested_names(Path(os.environ['LFI_DATA_ROOT']) / 'tiny-imagenet-200')
    common = [seed, args.epochs, args.batch_size, SIDE, args.workers, options, str(out)]
    model = STUDENTS[args.student].model
    seconds = _run(sys.executable, OURS, [str(photos), model, TEACHER, concepts, *common], folder)
    (checkpoint,) = out.glob(f'epoch_{args.epochs}.pth')
    return seconds, torch.load(checkpoint, map_location='cpu', weights_only=False)['state_dict']


def run_peer(
    args: Namespace, photos: Path, teacher: Path, seed: int, rate: float, folder: Path
) -> tuple[float, dict[str, Tensor]]:
    """Pretrain by LightlyTrain, and return its seconds and the weights of the ResNet."""
    own_mean, own_std = json.loads(teacher.with_suffix('.json').read_text())
    scale = [std / 255 / own for std, own in zip(STD, own_std)]
    shift = [(value / 255 - own) / own_s for value, own, own_s in zip(MEAN, own_mean, own_std)]
    common = [seed, args.epochs, args.batch_size, rate, SIDE, args.workers, str(folder / 'run')]
    arguments = [str(photos), str(teacher), TEACHER_SIDE, scale, shift, *common]
    seconds = _run(args.peer, PEER, arguments, folder)
    state = torch.load(folder / 'run/exported_models/exported_last.pt', map_location='cpu', weights_only=True)
    return seconds, state


def _run(python: str, script: str, arguments: list, folder: Path) -> float:
    """Run a script with arguments as a user would, and return the seconds that it prints."""
    file, log = folder / 'train.py', folder / 'log.txt'
    file.write_text(script.format(arguments=json.dumps(arguments)))
    env = {**os.environ, 'LFI_REPORT': '0'}
    if python != sys.executable:
        env.pop('PYTHONPATH', None)
    start = time.perf_counter()
    with log.open('w') as output:
        code = subprocess.run([python, file], stdout=output, stderr=subprocess.STDOUT, env=env, check=False)
    if code.returncode:
        raise UsageError(f'{file} failed after {time.perf_counter() - start:.0f} seconds: see {log}')
    return float(re.findall(r'^seconds ([\d.]+)', log.read_text(), re.MULTILINE)[-1])


Images = tuple[Tensor, Tensor]
"""Images (N, 3, H, W), normalised, and labels (N,)."""


def split_images(source: Path, tuning: bool) -> tuple[Images, Images]:
    """Return references and queries of the tested classes: official validation images are the queries.

    Args:
        source: folder of Tiny-ImageNet.
        tuning: whether every second reference is a query in place of the validation images.
    """
    ids = class_folders(source)[:NUM_TEST_CLASSES]
    train = [
        (path, label)
        for label, wnid in enumerate(ids)
        for path in sorted((source / 'train' / wnid / 'images').iterdir())[:100]
    ]
    if tuning:
        return _read(train[::2]), _read(train[1::2])
    with (source / 'val/val_annotations.txt').open() as file:
        rows = [row for row in csv.reader(file, delimiter='\t') if row[1] in ids]
    return _read(train), _read([(source / 'val/images' / row[0], ids.index(row[1])) for row in rows])


def _read(items: list[tuple[Path, int]]) -> Images:
    images = np.stack([mmcv.imread(str(path), channel_order='rgb') for path, _ in items]).astype(np.float32)
    normalised = torch.from_numpy((images - MEAN) / STD).float().permute(0, 3, 1, 2)
    return normalised, torch.tensor([label for _, label in items])


@torch.no_grad()
def frozen_accuracy(
    model: nn.Module, state: dict[str, Tensor], references: Images, queries: Images
) -> dict[str, float]:
    """Return the top-1 accuracy of a model's pooled features, in per cent, by metric.

    Args:
        model: gives features (N, C) of images; its weights are replaced.
        state: weights of the model. Their names may have a prefix that ends in `backbone.`.
        references: images with labels that are known.
        queries: images to name.

    Raises:
        UsageError: if a weight is missing.
    """
    plain = {name.rpartition('backbone.')[2]: value for name, value in state.items()}
    missing = [key for key in model.state_dict() if key not in plain]
    if missing:
        raise UsageError(f'the weights have no {missing[0]} of the student')
    model.load_state_dict({key: plain[key] for key in model.state_dict()})
    model.eval()
    known, asked = (
        torch.cat([_last(model(chunk)) for chunk in images.split(200)])
        for images in (references[0], queries[0])
    )
    labels, truth = references[1], queries[1]
    # The first ten references of each class.
    place = torch.stack([(labels[:i] == labels[i]).sum() for i in range(len(labels))])
    few = place < 10
    predicted = {
        'knn': KNNMetric().predict(known, labels, asked),
        'linear': LinearProbeMetric().predict(known, labels, asked),
        'linear_10': LinearProbeMetric().predict(known[few], labels[few], asked),
    }
    return {name: 100 * (found == truth).float().mean().item() for name, found in predicted.items()}


def _last(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return outputs[-1] if isinstance(outputs, tuple) else outputs
