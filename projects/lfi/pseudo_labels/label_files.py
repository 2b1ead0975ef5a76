"""From image files to labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from mmcv.transforms import LoadImageFromFile

from lfi.apis.image_pipeline import UnfitImageError
from lfi.apis.readers import ConceptAnswers
from lfi.apis.sources import FileSource
from lfi.utils.fileio import file_size

from .label_log import LabelLog
from .label_rules import LabelRules
from .labelling import label_image
from .written_labels import image_record, unreadable_record

Reader = Callable[[Sequence[np.ndarray]], list[ConceptAnswers]]
"""From images, (H, W, 3) uint8 BGR, to what a model says of each."""


def label_files(
    reader: Reader, sources: Sequence[FileSource], rules: LabelRules, log: LabelLog, batch_size: int
) -> Iterator[int]:
    """Label the images of `unlabelled`.

    Batches are cut from what is missing, and logged one by one. So a run that goes on after a stop asks about
    the same batches as one that was never stopped, and no label depends on where it was.

    Args:
        reader: A `TeacherReader` or `StudentReader`.
        sources: The images.
        rules: The thresholds.
        log: Where labels are, and come to.
        batch_size: Images at once.

    Yields:
        How many images a batch had.
    """
    missing = unlabelled(sources, log)
    for start in range(0, len(missing), batch_size):
        batch = missing[start : start + batch_size]
        log.add(_records(reader, batch, rules))
        yield len(batch)


def unlabelled(sources: Sequence[FileSource], log: LabelLog) -> list[FileSource]:
    """The images that a log lacks, and those whose files have another size than when they were labelled."""
    return [source for source in sources if not _is_labelled(source.name, log)]


def _is_labelled(name: str, log: LabelLog) -> bool:
    # Logs of earlier versions keep no sizes.
    return name in log and log[name].get('bytes') in (None, file_size(name))


def read_image(source: FileSource) -> np.ndarray:
    """The image of a file, (H, W, 3) uint8 BGR; raises an OSError if it cannot be read in full."""
    ((_, results),) = source.read(LoadImageFromFile(), 1)
    return np.asarray(results['img'])


def _records(reader: Reader, batch: Sequence[FileSource], rules: LabelRules) -> list[dict]:
    images: dict[str, np.ndarray] = {}
    errors: dict[str, str] = {}
    for source in batch:
        try:
            images[source.name] = read_image(source)
        except OSError as error:
            # Without the addresses of objects in memory, which differ from run to run.
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
    """What is said of each image by its name; `errors` gets why of one that the model cannot take."""
    try:
        return dict(zip(images, reader(list(images.values())) if images else ()))
    except UnfitImageError as error:
        if len(images) == 1:
            errors[next(iter(images))] = str(error)
            return {}
    # One of them is unfit: which is it?
    return {
        found: answer
        for name, image in images.items()
        for found, answer in _answers(reader, {name: image}, errors).items()
    }


def _record(name: str, image: np.ndarray, answers: ConceptAnswers, rules: LabelRules) -> dict:
    size = image.shape[:2]
    labels = label_image(answers, size, rules)
    return image_record(name, size, labels.presence, labels.objects)
