"""Small data sets of random images in the formats that `lfi init` reads, written by other libraries."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from picture_files import write_noise
from PIL import Image

WIDTH, HEIGHT = 96, 80
BOXES = np.array([[10.0, 12, 50, 60], [30, 20, 90, 70]])
"""Boxes of each image with objects, left, top, right, bottom in pixels: a cat or a dog, and a dog."""


def write_class_folders(root: Path, classes: Sequence[str] = ('cat', 'dog'), count: int = 4) -> Path:
    """Write a folder of different images for each class."""
    for index, name in enumerate(classes):
        for number in range(count):
            write_noise(root / name / f'{number}.jpg', 100 * index + number)
    return root


def write_table(file: Path, rows: Sequence[Sequence[Any]], count: int = 4, delimiter: str = ',') -> Path:
    """Write a table, and the images 0.jpg to N.jpg beside it."""
    for number in range(count):
        write_noise(file.parent / f'{number}.jpg', number)
    with file.open('w', newline='', encoding='utf-8') as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)
    return file


def objects_of_supervision(folder: Path, count: int = 6, with_masks: bool = False) -> Any:
    """Write images, and return a data set of supervision that has the boxes for each."""
    import supervision

    paths = [str(folder / f'{number}.jpg') for number in range(count)]
    annotations = {}
    for number, path in enumerate(paths):
        write_noise(Path(path), number, WIDTH, HEIGHT)
        masks = np.zeros((2, HEIGHT, WIDTH), bool)
        for mask, (left, top, right, bottom) in zip(masks, BOXES.astype(int)):
            mask[top:bottom, left:right] = True
        annotations[path] = supervision.Detections(
            xyxy=BOXES.copy(), class_id=np.array([number % 2, 1]), mask=masks if with_masks else None
        )
    return supervision.DetectionDataset(['cat', 'dog'], paths, annotations)


def write_yolo(root: Path, count: int = 6, with_masks: bool = False) -> Path:
    """Write a data set of YOLO, and return its YAML file."""
    data = objects_of_supervision(root / 'originals', count, with_masks)
    file = root / 'data.yaml'
    data.as_yolo(str(root / 'images'), str(root / 'labels'), str(file))
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, 'train': 'images'}))
    return file


def write_voc(root: Path, count: int = 6) -> Path:
    """Write a data set of Pascal VOC."""
    data = objects_of_supervision(root.parent / f'{root.name}_originals', count)
    data.as_pascal_voc(str(root / 'JPEGImages'), str(root / 'Annotations'))
    return root


def write_coco(root: Path, count: int = 6, with_masks: bool = False) -> Path:
    """Write a data set of COCO JSON, and return its file."""
    data = objects_of_supervision(root.parent / f'{root.name}_originals', count, with_masks)
    file = root / 'annotations' / 'instances_train.json'
    data.as_coco(str(root / 'train'), str(file))
    return file


def change_json(file: Path, change: Any) -> Path:
    """Apply a function to the content of a JSON file."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return file


def write_masks(root: Path, top: int = 2, count: int = 6) -> Path:
    """Write images, masks of indices below `top`, and the names of two classes; the last third validates."""
    random = np.random.default_rng(0)
    for number in range(count):
        name = f'{"train" if number < 2 * count / 3 else "val"}/{number}'
        write_noise(root / 'images' / f'{name}.jpg', number, WIDTH, HEIGHT)
        mask = root / 'masks' / f'{name}.png'
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, top, (HEIGHT, WIDTH), dtype=np.uint8)).save(mask)
    (root / 'classes.txt').write_text('dark\nbright\n')
    return root


def write_hugging_face(
    root: Path, count: int = 6, labels: Sequence[str] = ('label',), split: str = ''
) -> Path:
    """Write a data set of Hugging Face with columns of the classes cat and dog."""
    import datasets

    features = {
        'image': datasets.Image(),
        **{name: datasets.ClassLabel(names=['cat', 'dog']) for name in labels},
    }
    random = np.random.default_rng(0)
    rows = [
        {
            'image': Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)),
            **dict.fromkeys(labels, number % 2),
        }
        for number in range(count)
    ]
    data = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    datasets.disable_progress_bars()
    (datasets.DatasetDict({split: data}) if split else data).save_to_disk(str(root))
    return root


def boxes_of(image: Any) -> np.ndarray:
    """Return the boxes of a `LabelledImage`, left, top, right, bottom."""
    boxes = np.array([item['bbox'] for item in image.objects])
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
