"""From a data set to a config that trains a student on it, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from mmengine.logging import MMLogger

from lfi.adaptation.class_names import read_concepts
from lfi.errors import UsageError

from .class_names import check_class_names, with_texts
from .labelled_image import FoundData
from .reading import check_data, find_data, read_unlabelled
from .settings import Settings, typical_size
from .splitting import check_splits
from .writing import WrittenConfig, write_config

SHOWN_CLASSES = 8
"""Classes that a description names."""


@dataclass(frozen=True, repr=False)
class NewConfig:
    """A config that `init_config` has written. It prints as a description of the data and of the training.

    Args:
        path: path of the config.
        data: the data set.
        written: the model, the teacher and the check of the config.
    """

    path: Path
    data: FoundData
    written: WrittenConfig

    def __repr__(self) -> str:
        width = max(len(topic) for topic, _ in self.written.changes)
        changes = [f'  {topic.ljust(width)}  {description}' for topic, description in self.written.changes]
        return '\n'.join([*describe(self.data), f'{self.path} trains {self._schedule()}', *changes])

    def _schedule(self) -> str:
        """Describe the length of the training, and the size of its batches."""
        cfg = self.written.report.cfg
        loop, batch_size = cfg['train_cfg'], cfg['train_dataloader']['batch_size']
        epochs = loop.get('max_epochs')
        length = f'{epochs} epochs' if epochs else f'{loop["max_iters"]} iterations'
        return f'{length}, {batch_size} images in a batch'


def init_config(
    data: str | Path,
    model: str | None,
    teacher: str,
    concepts: str | Path | Sequence[str] | None,
    settings: Settings,
    out: str | Path | None,
) -> NewConfig:
    """Find the format of a data set, split off a validation, and write a config.

    Args:
        data: folder or file of the data set.
        model: name of the model; None for a small model for the task.
        teacher: name of the teacher.
        concepts: texts, or a file with one a line: names of the classes in their order, or what images
            without labels may show. None for the names of the data set, or of ImageNet.
        settings: settings of the training.
        out: path of the config, a new .py file; None for `lfi_<name of the data>.py`.

    Raises:
        UsageError: if the data cannot be read, the model or the teacher is unknown, the file exists, or the
            config cannot be built.
    """
    file = _new_file(data, out)
    found = find_data(Path(data), _folder_beside(file))
    if concepts is not None and found.classes:
        texts = read_concepts(str(concepts)) if isinstance(concepts, str | Path) else list(concepts)
        found, concepts = with_texts(found, texts), None
    found = check_class_names(check_splits(found))
    if settings.unlabelled is not None:
        found = replace(found, unlabelled=_read_apart(found, Path(settings.unlabelled)))
    with _quiet():
        return _write(found, model, teacher, concepts, settings, file)


def init_pretraining_config(
    folder: str | Path,
    model: str | None,
    teacher: str,
    concepts: str | Path | Sequence[str] | None,
    settings: Settings,
    out: str | Path | None,
) -> NewConfig:
    """Write a config that pretrains a backbone on a folder of images in any layout, as `init_config` does."""
    file = _new_file(folder, out)
    found = check_data(read_unlabelled(Path(folder)))
    with _quiet():
        return _write(found, model, teacher, concepts, settings, file)


def describe(data: FoundData) -> list[str]:
    """Describe a data set: its format, its images, its classes, and what was left out."""
    width, height = typical_size(data)
    images = f'{len(data.train)} images to train' + (f', {len(data.val)} to validate' if data.val else '')
    lines = [f'{data.root}: {data.form}, for {data.task}; {images}; typically {width} x {height} pixels']
    if data.unlabelled is not None:
        lines.append(f'{data.unlabelled.root}: {len(data.unlabelled.train)} images without labels')
    if data.classes:
        more = ' | …' if len(data.classes) > SHOWN_CLASSES else ''
        lines.append(f'{len(data.classes)} classes: {" | ".join(data.classes[:SHOWN_CLASSES])}{more}')
    notes = (*data.notes, *(data.unlabelled.notes if data.unlabelled else ()))
    return [*lines, *(f'{note[0].upper()}{note[1:]}.' for note in notes)]


def _write(
    data: FoundData,
    model: str | None,
    teacher: str,
    concepts: str | Path | Sequence[str] | None,
    settings: Settings,
    out: Path,
) -> NewConfig:
    if concepts is not None and not isinstance(concepts, str | Path):
        texts, concepts = concepts, _folder_beside(out) / 'concepts.txt'
        concepts.parent.mkdir(parents=True, exist_ok=True)
        concepts.write_text(''.join(f'{text}\n' for text in texts), encoding='utf-8')
    file = None if concepts is None else str(concepts)
    written = write_config(data, model, teacher, file, settings, out)
    return NewConfig(out, data, written)


def _read_apart(data: FoundData, folder: Path) -> FoundData:
    """Read a folder of images without labels, none of which may be an image of the data set.

    A training that sees the images of its validation reports too good a score.
    """
    unlabelled = check_data(read_unlabelled(folder))
    known = {(data.root / image.path).resolve() for image in (*data.train, *data.val)}
    shared = [image.path for image in unlabelled.train if (unlabelled.root / image.path).resolve() in known]
    if shared:
        raise UsageError(
            f'--unlabelled {folder} holds {len(shared)} images of the labelled data, such as {shared[0]}: '
            'give a folder of other images'
        )
    return unlabelled


def _new_file(data: str | Path, out: str | Path | None) -> Path:
    file = Path(out or f'lfi_{Path(data).resolve().stem}.py')
    if file.suffix != '.py':
        raise UsageError(f'--out {file} must be a .py file')
    if file.exists():
        raise UsageError(f'--out {file} exists already: remove it, or name another file')
    return file


def _folder_beside(out: Path) -> Path:
    """Return the folder for annotations, and for images of a data set that has no image files."""
    return out.parent / f'{out.stem}_data'


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what models and projects print, and log errors only: optimizer wrappers log each parameter."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('ERROR')
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
