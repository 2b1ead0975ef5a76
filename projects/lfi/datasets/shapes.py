"""`Shapes`: a built-in data set of textured shapes, drawn on the fly; nothing is read from disk."""

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

    An image is a function of `(seed, split, index)`, whatever the order, process or number of workers. It has
    one to four objects that may overlap; the class of the *main* one, which shows at least 1.4 times the area
    of any other, is the image's label. Index `i` has the label `i % 20`. The same index shows the same scene
    in every domain.

    `get_data_info(i)`, and thus the input of the pipeline, holds:

    - `img`: (img_size, img_size, 3) uint8, BGR, as `LoadImageFromFile` gives it; `img_shape`, `ori_shape`,
      `height` and `width` in pixels.
    - `gt_label`: int, the class of the main object.
    - `gt_bboxes`: (N, 4) float32, x1 y1 x2 y2 in pixels, tight around what is visible; the right and lower
      edge are exclusive.
    - `gt_bboxes_labels`: (N,) int64; the main object comes first.
    - `gt_masks`: (N, img_size, img_size) bool, what is visible; no two of them overlap.
    - `instances`: the same boxes, labels and masks (run-length encoded) as mmdet's data sets give them, for
      its `LoadAnnotations` and `CocoMetric`; and `img_id`.
    - `img_path`: a name of the image, by which a cache knows it; there is no such file.
    - `caption`: such as `a striped red star left of a small blue ring, painting`.
    - `domain`: str, and `sample_idx`: int.

    Args:
        split: `'train'`, `'val'` or `'test'`; no image is in two of them.
        num_images: Number of images. The first images stay the same when it grows.
        img_size: Side of the image in pixels, at least 32. Defaults to 64.
        domains: One or more of `'photo'`, `'painting'`, `'cartoon'`, `'sketch'`; each index draws one of
            them. Defaults to `('photo',)`.
        seed: Another seed is another data set, with no image in common. Defaults to 0.
        cache: Keep each image once it is drawn, in memory that forked workers share; at most
            `num_images * img_size ** 2 * 4` bytes. Defaults to True.
        pipeline: Transforms, of mmpretrain unless they name a scope.
        **kwargs: Those of `mmpretrain.datasets.BaseDataset`: `indices`, `test_mode`, `lazy_init`, ...

    Raises:
        ValueError: For an unknown split or domain, `num_images` below 1 or `img_size` below 32.

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
            # A larger one would be read as several numbers, and might share images with another split.
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
        """The 20 classes, in the order of their labels."""
        return list(CLASS_NAMES)

    def load_data_list(self) -> list[dict]:
        """Each image's index, label and name; nothing is drawn yet."""
        name = f'{self.split}-seed{self.seed}-{"-".join(self.domains)}-{self.img_size}px'
        return [
            dict(index=i, gt_label=i % len(CLASS_NAMES), img_path=f'shapes/{name}/{i}')
            for i in range(self.num_images)
        ]

    def get_gt_labels(self) -> np.ndarray:
        """All labels, (N,); nothing is drawn."""
        return np.array([super(Shapes, self).get_data_info(i)['gt_label'] for i in range(len(self))])

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of an image; nothing is drawn."""
        return [super().get_data_info(idx)['gt_label']]

    def get_data_info(self, idx: int) -> dict:
        """Draw image `idx`, or take it from the cache; the class docstring lists what is in it."""
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
        """Domain, image, id map (0 background, k + 1 the k-th object), labels and caption."""
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
        """Lines of the data set's description."""
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
