"""Data as small as can be, and no network."""

import json
import socket
from itertools import product

import numpy as np
import open_clip
import pytest
import torch
from lfi.datasets import PACS, VLCS
from mmdet.datasets import CocoDataset
from picture_files import write_noise
from PIL import Image

CLASSES = {'n01': 'crane', 'n02': 'goldfish', 'n03': 'sock', 'n04': 'teapot', 'n05': 'bus'}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def connect(self, address):
        raise AssertionError(f'a connection to {address} was asked for')

    monkeypatch.setattr(socket.socket, 'connect', connect)


@pytest.fixture
def empty_root(tmp_path, monkeypatch):
    """An `LFI_DATA_ROOT` without any data set."""
    root = tmp_path / 'no data'
    root.mkdir()
    monkeypatch.setenv('LFI_DATA_ROOT', str(root))
    return root


@pytest.fixture(scope='session')
def small_root(tmp_path_factory):
    """Tiny-ImageNet with five classes, ImageNet with five images, PACS and VLCS, under one root."""
    root = tmp_path_factory.mktemp('data')
    wnids, tiny, imagenet = list(CLASSES), root / 'tiny-imagenet-200', root / 'imagenet'
    for label, wnid in enumerate(wnids):
        write_noise(tiny / f'train/{wnid}/images/{wnid}_0.JPEG', label)
        (tiny / f'train/{wnid}/{wnid}_boxes.txt').write_text(f'{wnid}_0.JPEG\t0\t0\t9\t9\n')
        write_noise(tiny / f'val/images/val_{label}.JPEG', 10 + label)
        for split in ('train', 'val'):
            write_noise(imagenet / f'{split}/{label}.JPEG', 20 + label)
    rows = [f'val_{label}.JPEG\t{wnid}\t0\t0\t9\t9\n' for label, wnid in enumerate(wnids)]
    (tiny / 'val/val_annotations.txt').write_text(''.join(rows))
    (tiny / 'wnids.txt').write_text('\n'.join(wnids))
    (tiny / 'words.txt').write_text(''.join(f'{wnid}\t{name}\n' for wnid, name in CLASSES.items()))
    (imagenet / 'meta').mkdir()
    for split in ('train', 'val'):
        (imagenet / f'meta/{split}.txt').write_text(''.join(f'{i}.JPEG {i}\n' for i in range(5)))
    for kind in (PACS, VLCS):
        # Of the images of a domain, one for each class, a fifth are for validation.
        for label, (domain, name) in enumerate(product(kind.DOMAINS, kind.METAINFO['classes'])):
            write_noise(root / kind.__name__ / domain / name / '0.jpg', 30 + label)
    return root


@pytest.fixture(scope='session')
def coco_root(tmp_path_factory):
    """COCO with two images a split, each with one object."""
    root = tmp_path_factory.mktemp('data')
    folder = root / 'coco'
    (folder / 'annotations').mkdir(parents=True)
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(CocoDataset.METAINFO['classes'])]
    for split in ('train2017', 'val2017'):
        (folder / split).mkdir()
        images, annotations = [], []
        for i in (1, 2):
            pixels = np.random.default_rng(i).integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / split / f'{i}.jpg')
            images.append(dict(id=i, file_name=f'{i}.jpg', height=60, width=80))
            polygon = [10, 10, 50, 10, 50, 40, 10, 40]
            annotations.append(
                dict(
                    id=i,
                    image_id=i,
                    category_id=i,
                    bbox=[10, 10, 40, 30],
                    area=1200,
                    iscrowd=0,
                    segmentation=[polygon],
                )
            )
        described = dict(images=images, annotations=annotations, categories=categories)
        (folder / 'annotations' / f'instances_{split}.json').write_text(json.dumps(described))
    return root


@pytest.fixture
def small_data(small_root, monkeypatch):
    monkeypatch.setenv('LFI_DATA_ROOT', str(small_root))
    return small_root


@pytest.fixture(scope='session')
def small_clip(tmp_path_factory):
    """A CLIP folder as narrow as can be, random, with the embedding width of ViT-B-16."""
    folder = tmp_path_factory.mktemp('teachers') / 'small-clip'
    folder.mkdir()
    towers = dict(
        embed_dim=512,
        vision_cfg=dict(image_size=224, layers=1, width=64, patch_size=16),
        text_cfg=dict(context_length=77, vocab_size=49408, width=16, heads=2, layers=1),
    )
    config = dict(model_cfg=towers, preprocess_cfg=dict(mean=[0.5] * 3, std=[0.5] * 3))
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    torch.manual_seed(0)
    torch.save(open_clip.CLIP(**towers).state_dict(), folder / 'open_clip_pytorch_model.bin')
    return folder
