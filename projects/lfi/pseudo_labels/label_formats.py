"""Pseudo-labels in the formats of other trainers and of tools that correct labels by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import yaml

from lfi.errors import UsageError


@dataclass(frozen=True)
class LabelledImages:
    """Readable images with their labels.

    Args:
        folder: output folder.
        root: common folder of the images.
        names: paths of the N images, relative to `root`.
        records: records of the N images, made by `image_record`.
        concepts: names of the concepts.
    """

    folder: Path
    root: Path
    names: Sequence[str]
    records: Sequence[dict]
    concepts: Sequence[str]


def write_yolo(images: LabelledImages) -> None:
    """Write `yolo/`: a text file for each image, `train.txt` and `data.yaml`, as Ultralytics reads them.

    A line of an object has its class and the centre, width and height of its box, as shares of the image.
    `yolo/images` is a link to the images, because YOLO looks for labels beside a folder of this name.
    """
    folder = images.folder / 'yolo'
    for name, record in zip(images.names, images.records):
        height, width = record['size']
        lines = [
            f'{obj["concept"]} {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} '
            f'{w / width:.6f} {h / height:.6f}\n'
            for obj in record['objects']
            for x, y, w, h in [obj['bbox']]
        ]
        _write(folder / 'labels' / f'{_stem(name)}.txt', ''.join(lines))
    _write(folder / 'train.txt', ''.join(f'./images/{name}\n' for name in images.names))
    data: dict = dict(path=str(folder.absolute()), train='train.txt', val='train.txt')
    data['names'] = dict(enumerate(images.concepts))
    _write(folder / 'data.yaml', yaml.safe_dump(data, allow_unicode=True, sort_keys=False))
    _link(folder / 'images', images.root)


def write_voc(images: LabelledImages) -> None:
    """Write `voc/Annotations`: an XML file for each image, in the format of Pascal VOC.

    Boxes are in pixels; the first pixel of an image is 1, and the last pixel of a box belongs to it.
    `voc/JPEGImages` is a link to the images, and `voc/ImageSets/Main/train.txt` lists them.
    """
    folder = images.folder / 'voc'
    for name, record in zip(images.names, images.records):
        height, width = record['size']
        root = ElementTree.Element('annotation')
        _texts(root, folder='JPEGImages', filename=name)
        _texts(ElementTree.SubElement(root, 'size'), width=width, height=height, depth=3)
        _texts(root, segmented=0)
        for obj in record['objects']:
            x, y, w, h = obj['bbox']
            element = ElementTree.SubElement(root, 'object')
            _texts(
                element, name=images.concepts[obj['concept']], pose='Unspecified', truncated=0, difficult=0
            )
            box = ElementTree.SubElement(element, 'bndbox')
            _texts(box, xmin=round(x) + 1, ymin=round(y) + 1, xmax=round(x + w), ymax=round(y + h))
        _write(folder / 'Annotations' / f'{_stem(name)}.xml', _xml(root))
    _write(folder / 'ImageSets' / 'Main' / 'train.txt', ''.join(f'{_stem(name)}\n' for name in images.names))
    _link(folder / 'JPEGImages', images.root)


def write_cvat(images: LabelledImages) -> None:
    """Write `cvat.xml` for CVAT ('CVAT for images 1.1'): boxes of objects, by the names of the images.

    Create a task of the same images and labels, and upload the file as its annotations.
    """
    root = ElementTree.Element('annotations')
    _texts(root, version='1.1')
    labels = ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(root, 'meta'), 'task'), 'labels'
    )
    for concept in images.concepts:
        label = ElementTree.SubElement(labels, 'label')
        _texts(label, name=concept)
        ElementTree.SubElement(label, 'attributes')
    for i, (name, record) in enumerate(zip(images.names, images.records)):
        height, width = record['size']
        image = ElementTree.SubElement(
            root, 'image', id=str(i), name=name, width=str(width), height=str(height)
        )
        for obj in record['objects']:
            x, y, w, h = obj['bbox']
            attributes = dict(label=images.concepts[obj['concept']], source='auto', occluded='0', z_order='0')
            for key, value in (('xtl', x), ('ytl', y), ('xbr', x + w), ('ybr', y + h)):
                attributes[key] = f'{value:.2f}'
            ElementTree.SubElement(image, 'box', attributes)
    _write(images.folder / 'cvat.xml', _xml(root))


def write_label_studio(images: LabelledImages) -> None:
    """Write `label-studio.json` and `label-studio.xml`: tasks with predictions, and the labelling config.

    A task names its image as Label Studio's local storage serves it: by its path below
    `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`, which must be the parent of the images' common folder, because
    Label Studio accepts no storage at the root itself.
    """
    tasks = []
    for name, record in zip(images.names, images.records):
        height, width = record['size']
        result = [
            dict(
                id=f'object-{i}',
                type='rectanglelabels',
                from_name='label',
                to_name='image',
                original_width=width,
                original_height=height,
                image_rotation=0,
                score=obj['score'],
                value=dict(
                    x=100 * x / width,
                    y=100 * y / height,
                    width=100 * w / width,
                    height=100 * h / height,
                    rotation=0,
                    rectanglelabels=[images.concepts[obj['concept']]],
                ),
            )
            for i, obj in enumerate(record['objects'])
            for x, y, w, h in [obj['bbox']]
        ]
        score = max((obj['score'] for obj in record['objects']), default=0.0)
        prediction = dict(model_version='lfi', score=score, result=result)
        tasks.append(
            dict(
                data=dict(image=f'/data/local-files/?d={quote(f"{images.root.name}/{name}")}'),
                predictions=[prediction],
            )
        )
    _write(images.folder / 'label-studio.json', f'{json.dumps(tasks, ensure_ascii=False)}\n')
    view = ElementTree.Element('View')
    ElementTree.SubElement(view, 'Image', name='image', value='$image')
    labels = ElementTree.SubElement(view, 'RectangleLabels', name='label', toName='image')
    for concept in images.concepts:
        ElementTree.SubElement(labels, 'Label', value=concept)
    _write(images.folder / 'label-studio.xml', _xml(view))


# What each format writes into the output folder.
OUTPUTS = {'yolo': 'yolo', 'voc': 'voc', 'label-studio': 'label-studio.json', 'cvat': 'cvat.xml'}
FORMATS: dict[str, Callable[[LabelledImages], None]] = {
    'yolo': write_yolo,
    'voc': write_voc,
    'label-studio': write_label_studio,
    'cvat': write_cvat,
}


# Formats that find the labels of an image by its name without the suffix.
BY_STEM = ('yolo', 'voc')


def check_names(names: Sequence[str], formats: Sequence[str]) -> None:
    """Check that the names of images can be written in the formats.

    Raises:
        UsageError: if a name is not UTF-8 or has a control character, or two images would share a label file.
    """
    if not formats:
        return
    for name in names:
        if any(character < ' ' or '\ud800' <= character <= '\udfff' for character in name):
            raise UsageError(
                f'--formats {" ".join(formats)}: the file name {name!r} is not UTF-8 or has a control '
                'character: rename the file, or leave --formats out'
            )
    inside = next((name for name in names if 'images' in name.split('/')[:-1]), None)
    if 'yolo' in formats and inside is not None:
        raise UsageError(
            f'--formats yolo: YOLO takes the last folder called images for the one beside the labels, and '
            f'{inside!r} has one of its own: rename it, or leave this format out'
        )
    by_stem = [kind for kind in formats if kind in BY_STEM]
    stems: dict[str, str] = {}
    for name in names if by_stem else ():
        other = stems.setdefault(_stem(name), name)
        if other != name:
            raise UsageError(
                f'--formats {by_stem[0]} finds the labels of an image by its name without the suffix, and '
                f'{other!r} and {name!r} differ in the suffix alone: rename one, or leave this format out'
            )


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _texts(element: ElementTree.Element, **texts: object) -> None:
    """Add child elements that hold text."""
    for tag, text in texts.items():
        ElementTree.SubElement(element, tag).text = str(text)


def _xml(root: ElementTree.Element) -> str:
    ElementTree.indent(root)
    return f'{ElementTree.tostring(root, encoding="unicode")}\n'


def _write(path: Path, text: str) -> None:
    # The help of the command names `FORMATS`, and needs no MMEngine.
    from lfi.utils.fileio import AtomicLocalBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    AtomicLocalBackend().put(text.encode(), path)


def _link(link: Path, target: Path) -> None:
    """Make a symbolic link to a folder, or replace the link of an earlier run."""
    if link.is_symlink():
        link.unlink()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target, target_is_directory=True)
