"""Metrics beyond accuracy. The package imports data sets, engine and models, but no tools."""

from .against_annotations import MeanIoU, coco_precision
from .domain_generalization_metric import DomainGeneralizationMetric
from .frozen_features import FeatureMetric, KNNMetric, LinearProbeMetric
from .image_maps import ImageMaps
from .interaction_maps_hook import InteractionMapsHook
from .localization import (
    MEASURES,
    average_precision,
    centre_map,
    chance_level,
    energy_pointing_game,
    kl_divergence,
    localization,
    map_average_precision,
    normalized_scanpath_saliency,
    pointing_game,
    rank_correlations,
    region_iou,
)
from .presence import presence_quality
from .semantic_consistency_metric import SemanticConsistencyMetric

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
