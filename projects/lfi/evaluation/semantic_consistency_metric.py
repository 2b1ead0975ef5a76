"""Semantic consistency: presence, localization and stability of a student's interaction maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from lfi.registry import METRICS
from lfi.utils import markdown

from .image_maps import ImageMaps, fill_padding
from .localization import (
    MEASURES,
    centre_map,
    kl_divergence,
    localization,
    normalized_scanpath_saliency,
    rank_correlations,
    region_iou,
)
from .presence import ImagePresence, image_presence, presence_metrics, student_fit

# Columns of the logged table, by the suffix of the entry's name.
COLUMNS = {
    '': 'student',
    '_uniform': 'uniform map',
    '_centre': 'centre map',
    '_frequency': 'frequency',
    '_other_image': 'other image',
    '_teacher': 'teacher',
}
# Prefix of entries for concepts that are not among the labels of their image.
NOT_A_LABEL_PREFIX = 'unlabelled_'


@dataclass(frozen=True)
class ImageResult:
    """Result of one image.

    Args:
        rows: entries by name, for each measured concept.
        presence: presence of the concepts; None if the image has no regions.
    """

    rows: list[dict[str, float]]
    presence: ImagePresence | None


@METRICS.register_module()
class SemanticConsistencyMetric(BaseMetric):
    """Semantic consistency of a student's maps and presence, beside the teacher and chance levels.

    Put `lfi.LoadRegions` into the test pipeline, and `lfi.InteractionMapsHook` into the hooks. Entries,
    except those of presence, are means over the measured concepts of all images: concepts with a region or a
    heat map. All entries but `layers` read the map of the last supervised layer:

    - `pointing`, `energy`, `average_precision` (`localization`) and `iou` (`region_iou`): the map against the
      region of the concept (mask or box), on pixels, in [0, 1];
    - `teacher_spearman`, `teacher_nss` and `teacher_kl`: the map against the teacher's map;
    - `human_spearman`, `human_nss` and `human_kl`: the map against a given heat map, such as one of people's
      gaze (`lfi.LoadHeatMap`). Each location has the mean of the heat map's pixels there;
    - `flip`: Spearman's correlation with the map of the mirrored image, mirrored back;
    - `layers`: Spearman's correlation between the supervised layers, mean over all pairs of layers;
    - `between_concepts`: Spearman's correlation with the maps of the other concepts of the image. It is 1 for
      a student whose map does not depend on the concept;
    - `presence_precision`, `presence_recall`, `presence_average_precision`, `presence_brier` and
      `presence_calibration_error` (`presence_quality`): presence against 1 if the image has a region of the
      concept, else 0. A pair is one image that has regions and one concept of the bank, and all pairs count.
      A pair is left out if the image has the concept only in `crowds`, objects that the annotations ignore;
    - `presence_fitted_calibration_error`: the same error after a fit on every other image, measured on those
      in between. If the fit reduces the error, the log says which `readout.presence_fit` to set;
    - `presence_top1`, if images have a `gt_label`: the share of labelled images whose concept of the highest
      presence is a label.

    Entries with the prefix `unlabelled_` cover the concepts that are not among the labels of their image, if
    images have a `gt_label`. Suffixes name references. `_teacher` is the same measure of the teacher's maps
    and presence, before labels raise presence. `_uniform` and `_centre` are a flat map and `centre_map`.
    `_frequency` is a presence equal to the share of the tested images that show the concept. `_other_image`
    replaces one of the two compared maps by a map of the previous image, that of its last concept. `concepts`
    is the number of measured concepts. A table is logged.

    Args:
        **kwargs: arguments of `mmengine.evaluator.BaseMetric`. `prefix` defaults to 'semantic'.

    Raises:
        ValueError: if a sample has no regions or no maps, or regions or heat maps do not fit the image.
    """

    default_prefix = 'semantic'

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._previous_maps: Tensor | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Record the measures and the presence of each sample."""
        for sample in data_samples:
            pictures = {**sample.get('regions', {}), **sample.get('heat_maps', {})}
            if 'regions' not in sample and 'heat_maps' not in sample:
                raise ValueError(
                    "SemanticConsistencyMetric: samples have no regions: put dict(type='lfi.LoadRegions') "
                    "into the pipeline of test_dataloader, and pack 'regions' in the last transform"
                )
            if pictures and 'interactions' not in sample:
                raise ValueError(
                    'SemanticConsistencyMetric: samples have no interactions: add '
                    "dict(type='lfi.InteractionMapsHook') to the hooks"
                )
            if not pictures:
                self.results.append(ImageResult([], None))
                continue
            maps: ImageMaps = sample['interactions']
            for concept, picture in pictures.items():
                if picture.shape != maps.size:
                    raise ValueError(
                        f'the region or heat map of concept {concept} is {picture.shape}, and the '
                        f'image {maps.size}: put all transforms that move pixels into lfi.LoadRegions'
                    )
            rows = self._rows(maps, sample) if maps.concepts else []
            regions, crowds = sample.get('regions', {}), sample.get('crowds', ())
            self.results.append(
                ImageResult(rows, image_presence(maps, regions, crowds, image_labels(sample)))
            )

    def evaluate(self, size: int) -> dict:
        """Return the metrics of all `size` samples, and forget the previous image."""
        self._previous_maps = None
        return super().evaluate(size)

    def compute_metrics(self, results: list[ImageResult]) -> dict[str, float]:
        """Return means over the concepts of all images, and presence over all pairs."""
        rows = [row for image in results for row in image.rows]
        names = dict.fromkeys(name for row in rows for name in row)
        means = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
        presences = [image.presence for image in results if image.presence is not None]
        means.update(presence_metrics(presences))
        logger = MMLogger.get_current_instance()
        if rows:
            title = f'Semantic consistency of {len(rows)} concepts in {len(results)} images'
            logger.info(f'{title}\n{consistency_table(means)}')
        error, fitted_error = (means.get(f'presence_{name}calibration_error') for name in ('', 'fitted_'))
        if error is not None and fitted_error is not None and fitted_error < error:
            scale, offset = student_fit(presences)
            logger.info(
                f"A fit reduces the calibration error of the student's presence from {error:.3f} to "
                f'{fitted_error:.3f}: set model.readout.presence_fit=[{scale:.3g}, {offset:.3g}]'
            )
        return {**means, 'concepts': len(rows)}

    def _rows(self, maps: ImageMaps, sample: Mapping) -> list[dict[str, float]]:
        previous = None
        height, width = (int(maps.valid.any(dim).sum()) for dim in (1, 0))
        if self._previous_maps is not None:
            resized = F.interpolate(self._previous_maps[None], (height, width), mode='bilinear')[0]
            previous = resized[:, maps.valid[:height, :width]].numpy()  # [L, P]
        self._previous_maps = fill_padding(maps.student[:, -1], maps.valid)[:, :height, :width]
        measures_by_concept = region_measures(maps, sample.get('regions', {}))
        labels = image_labels(sample)
        heat_maps = sample.get('heat_maps', {})
        centre = maps.to_locations(centre_map(maps.size))[maps.valid].numpy()
        last = maps.student[-1][:, maps.valid].numpy()  # [n, P]
        teacher = maps.teacher[:, maps.valid].numpy()
        rows = concept_correlations(last, teacher)
        for i, concept in enumerate(maps.concepts):
            layers = maps.student[:, i][:, maps.valid].numpy()  # [L, P]
            measures = measures_by_concept.get(concept, {})
            rows[i].update(measures)
            if labels is not None and concept not in labels:
                rows[i].update({f'{NOT_A_LABEL_PREFIX}{name}': value for name, value in measures.items()})
            rows[i].update(agreement('teacher', last[i], teacher[i], centre))
            if concept in heat_maps:
                heat = maps.to_locations(torch.from_numpy(heat_maps[concept]))[maps.valid].numpy()
                # A heat map may lie in invalid locations only.
                if heat.any():
                    rows[i].update(agreement('human', last[i], heat, centre))
            rows[i].update(map_stability(layers, maps.mirrored[i][maps.valid].numpy(), previous))
        return rows


def region_measures(maps: ImageMaps, regions: Mapping[int, np.ndarray]) -> dict[int, dict[str, float]]:
    """Return measures by name for each concept that has a map and a region, (h, w) bool."""
    indices = {concept: i for i, concept in enumerate(maps.concepts) if concept in regions}
    if not indices:
        return {}
    masks = torch.stack([torch.from_numpy(regions[concept]) for concept in indices])
    index = list(indices.values())
    columns = {
        '': maps.to_pixels(maps.student[-1][index]),
        '_centre': centre_map(maps.size).expand(masks.shape),
        '_teacher': maps.to_pixels(maps.teacher[index]),
    }
    entries = {
        f'{measure}{column}': values
        for column, pixels in columns.items()
        for measure, values in {**localization(pixels, masks), 'iou': region_iou(pixels, masks)}.items()
    }
    # In all four measures, a flat map scores the share of the image that the region covers.
    share = masks.float().mean((1, 2))
    entries.update({f'{measure}_uniform': share for measure in (*MEASURES, 'iou')})
    return {
        concept: {name: float(values[n]) for name, values in entries.items()}
        for n, concept in enumerate(indices)
    }


def image_labels(sample: Any) -> list[int] | None:
    """Return the classes of `gt_label`, or None if the sample has no labels."""
    label = sample.get('gt_label')
    return None if label is None else label.flatten().tolist()


def agreement(
    prefix: str, student_map: np.ndarray, reference_map: np.ndarray, centre: np.ndarray
) -> dict[str, float]:
    """Return how well a student's map, a flat map and a centre map agree with a reference map, (P,) each.

    Names of entries begin with `prefix`, 'teacher' or 'human'.
    """
    entries = {}
    for column, values in (('', student_map), ('_uniform', np.ones_like(reference_map)), ('_centre', centre)):
        pair = np.stack((values, reference_map))
        entries[f'{prefix}_spearman{column}'] = float(rank_correlations(pair)[0, 1])
        entries[f'{prefix}_nss{column}'] = normalized_scanpath_saliency(values, reference_map)
        entries[f'{prefix}_kl{column}'] = kl_divergence(values, reference_map)
    return entries


def concept_correlations(student: np.ndarray, teacher: np.ndarray) -> list[dict[str, float]]:
    """Return the mean correlation of each map (n, P) with the image's other maps; no entries if n = 1."""
    count, correlations = len(student), {}
    if count == 1:
        return [{}]
    for name, maps in (('between_concepts', student), ('between_concepts_teacher', teacher)):
        table = rank_correlations(maps)
        correlations[name] = (table.sum(1) - table.diagonal()) / (count - 1)
    return [{name: float(values[i]) for name, values in correlations.items()} for i in range(count)]


def map_stability(layers: np.ndarray, mirrored: np.ndarray, previous: np.ndarray | None) -> dict[str, float]:
    """Correlations of one concept's maps between layers, (L, P), and with the mirrored image's map, (P,).

    `previous` holds the maps of the previous image's last concept, (L, P); None for the first image.
    """
    count = len(layers)
    maps = [layers, mirrored[None]] if previous is None else [layers, mirrored[None], previous]
    table = rank_correlations(np.concatenate(maps))
    pairs = np.triu_indices(count, 1)
    entries = {'flip': float(table[count - 1, count])}
    if previous is not None:
        entries['flip_other_image'] = float(table[-1, count])
    if count > 1:
        entries['layers'] = float(table[:count, :count][pairs].mean())
    if count > 1 and previous is not None:
        entries['layers_other_image'] = float(table[:count, count + 1 :][pairs].mean())
    return entries


def consistency_table(means: Mapping[str, float]) -> str:
    """Return a Markdown table with a row for each measure and the columns of `COLUMNS`."""
    suffixes = tuple(suffix for suffix in COLUMNS if suffix)
    rows = []
    for measure in (name for name in means if not name.endswith(suffixes)):
        cells = [means.get(f'{measure}{suffix}') for suffix in COLUMNS]
        rows.append([measure, *('' if cell is None else f'{cell:.3f}' for cell in cells)])
    return markdown.table(['measure', *COLUMNS.values()], rows)
