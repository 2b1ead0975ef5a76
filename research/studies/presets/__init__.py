"""Studies of `python -m research study`."""

from __future__ import annotations

from dataclasses import replace

from ..settings import FEW_BOXES_SETTINGS, FEW_SETTINGS, PHOTOS_SETTINGS, SHAPES_FEW_SETTINGS
from .all_labels import (
    SHAPES,
    SHAPES_FRESH,
    SHAPES_LONG,
    SHAPES_PLAIN,
    SHAPES_STUDENT,
    TINY_50,
    TINY_FULL,
    TINY_RESNET,
    TINY_SMALL,
)
from .detectors import COCO_FULL, SHAPES_DETECTOR, SHAPES_DETECTOR_FEW
from .few_labels import (
    FEW,
    FEW_ARMS,
    FEW_LABELS,
    LABELS_PER_CLASS,
    NO_LABELS,
    TINY_RESNET_FEW,
    few_labels,
    with_text_prediction,
)
from .preset import Preset
from .pretrained import TINY_FEW_PRETRAINED, TINY_FEW_PRETRAINED_TUNING
from .pretraining import SHAPES_PRETRAINING, SHAPES_PRETRAINING_TUNING
from .students import BY_HEAD, classification_arms, named_arms
from .tuning import tuning
from .unseen_domains import ZERO_SHOT, domain_arm, domain_study, leave_one_out

__all__ = [
    'BY_HEAD',
    'FEW',
    'FEW_LABELS',
    'GROUPS',
    'LABELS_PER_CLASS',
    'PRESETS',
    'Preset',
    'domain_arm',
    'leave_one_out',
]

PRESETS = {
    'shapes': SHAPES,
    # LFI learned from a cache when it was tuned.
    'shapes-tuning': tuning(replace(SHAPES, arms=classification_arms(SHAPES_STUDENT)), 5),
    'shapes-few-tuning': tuning(
        few_labels(SHAPES, 10, tuple(map(with_text_prediction, named_arms(FEW_ARMS, SHAPES_STUDENT))), 6),
        6,
        SHAPES_FEW_SETTINGS,
    ),
    'shapes-fresh': SHAPES_FRESH,
    'shapes-long': SHAPES_LONG,
    'shapes-plain': SHAPES_PLAIN,
    'shapes-detector': SHAPES_DETECTOR,
    'shapes-detector-few': SHAPES_DETECTOR_FEW,
    'shapes-detector-few-tuning': tuning(SHAPES_DETECTOR_FEW, 8, FEW_BOXES_SETTINGS),
    'shapes-pretraining': SHAPES_PRETRAINING,
    'shapes-pretraining-tuning': SHAPES_PRETRAINING_TUNING,
    'tiny-small': TINY_SMALL,
    'tiny-small-tuning': tuning(TINY_SMALL, 8, PHOTOS_SETTINGS),
    'tiny-few-tuning': tuning(FEW_LABELS['tiny-few-10'], 8, FEW_SETTINGS),
    'tiny-50': TINY_50,
    'tiny-resnet': TINY_RESNET,
    'tiny-resnet-few': TINY_RESNET_FEW,
    'tiny-few-pretrained': TINY_FEW_PRETRAINED,
    'tiny-few-pretrained-tuning': TINY_FEW_PRETRAINED_TUNING,
    'tiny-full': TINY_FULL,
    'coco-full': COCO_FULL,
    'dg-pacs': domain_study('pacs', 'What is there of PACS'),
    'dg-vlcs': domain_study('vlcs', 'What is there of VLCS'),
    'zero-shot': ZERO_SHOT,
    **FEW_LABELS,
    **NO_LABELS,
}
# Groups of studies by name.
GROUPS = {
    'dg': ('dg-pacs', 'dg-vlcs', 'zero-shot'),
    **{name: tuple(f'{name}-{number}' for number in LABELS_PER_CLASS) for name in ('shapes-few', 'tiny-few')},
}
