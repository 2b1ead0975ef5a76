"""Pictures of a student on some images: prediction, truth, and where it looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lfi.apis.drawing import draw_result, strongest_texts
from lfi.apis.interaction_inferencer import InteractionInferencer
from lfi.apis.interaction_result import InteractionResult
from lfi.concepts.names import class_name
from lfi.utils.process import offline
from lfi.utils.repositories import first_lines
from lfi.visualization.figures import MIN_SCORE

from .run_images import RunImages

MAX_IMAGES, MAX_MAPS = 8, 4
"""Largest numbers of images, and of maps beside an image."""
MAX_NAMED = 6
"""Largest number of classes in a caption."""
ASKED_WITHOUT_TRUTH = 64
"""Largest number of classes that are asked about, to find the strongest, where nothing names some."""


@dataclass(frozen=True)
class Example:
    """Picture of an image.

    Args:
        picture: (H, W, 3) uint8 RGB: the prediction, the truth of a detector or a segmentor, and maps.
        caption: name of the image, truth and prediction.
    """

    picture: np.ndarray
    caption: str


def draw_examples(inferencer: InteractionInferencer, images: RunImages) -> Iterator[Example]:
    """Draw up to 8 images, with maps of the true and the predicted classes if the student answers texts.

    Images that cannot be read are left out.
    """
    answers = maps_reason(inferencer) is None
    for index in images.sample(MAX_IMAGES):
        image = images.image(index)
        result = next(inferencer.stream_predictions([image]), None)
        if result is None:
            continue
        truth = images.truth(index, result.prediction)
        predicted = _predicted(result)
        texts = _texts(inferencer.class_texts, [*truth.labels, *predicted]) if answers else []
        if texts:
            result = next(inferencer.stream([image], texts))
        drawn = range(len(texts)) if len(texts) <= MAX_MAPS else strongest_texts(result, MAX_MAPS)
        yield Example(
            draw_result(result, inferencer.classes, drawn, truth),
            _caption(images.name(index), inferencer.classes, truth.labels, predicted),
        )


def maps_reason(inferencer: InteractionInferencer) -> str | None:
    """Return why no texts can be asked about; None if they can. Nothing is downloaded."""
    try:
        with offline():
            inferencer.check_texts(inferencer.class_texts[:1] or ('object',))
    # As `InteractionInferencer.default_texts`.
    except (ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
        return first_lines(error)
    return None


def _predicted(result: InteractionResult) -> list[int]:
    """Return the predicted labels: a classifier's best, a detector's and a segmentor's by frequency."""
    prediction = result.prediction
    if 'pred_score' in prediction:
        return [int(prediction.pred_score.argmax())]
    if 'pred_instances' in prediction:
        found = prediction.pred_instances
        labels = found.labels[found.scores >= MIN_SCORE]
    elif 'pred_sem_seg' in prediction:
        labels = prediction.pred_sem_seg.data.flatten()
    else:
        return []
    values, counts = labels.unique(return_counts=True)
    return values[counts.argsort(descending=True, stable=True)].tolist()


def _texts(texts: Sequence[str], labels: Sequence[int]) -> list[str]:
    """Return the texts of the first four labels; without labels those of up to 64 classes."""
    if not labels:
        return list(texts[:ASKED_WITHOUT_TRUTH])
    named = [texts[label] for label in dict.fromkeys(labels) if label < len(texts)]
    return list(dict.fromkeys(named))[:MAX_MAPS]


def _caption(name: str, classes: Sequence[str], truth: Sequence[int], predicted: Sequence[int]) -> str:
    parts = [name]
    for title, labels in (('truth', truth), ('predicted', predicted)):
        names = [class_name(classes, label) for label in dict.fromkeys(labels)][:MAX_NAMED]
        parts += [f'{title}: {", ".join(names)}'] if names else []
    return '; '.join(parts)
