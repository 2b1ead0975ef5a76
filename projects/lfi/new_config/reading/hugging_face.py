"""Data sets of Hugging Face's `datasets` on disk, as `save_to_disk` writes them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from lfi.errors import UsageError
from lfi.new_config.labelled_image import FoundData, LabelledImage, Task

from .splits import choose_splits

SUFFIXES = {'JPEG': '.jpg', 'PNG': '.png', 'BMP': '.bmp', 'TIFF': '.tif', 'WEBP': '.webp'}


def is_hugging_face(root: Path) -> bool:
    """Whether `datasets` has saved a data set into a folder."""
    return (root / 'dataset_dict.json').is_file() or (
        (root / 'state.json').is_file() and (root / 'dataset_info.json').is_file()
    )


def read_hugging_face(root: Path, out: Path) -> FoundData:
    """Read a data set with a column of images and a column of classes, and write the images as files.

    A cache finds images by their files, and a data set of Arrow has none.

    Args:
        root: folder of the data set.
        out: folder for the images.

    Raises:
        UsageError: if `datasets` is not installed, or the columns are missing.
    """
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            f"{root} is read by Hugging Face's datasets, which is not installed: pip install 'lfi[formats]'"
        ) from error
    loaded = datasets.load_from_disk(str(root))
    splits = loaded if isinstance(loaded, datasets.DatasetDict) else {'train': loaded}
    chosen = choose_splits(splits)
    if chosen.train is None:
        raise UsageError(f'{root} has the splits {", ".join(splits)}, and no train: rename one')
    train, val = splits[chosen.train], None if chosen.val is None else splits[chosen.val]
    image, label = _columns(root, train.features, datasets)
    if label is None:
        classes: tuple[str, ...] = ()
    else:
        classes = tuple(train.features[label].names)
    parts = [
        () if split is None else _export(split, image, label, out, name)
        for split, name in ((train, 'train'), (val, 'val'))
    ]
    task: Task = 'classification' if classes else 'pretraining'
    note = f'the images were written to {out}'
    return FoundData('a Hugging Face data set', task, out, classes, parts[0], parts[1], (note, *chosen.notes))


def _columns(root: Path, features: Any, datasets: Any) -> tuple[str, str | None]:
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if len(images) != 1 or len(labels) > 1:
        columns = ', '.join(f'{name} ({type(kind).__name__})' for name, kind in features.items())
        raise UsageError(f'{root} has the columns {columns}: a classifier needs one Image and one ClassLabel')
    return images[0], labels[0] if labels else None


def _export(split: Any, image: str, label: str | None, out: Path, name: str) -> tuple[LabelledImage, ...]:
    """Write the images of a split, in the format in which they are stored."""
    import datasets

    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    digits, found = len(str(len(split))), []
    for index, row in enumerate(split.cast_column(image, datasets.Image(decode=False))):
        file = folder / f'{index:0{digits}}{_suffix(row[image])}'
        _write(file, row[image])
        labels = () if label is None else (int(row[label]),)
        found.append(LabelledImage(file.relative_to(out).as_posix(), labels))
    return tuple(found)


def _suffix(value: dict) -> str:
    import io

    from PIL import Image

    source = io.BytesIO(value['bytes']) if value.get('bytes') else value['path']
    # Pillow raises errors of any type at broken files, which `check_data` leaves out.
    with suppress(Exception), Image.open(source) as image:
        return SUFFIXES.get(image.format or '', '.png')
    return '.png'


def _write(file: Path, value: dict) -> None:
    content = value.get('bytes') or Path(value['path']).read_bytes()
    partial = file.with_name(f'.{file.name}')
    partial.write_bytes(content)
    partial.replace(file)
