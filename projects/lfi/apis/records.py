"""Results as plain data, for JSON."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.structures import BaseDataElement

from lfi.concepts.names import class_name

from .interaction_result import InteractionResult

# How many classes a classifier's record holds.
TOP = 5


def result_record(result: InteractionResult, classes: Sequence[str]) -> dict:
    """A result without its image and maps.

    Args:
        result: The result of an image.
        classes: Names of the labels.

    Returns:
        `image`, its name, and for a video `frame`; `size`, height and width in pixels; for a classifier
        `classes`, the 5 best with their probabilities, for a detector `objects` with their boxes
        [x1, y1, x2, y2] in pixels, for a segmentor `areas`, the share of the image that each class has, the
        largest first; and `texts`, the presence of each text in [0, 1], where texts were asked.
        Scores have 4 decimals, pixels one.
    """
    record: dict = {'image': result.name}
    if result.frame is not None:
        record['frame'] = result.frame
    record['size'] = list(result.image.shape[:2])
    record |= _prediction(result.prediction, classes)
    if result.texts:
        presence = result.presence.tolist()
        record['texts'] = {text: round(value, 4) for text, value in zip(result.texts, presence)}
    return record


def _prediction(prediction: BaseDataElement, classes: Sequence[str]) -> dict:
    if 'pred_instances' in prediction:
        found = prediction.pred_instances
        columns = (found.labels.tolist(), found.scores.tolist(), found.bboxes.tolist())
        return {
            'objects': [
                {
                    'class': class_name(classes, label),
                    'score': round(score, 4),
                    'box': [round(side, 1) for side in box],
                }
                for label, score, box in zip(*columns)
            ]
        }
    if 'pred_score' in prediction:
        best = prediction.pred_score.topk(min(TOP, len(prediction.pred_score)))
        return {
            'classes': [
                {'class': class_name(classes, label), 'score': round(score, 4)}
                for label, score in zip(best.indices.tolist(), best.values.tolist())
            ]
        }
    if 'pred_sem_seg' in prediction:
        labels, counts = prediction.pred_sem_seg.data.unique(return_counts=True)
        shares = counts / counts.sum()
        return {
            'areas': [
                {'class': class_name(classes, int(labels[i])), 'share': round(float(shares[i]), 4)}
                for i in shares.argsort(descending=True, stable=True)
            ]
        }
    return {}
