"""The page of a study among people, made from two models, and the analysis of the answers."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lfi.engine.checkpoints.weight_files import read_checkpoint
from lfi.engine.config_loading import load_config
from lfi.engine.hooks.fitting_weights import check_weights
from lfi.errors import UsageError, as_usage_error
from lfi.models import class_activation_maps
from lfi.utils.fileio import AtomicLocalBackend
from lfi.utils.folders import make_folder
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS, init_default_scope
from mmpretrain import get_model
from torch import Tensor
from tqdm import tqdm

from research.human_study import (
    Pair,
    StudyError,
    analyse,
    build_study,
    catch_pairs,
    read_key,
    read_raters,
)

# Candidates for each catch trial; the best become trials.
CANDIDATES = 4


class Source:
    """A trained classifier and its validation set."""

    def __init__(self, config: str, model: Any, dataset: Any) -> None:
        self.config, self.model, self.dataset = config, model, dataset

    def batch_of(self, index: int) -> tuple[Tensor, dict]:
        """The pixels (3, H, W) of an image of the validation set, and the model's batch of it."""
        data = pseudo_collate([self.dataset[index]])
        return data['inputs'][0], self.model.data_preprocessor(data, training=False)

    def maps_of(self, index: int) -> tuple[str, Tensor, dict[str, Tensor]]:
        """The name of an image of the validation set, its pixels, and for each label a map (h, w)."""
        raise NotImplementedError


class Student(Source):
    """One that learnt from interactions: the maps of the last supervised block."""

    @property
    def names(self) -> Sequence[str]:
        """Of the concepts, the classes first."""
        return self.model.teacher.bank.names

    def maps_of(self, index: int) -> tuple[str, Tensor, dict[str, Tensor]]:
        """As `Source.maps_of`."""
        name, pixels, _, student = self._both(index)
        return name, pixels, student

    def _both(self, index: int) -> tuple[str, Tensor, dict[str, Tensor], dict[str, Tensor]]:
        pixels, batch = self.batch_of(index)
        samples = batch['data_samples']
        both = self.model.predict_interactions(batch['inputs'], samples)
        labels = self.model.concept_labels(samples, batch['inputs'].device)[0].nonzero().flatten().tolist()
        concepts = both[0].concepts
        asked = range(both[0].logits.shape[2]) if concepts is None else concepts[0].tolist()
        of_teacher, of_student = (maps.spatial_log_probs()[0, -1].cpu() for maps in both)
        at = {self.names[c]: m for m, c in enumerate(asked) if c in labels}
        teacher, student = ({c: maps[m] for c, m in at.items()} for maps in (of_teacher, of_student))
        return samples[0].metainfo.get('img_path') or str(index), pixels, teacher, student


class Teacher(Student):
    """The teacher of a student: its own maps, as the student learns from them."""

    def maps_of(self, index: int) -> tuple[str, Tensor, dict[str, Tensor]]:
        """As `Source.maps_of`."""
        name, pixels, teacher, _ = self._both(index)
        return name, pixels, teacher


class Baseline(Source):
    """One that learnt otherwise and has no interaction maps: class activation maps of its head.

    Args:
        names: of its classes, as the other source has them.
    """

    def __init__(self, config: str, model: Any, dataset: Any, names: Sequence[str]) -> None:
        super().__init__(config, model, dataset)
        self.names = names

    def maps_of(self, index: int) -> tuple[str, Tensor, dict[str, Tensor]]:
        """As `Source.maps_of`."""
        pixels, batch = self.batch_of(index)
        sample = batch['data_samples'][0]
        labels = sample.gt_label.flatten().tolist()
        try:
            maps = self._class_activation(batch['inputs'])[labels].cpu()
        except (AttributeError, ValueError) as error:
            raise UsageError(f'{self.config} has no maps: {error}') from error
        found = {self.names[label]: each for label, each in zip(labels, maps)}
        return sample.metainfo.get('img_path') or str(index), pixels, found

    @torch.no_grad()
    def _class_activation(self, images: Tensor) -> Tensor:
        """Of one image, (K, h, w)."""
        backbone = self.model.backbone
        with backbone.record_interactions() as record:
            backbone(images)
        return class_activation_maps(backbone, self.model.head, record.states)[0]


def load(config: str, checkpoint: str, options: dict | None) -> tuple[str, Any, Any]:
    """A config's name, its trained model and its validation set, for a `Source`."""
    cfg = load_config(config, options)
    stored = read_checkpoint(checkpoint)
    if 'dataset' not in (cfg.get('val_dataloader') or {}):
        raise UsageError(f'{config} has no val_dataloader, whose images a study shows')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    # A cache holds the training images' maps; these are validation images.
    if cfg.model.get('teacher'):
        cfg.model.teacher.cache = None
    model = get_model(cfg, checkpoint, device=get_device()).eval()
    check_weights(model, stored, asked=True)
    return config, model, DATASETS.build(cfg.val_dataloader.dataset)


def learns_interactions(model: Any) -> bool:
    """Whether a model has interaction maps beside its teacher's; any of OpenMMLab's can be asked."""
    return getattr(model, 'interactions', None) is not None


def load_student(config: str, checkpoint: str, options: dict | None) -> Student:
    """An LFI classifier; arguments as of `load`.

    Raises:
        UsageError: If it has no interaction maps.
    """
    _, model, dataset = load(config, checkpoint, options)
    if not learns_interactions(model):
        raise UsageError(
            f'{config} is of a {type(model).__name__}, which has no interaction maps: give it as --b, '
            'after an LFI classifier as --a'
        )
    return Student(config, model, dataset)


def load_other(given: Sequence[str], a: Student, options: dict | None) -> Source:
    """What A is compared with."""
    if len(given) == 1:
        # The word for A's own teacher, as the parser has checked.
        return Teacher(a.config, a.model, a.dataset)
    config, checkpoint = given
    config, model, dataset = load(config, checkpoint, options)
    if learns_interactions(model):
        return Student(config, model, dataset)
    return Baseline(config, model, dataset, a.names)


def pairs_of(indices: Sequence[int], a: Student, b: Source) -> Iterator[Pair]:
    """A pair for each image and each of its labels."""
    for index in tqdm(indices, unit=' images'):
        name, pixels, maps = a.maps_of(index)
        other_name, other_pixels, other_maps = b.maps_of(index)
        if not torch.equal(pixels, other_pixels) or maps.keys() != other_maps.keys():
            raise UsageError(
                f'image {index} of the validation set is {name} with {sorted(maps)} for A, but '
                f'{other_name} with {sorted(other_maps)} for B, or its pixels differ: both configs must '
                'have the same val_dataloader.dataset and concepts'
            )
        # Images are loaded as BGR.
        picture = pixels.flip(0).permute(1, 2, 0).numpy()
        for concept, heat in maps.items():
            yield Pair(name, concept, picture, {'A': heat, 'B': other_maps[concept]})


def make_study(args: Namespace) -> None:
    """Write the page and its key.

    Raises:
        UsageError: If the key is there already, or the sources have too few images, or these too few labels.
    """
    out = Path(args.out)
    key_file = out.with_suffix('.key.json')
    if key_file.exists():
        raise UsageError(
            f'{key_file} is there already, and answers to its page need it: choose another --out'
        )
    make_folder(out.parent, '--out')
    config, checkpoint = args.a
    a = load_student(config, checkpoint, args.cfg_options)
    b = load_other(args.b, a, args.cfg_options)
    wanted = args.images + args.catch
    if wanted > len(a.dataset) or len(b.dataset) != len(a.dataset):
        raise UsageError(
            f'--images {args.images} and --catch {args.catch} need {wanted} validation images of both '
            f'sources; A has {len(a.dataset)}, B {len(b.dataset)}'
        )
    drawn = np.random.default_rng(args.seed).permutation(len(a.dataset)).tolist()
    candidates = drawn[args.images :][: CANDIDATES * args.catch]
    pairs = list(pairs_of(drawn[: args.images], a, b))
    catches, agreement = catch_pairs(list(pairs_of(candidates, a, b)), args.catch)
    if not pairs or len(catches) < args.catch:
        raise UsageError(
            f'the drawn images have labels for {len(pairs)} pairs and {len(catches)} of --catch {args.catch} '
            'catch trials: a study needs images with labels; set --images and --catch to fit, or take '
            'another config for --a'
        )

    sources = {name: ', '.join(given) for name, given in (('A', args.a), ('B', args.b))}
    if isinstance(b, Baseline):
        sources['B'] += ' (class activation)'
    page, key = build_study([*pairs, *catches], sources, args.seed)
    AtomicLocalBackend().put_text(page, out)
    AtomicLocalBackend().put_text(json.dumps(key, indent=1) + '\n', key_file)
    print(
        f'{len(pairs)} pairs of {args.images} images and {len(catches)} catch trials, '
        f'{len(page) / 1e6:.1f} MB: {out}\nThe key, which no rater should see: {key_file}'
    )
    if catches:
        print(
            f'In the catch trials A and B agree by a Spearman correlation of {agreement:.2f} or more. '
            'Where it is low, the right side is uncertain.'
        )


def analyse_answers(args: Namespace) -> None:
    """Print what the answers say."""
    key = read_key(args.key)
    text, results = analyse(read_raters(args.answers, key), key, args.least_catch)
    print(text)
    if args.out:
        out = Path(args.out)
        AtomicLocalBackend().put_text(json.dumps(results, indent=1) + '\n', out)
        print(f'\nWritten to {out}')


def main(args: Namespace) -> None:
    """Run the tool."""
    with as_usage_error(StudyError):
        {'make': make_study, 'analyse': analyse_answers}[args.command](args)
