"""Measures of a model's quality beyond accuracy, and the comparison of runs."""

from .convergence import equal_finish_table, same_schedule_table
from .domain_generalization_metric import DomainGeneralizationMetric
from .image_maps import ImageMaps
from .interaction_maps_hook import InteractionMapsHook
from .localization import (
    MEASURES,
    centre_map,
    energy_pointing_game,
    localization,
    map_average_precision,
)
from .paired import Difference, mean_and_spread, paired_difference, paired_table
from .pointing_game import chance_level, pointing_game
from .region_iou import region_iou
from .runs import Run, epoch_table, in_per_cent, markdown_table, metric_name, read_run
from .saliency import kl_divergence, normalized_scanpath_saliency, rank_correlations
from .semantic_consistency import SemanticConsistencyMetric
from .study import Cell, Study, read_cells

__all__ = [
    'MEASURES',
    'Cell',
    'Difference',
    'DomainGeneralizationMetric',
    'ImageMaps',
    'InteractionMapsHook',
    'Run',
    'SemanticConsistencyMetric',
    'Study',
    'centre_map',
    'chance_level',
    'energy_pointing_game',
    'epoch_table',
    'equal_finish_table',
    'kl_divergence',
    'localization',
    'map_average_precision',
    'markdown_table',
    'mean_and_spread',
    'normalized_scanpath_saliency',
    'paired_difference',
    'paired_table',
    'pointing_game',
    'rank_correlations',
    'read_run',
    'region_iou',
    'same_schedule_table',
    'in_per_cent',
    'metric_name',
    'read_cells',
]
