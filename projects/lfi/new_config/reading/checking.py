"""Checks of a data set of any format: unreadable and huge images, and objects outside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage

from .image_header import image_size

HUGE = 50_000_000
"""Pixels of an image that is worth a note."""


def check_data(data: FoundData) -> FoundData:
    """Read the sizes of all images, leave out unreadable ones, and note what needs the user's attention.

    Raises:
        UsageError: if no training image can be read.
    """
    unreadable: list[str] = []
    train, val = (_with_sizes(data, images, unreadable) for images in (data.train, data.val))
    if not train:
        raise UsageError(f'no training image of {data.root} can be read, such as {unreadable[0]}')
    invisible: list[str] = []
    train, val = (tuple(_with_visible_objects(image, invisible) for image in part) for part in (train, val))
    checked = replace(data, train=train, val=val)
    notes = [*_image_notes(checked, unreadable), *_object_notes(checked, invisible)]
    return replace(checked, notes=(*data.notes, *notes))


def _with_sizes(
    data: FoundData, images: tuple[LabelledImage, ...], unreadable: list[str]
) -> tuple[LabelledImage, ...]:
    """Return the readable images with their sizes, and add the paths of the others to `unreadable`."""
    found = []
    for image in images:
        size = image.size or image_size(data.root / image.path)
        if size is None:
            unreadable.append(image.path)
        else:
            found.append(image._replace(size=size))
    return tuple(found)


def _with_visible_objects(image: LabelledImage, invisible: list[str]) -> LabelledImage:
    """Leave out objects that mmdet would leave out without a word, and add them to `invisible`."""
    if not image.objects or image.size is None:
        return image
    objects = []
    for item in image.objects:
        left, top, width, height = item['bbox']
        is_inside = left < image.size[0] and top < image.size[1] and left + width > 0 and top + height > 0
        if is_inside and width >= 1 and height >= 1:
            objects.append(item)
        else:
            invisible.append(f'{list(item["bbox"])} of {image.path}')
    classes = tuple(sorted({item['category'] for item in objects}))
    return image._replace(objects=tuple(objects), classes=classes)


def _object_notes(data: FoundData, invisible: list[str]) -> Iterator[str]:
    """Yield a note of the objects that were left out.

    Raises:
        UsageError: if no training image has an object left.
    """
    if not invisible:
        return
    fault = f'boxes of less than a pixel of the image were left out: {len(invisible)}, such as {invisible[0]}'
    if not any(image.objects for image in data.train):
        raise UsageError(f'{data.root}: {fault}, and none is left: write x, y, width and height in pixels')
    yield fault


def _image_notes(data: FoundData, unreadable: list[str]) -> Iterator[str]:
    if unreadable:
        yield f'unreadable images were left out: {len(unreadable)}, such as {unreadable[0]}'
    sizes = {image.path: image.size for image in (*data.train, *data.val) if image.size}
    huge = [path for path, (width, height) in sizes.items() if width * height > HUGE]
    if huge:
        width, height = sizes[huge[0]]
        yield (
            f'images of more than {HUGE // 10**6} megapixels: {len(huge)}, such as {huge[0]} ({width} x '
            f'{height}); smaller copies load faster'
        )
