"""Labelling of image files in batches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import dist

from lfi.apis.image_pipeline import UnfitImageError
from lfi.apis.readers import ConceptAnswers
from lfi.apis.sources import FileSource
from lfi.utils.fileio import file_size

from .label_log import LabelLog
from .label_rules import LabelRules
from .labelling import label_image
from .written_labels import image_record, unreadable_record

Reader = Callable[[Sequence[np.ndarray]], list[ConceptAnswers]]
"""Function from images, (H, W, 3) uint8 BGR, to the model's answers for each image."""


def label_files(
    reader: Reader, sources: Sequence[FileSource], rules: LabelRules, log: LabelLog, batch_size: int
) -> Iterator[int]:
    """Label images, or this process's share of them.

    Batches are logged one by one. A resumed run of one process has the same batches as a run without a stop,
    and labels do not depend on the stop.

    Args:
        reader: `TeacherReader` or `StudentReader`.
        sources: images without labels, the same in all processes.
        rules: thresholds of labels.
        log: log of labels, read and extended.
        batch_size: number of images in a batch.

    Yields:
        Number of images in each batch.
    """
    rank, num_processes = dist.get_rank(), dist.get_world_size()
    # No process writes before all have read the logs.
    dist.barrier()
    for start in range(rank * batch_size, len(sources), num_processes * batch_size):
        batch = sources[start : start + batch_size]
        log.add(_records(reader, batch, rules))
        yield len(batch)


def unlabelled_sources(sources: Sequence[FileSource], log: LabelLog) -> list[FileSource]:
    """Return the images that a log lacks, or whose file size has changed since they were labelled."""
    return [source for source in sources if not _is_labelled(source.name, log)]


def _is_labelled(name: str, log: LabelLog) -> bool:
    # Logs of earlier versions have no file sizes.
    return name in log and log[name].get('bytes') in (None, file_size(name))


def read_image(source: FileSource) -> np.ndarray:
    """Read an image, (H, W, 3) uint8 BGR; raise an OSError if it cannot be read in full."""
    ((_, results),) = source.read(LoadImageFromFile(), 1)
    return np.asarray(results['img'])


def _records(reader: Reader, batch: Sequence[FileSource], rules: LabelRules) -> list[dict]:
    images: dict[str, np.ndarray] = {}
    errors: dict[str, str] = {}
    for source in batch:
        try:
            images[source.name] = read_image(source)
        except OSError as error:
            # Remove memory addresses, which differ between runs.
            errors[source.name] = re.sub(r' ?<[^>]* at 0x\w+>', '', str(error.__cause__ or error))
    answers = _answers(reader, images, errors)
    records = [
        unreadable_record(source.name, errors[source.name])
        if source.name in errors
        else _record(source.name, images[source.name], answers[source.name], rules)
        for source in batch
    ]
    return [{**record, 'bytes': file_size(record['file'])} for record in records]


def _answers(
    reader: Reader, images: Mapping[str, np.ndarray], errors: dict[str, str]
) -> dict[str, ConceptAnswers]:
    """Return the answers by image name; add images that do not fit the model to `errors`."""
    try:
        return dict(zip(images, reader(list(images.values())) if images else ()))
    except UnfitImageError as error:
        if len(images) == 1:
            errors[next(iter(images))] = str(error)
            return {}
    # Read the images one by one to find those that do not fit.
    return {
        key: answer
        for name, image in images.items()
        for key, answer in _answers(reader, {name: image}, errors).items()
    }


def _record(name: str, image: np.ndarray, answers: ConceptAnswers, rules: LabelRules) -> dict:
    size = image.shape[:2]
    labels = label_image(answers, size, rules)
    return image_record(name, size, labels.presence, labels.objects)
