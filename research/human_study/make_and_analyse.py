"""Commands of the human study: make the page from two models, and analyse the answers."""

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

from research.human_study import Pair, StudyError, analyse, build_study, catch_pairs, read_key, read_raters

# Number of candidates for each catch trial.
CANDIDATES = 4


class Source:
    """Source of maps: a trained classifier and its validation set."""

    def __init__(self, config: str, model: Any, dataset: Any) -> None:
        self.config, self.model, self.dataset = config, model, dataset

    def load_batch(self, index: int) -> tuple[Tensor, dict]:
        """Load the pixels (3, H, W) of a validation image, and the preprocessed batch of it."""
        data = pseudo_collate([self.dataset[index]])
        return data['inputs'][0], self.model.data_preprocessor(data, training=False)

    def label_maps(self, index: int) -> tuple[str, Tensor, dict[str, Tensor]]:
        """Return name and pixels (3, H, W) of a validation image, and a map (h, w) for each label."""
        raise NotImplementedError


class Student(Source):
    """Student of LFI, with the maps of its last supervised block."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the concepts, the classes first."""
        return self.model.teacher.bank.names

    def label_maps(self, index: int) -> tuple[str, Tensor, dict[str, Tensor]]:
        """Return name, pixels and the maps of the student."""
        name, pixels, _, student = self._map_pairs(index)
        return name, pixels, student

    def _map_pairs(self, index: int) -> tuple[str, Tensor, dict[str, Tensor], dict[str, Tensor]]:
        pixels, batch = self.load_batch(index)
        samples = batch['data_samples']
        interactions = self.model.predict_interactions(batch['inputs'], samples)
        labels = self.model.concept_labels(samples, batch['inputs'].device)[0].nonzero().flatten().tolist()
        concepts = interactions[0].concepts
        indices = range(interactions[0].logits.shape[2]) if concepts is None else concepts[0].tolist()
        rows = {self.names[c]: m for m, c in enumerate(indices) if c in labels}
        log_probs = [maps.spatial_log_probs()[0, -1].cpu() for maps in interactions]
        teacher, student = ({name: maps[m] for name, m in rows.items()} for maps in log_probs)
        return samples[0].metainfo.get('img_path') or str(index), pixels, teacher, student


class Teacher(Student):
    """Teacher of a student, with the maps that the student learns from."""

    def label_maps(self, index: int) -> tuple[str, Tensor, dict[str, Tensor]]:
        """Return name, pixels and the maps of the teacher."""
        name, pixels, teacher, _ = self._map_pairs(index)
        return name, pixels, teacher


class Baseline(Source):
    """Classifier without interaction maps, with class activation maps of its head.

    Args:
        names: names of the classes in the other source.
    """

    def __init__(self, config: str, model: Any, dataset: Any, names: Sequence[str]) -> None:
        super().__init__(config, model, dataset)
        self.names = names

    def label_maps(self, index: int) -> tuple[str, Tensor, dict[str, Tensor]]:
        """Return name, pixels and class activation maps."""
        pixels, batch = self.load_batch(index)
        sample = batch['data_samples'][0]
        labels = sample.gt_label.flatten().tolist()
        try:
            maps = self._class_activation(batch['inputs'])[labels].cpu()
        except (AttributeError, ValueError) as error:
            raise UsageError(f'{self.config} has no maps: {error}') from error
        by_name = {self.names[label]: heat for label, heat in zip(labels, maps)}
        return sample.metainfo.get('img_path') or str(index), pixels, by_name

    @torch.no_grad()
    def _class_activation(self, images: Tensor) -> Tensor:
        """Class activation maps (K, h, w) of one image."""
        backbone = self.model.backbone
        with backbone.record_interactions() as record:
            backbone(images)
        return class_activation_maps(backbone, self.model.head, record.states)[0]


def load(config: str, checkpoint: str, options: dict | None) -> tuple[str, Any, Any]:
    """Load the arguments of a `Source`: config name, trained model and validation set."""
    cfg = load_config(config, options)
    stored = read_checkpoint(checkpoint)
    if 'dataset' not in (cfg.get('val_dataloader') or {}):
        raise UsageError(f'{config} has no val_dataloader: set it to the images that the study shows')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    # A cache holds maps of training images, not of validation images.
    if cfg.model.get('teacher'):
        cfg.model.teacher.cache = None
    model = get_model(cfg, checkpoint, device=get_device()).eval()
    check_weights(model, stored, needs_readout=True)
    return config, model, DATASETS.build(cfg.val_dataloader.dataset)


def learns_interactions(model: Any) -> bool:
    """Whether a model of any OpenMMLab package learns interaction maps."""
    return getattr(model, 'interactions', None) is not None


def load_student(config: str, checkpoint: str, options: dict | None) -> Student:
    """Load an LFI classifier.

    Raises:
        UsageError: if the model has no interaction maps.
    """
    _, model, dataset = load(config, checkpoint, options)
    if not learns_interactions(model):
        raise UsageError(
            f'{config} builds a {type(model).__name__}, which has no interaction maps: give it as --b, '
            'and an LFI classifier as --a'
        )
    return Student(config, model, dataset)


def load_second_source(given: Sequence[str], a: Student, options: dict | None) -> Source:
    """Load the source to compare with A: the teacher of A, or another classifier."""
    if len(given) == 1:
        # The parser has checked that the one word is `teacher`.
        return Teacher(a.config, a.model, a.dataset)
    config, checkpoint = given
    config, model, dataset = load(config, checkpoint, options)
    if learns_interactions(model):
        return Student(config, model, dataset)
    return Baseline(config, model, dataset, a.names)


def make_pairs(indices: Sequence[int], a: Student, b: Source) -> Iterator[Pair]:
    """Yield a pair of maps for each label of each image."""
    for index in tqdm(indices, unit=' images'):
        name, pixels, maps = a.label_maps(index)
        other_name, other_pixels, other_maps = b.label_maps(index)
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
        UsageError: if the key exists, or there are too few images or labels.
    """
    out = Path(args.out)
    key_file = out.with_suffix('.key.json')
    if key_file.exists():
        raise UsageError(f'{key_file} exists, and answers to its page need it: choose another --out')
    make_folder(out.parent, '--out')
    config, checkpoint = args.a
    a = load_student(config, checkpoint, args.cfg_options)
    b = load_second_source(args.b, a, args.cfg_options)
    num_images = args.images + args.catch
    if num_images > len(a.dataset) or len(b.dataset) != len(a.dataset):
        raise UsageError(
            f'--images {args.images} and --catch {args.catch} need {num_images} validation images of both '
            f'sources; A has {len(a.dataset)}, B {len(b.dataset)}'
        )
    shuffled = np.random.default_rng(args.seed).permutation(len(a.dataset)).tolist()
    candidates = shuffled[args.images :][: CANDIDATES * args.catch]
    pairs = list(make_pairs(shuffled[: args.images], a, b))
    catches, agreement = catch_pairs(list(make_pairs(candidates, a, b)), args.catch)
    if not pairs or len(catches) < args.catch:
        raise UsageError(
            f'the drawn images have labels for {len(pairs)} pairs and {len(catches)} of --catch {args.catch} '
            'catch trials: a study needs images with labels; change --images or --catch, or give another '
            'config as --a'
        )

    sources = {name: ', '.join(words) for name, words in (('A', args.a), ('B', args.b))}
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
            f'In the catch trials A and B agree with a Spearman correlation of {agreement:.2f} or more. '
            'If it is low, the right side is uncertain.'
        )


def analyse_answers(args: Namespace) -> None:
    """Analyse the answers and print the result."""
    key = read_key(args.key)
    text, results = analyse(read_raters(args.answers, key), key, args.least_catch)
    print(text)
    if args.out:
        out = Path(args.out)
        AtomicLocalBackend().put_text(json.dumps(results, indent=1) + '\n', out)
        print(f'\nWritten to {out}')


def main(args: Namespace) -> None:
    """Run the command."""
    with as_usage_error(StudyError):
        {'make': make_study, 'analyse': analyse_answers}[args.command](args)
