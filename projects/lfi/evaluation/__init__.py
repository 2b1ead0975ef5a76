"""Measures of a model's quality beyond accuracy."""

from .coco_precision import coco_precision
from .domain_generalization_metric import DomainGeneralizationMetric
from .feature_metric import FeatureMetric
from .image_maps import ImageMaps
from .interaction_maps_hook import InteractionMapsHook
from .knn import KNNMetric
from .linear_probe import LinearProbeMetric
from .localization import (
    MEASURES,
    average_precision,
    centre_map,
    energy_pointing_game,
    localization,
    map_average_precision,
)
from .mean_iou import MeanIoU
from .pointing_game import chance_level, pointing_game
from .presence import presence_quality
from .region_iou import region_iou
from .saliency import kl_divergence, normalized_scanpath_saliency, rank_correlations
from .semantic_consistency import SemanticConsistencyMetric

__all__ = [
    'MEASURES',
    'DomainGeneralizationMetric',
    'FeatureMetric',
    'ImageMaps',
    'InteractionMapsHook',
    'KNNMetric',
    'LinearProbeMetric',
    'MeanIoU',
    'SemanticConsistencyMetric',
    'average_precision',
    'centre_map',
    'chance_level',
    'coco_precision',
    'energy_pointing_game',
    'kl_divergence',
    'localization',
    'map_average_precision',
    'normalized_scanpath_saliency',
    'pointing_game',
    'presence_quality',
    'rank_correlations',
    'region_iou',
]
