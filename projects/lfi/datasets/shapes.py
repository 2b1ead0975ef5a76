"""`Shapes`: a synthetic data set of textured shapes, drawn on the fly without files."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmpretrain.datasets import BaseDataset
from pycocotools import mask as rle

from lfi.registry import DATASETS
from lfi.utils.arrays import SharedArray

from .rendering import CLASS_NAMES, PAINTERS, caption, sample_scene

SPLITS = ('train', 'val', 'test')
MIN_IMG_SIZE = 32
MAX_OBJECTS = 4


@DATASETS.register_module()
class Shapes(BaseDataset):
    """Textured shapes over clutter, with labels, boxes, instance masks and captions, in four domains.

    An image depends on `(seed, split, index)`, and not on order, process or number of workers. It has one to
    four objects that may overlap. Its label is the class of the *main* object, whose visible area is at least
    1.4 times that of any other object. Index `i` has the label `i % 20`. An index shows the same scene in
    every domain.

    `get_data_info(i)`, the input of the pipeline, holds:

    - `img`: (img_size, img_size, 3) uint8, BGR, as from `LoadImageFromFile`; `img_shape`, `ori_shape`,
      `height` and `width` in pixels.
    - `gt_label`: int, the class of the main object.
    - `gt_bboxes`: (N, 4) float32, x1 y1 x2 y2 in pixels, tight around the visible part; x2 and y2 are
      exclusive.
    - `gt_bboxes_labels`: (N,) int64; the main object comes first.
    - `gt_masks`: (N, img_size, img_size) bool, the visible parts, which do not overlap.
    - `instances`: the same boxes, labels and masks (run-length encoded) in mmdet's format, for its
      `LoadAnnotations` and `CocoMetric`; and `img_id`.
    - `img_path`: name of the image, which identifies it in a cache. There is no such file.
    - `caption`: str, such as `a striped red star left of a small blue ring, painting`.
    - `domain`: str, and `sample_idx`: int.

    Args:
        split: `'train'`, `'val'` or `'test'`, which share no image.
        num_images: Number of images. A larger number keeps the images of a smaller number.
        img_size: Side of the image in pixels, at least 32. Defaults to 64.
        domains: One or more of `'photo'`, `'painting'`, `'cartoon'`, `'sketch'`; each index draws one of
            them. Defaults to `('photo',)`.
        seed: Seed of the data set. Data sets of two seeds share no image. Defaults to 0.
        cache: Whether to keep drawn images in memory shared with forked workers, at most
            `num_images * img_size ** 2 * 4` bytes. Defaults to True.
        pipeline: Transforms. A type without a scope is mmpretrain's. Defaults to ().
        **kwargs: Arguments of `mmpretrain.datasets.BaseDataset`: `indices`, `test_mode`, `lazy_init`, ...

    Raises:
        ValueError: If the split or a domain is unknown, `num_images` is below 1 or `img_size` below 32.

    Examples:
        >>> sample = Shapes('val', num_images=100, domains=('photo', 'sketch')).get_data_info(0)
    """

    METAINFO = dict(classes=tuple(CLASS_NAMES))
    DOMAINS = tuple(PAINTERS)

    def __init__(
        self,
        split: str,
        num_images: int,
        img_size: int = 64,
        domains: str | Sequence[str] = ('photo',),
        seed: int = 0,
        cache: bool = True,
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split={split!r} is unknown; use one of {SPLITS}')
        if num_images < 1:
            raise ValueError(f'num_images={num_images!r} leaves no image; use 1 or more')
        if img_size < MIN_IMG_SIZE:
            raise ValueError(
                f'img_size={img_size!r} is too small to show a shape; use {MIN_IMG_SIZE} or more'
            )
        if not 0 <= seed < 2**32:
            # numpy splits a larger seed into several words, which could equal the words of another split.
            raise ValueError(f'seed={seed!r} is out of range; use 0 to 2**32 - 1')
        domains = (domains,) if isinstance(domains, str) else tuple(domains)
        unknown = [name for name in domains if name not in PAINTERS]
        if unknown or not domains:
            raise ValueError(f'domains={domains!r} must be one or more of {self.DOMAINS}')
        self.split, self.num_images, self.img_size = split, num_images, img_size
        self.domains, self.seed = domains, seed
        self._cache = None
        if cache:
            record = [
                ('filled', '?'),
                ('img', 'u1', (img_size, img_size, 3)),
                ('ids', 'u1', (img_size, img_size)),
                ('labels', 'i1', MAX_OBJECTS),
                ('num_objects', 'u1'),
                ('caption', 'S224'),
            ]
            self._cache = SharedArray(num_images, record)
        super().__init__(ann_file='', pipeline=pipeline, **kwargs)

    @staticmethod
    def class_names() -> list[str]:
        """Return the 20 class names in the order of their labels."""
        return list(CLASS_NAMES)

    def load_data_list(self) -> list[dict]:
        """Return index, label and name of each image, without drawing it."""
        name = f'{self.split}-seed{self.seed}-{"-".join(self.domains)}-{self.img_size}px'
        return [
            dict(index=i, gt_label=i % len(CLASS_NAMES), img_path=f'shapes/{name}/{i}')
            for i in range(self.num_images)
        ]

    def get_gt_labels(self) -> np.ndarray:
        """Return all labels, (N,), without drawing images."""
        return np.array([super(Shapes, self).get_data_info(i)['gt_label'] for i in range(len(self))])

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the label of an image, without drawing it."""
        return [super().get_data_info(idx)['gt_label']]

    def get_data_info(self, idx: int) -> dict:
        """Draw image `idx`, or read it from the cache. The class docstring lists the keys."""
        info = super().get_data_info(idx)
        domain, img, ids, labels, text = self._sample(info.pop('index'), info['gt_label'])
        masks = ids == np.arange(1, len(labels) + 1, dtype=np.uint8)[:, None, None]
        boxes = np.array([cv2.boundingRect(mask.view(np.uint8)) for mask in masks], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        info.update(
            img=img,
            img_shape=img.shape[:2],
            ori_shape=img.shape[:2],
            height=self.img_size,
            width=self.img_size,
            gt_bboxes=boxes,
            gt_bboxes_labels=labels,
            gt_masks=masks,
            instances=_instances(boxes, labels, masks),
            img_id=idx,
            caption=text,
            domain=domain,
        )
        return info

    def _sample(self, index: int, label: int) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, str]:
        """Return domain, image, id map (0 background, k + 1 the k-th object), labels and caption."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, SPLITS.index(self.split), index]))
        domain = self.domains[int(rng.random() * len(self.domains))]
        record = None if self._cache is None else self._cache.array[index]
        if record is None or not record['filled']:
            scene = sample_scene(rng, label, self.img_size)
            img = PAINTERS[domain](scene, rng)
            order = [scene.main, *(k for k in range(len(scene.objects)) if k != scene.main)]
            rank = np.zeros(len(order) + 1, np.uint8)
            rank[np.array(order) + 1] = np.arange(1, len(order) + 1)
            ids = rank[scene.ids]
            labels = np.array([scene.objects[k].label for k in order], np.int64)
            text = caption(scene, domain)
            if record is not None:
                record['img'], record['ids'], record['caption'] = img, ids, text.encode()
                record['labels'][: len(labels)], record['num_objects'] = labels, len(labels)
                record['filled'] = True
            return domain, img, ids, labels, text
        labels = record['labels'][: record['num_objects']].astype(np.int64)
        return domain, record['img'].copy(), record['ids'], labels, record['caption'].decode()

    def extra_repr(self) -> list[str]:
        """Return extra lines for the description of the data set."""
        return [f'Split: \t{self.split}', f'Domains: \t{", ".join(self.domains)}', f'Seed: \t{self.seed}']


def _instances(boxes: np.ndarray, labels: np.ndarray, masks: np.ndarray) -> list[dict]:
    encoded = rle.encode(np.asfortranarray(masks.transpose(1, 2, 0), np.uint8))
    return [
        dict(
            bbox=box,
            bbox_label=label,
            mask=dict(size=code['size'], counts=code['counts'].decode()),
            ignore_flag=0,
        )
        for box, label, code in zip(boxes.tolist(), labels.tolist(), encoded)
    ]
