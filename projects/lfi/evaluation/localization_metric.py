"""Does the student find what it is asked about, does it look there, and does it keep looking there?"""

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

from .image_maps import ImageMaps, without_padding
from .localization import (
    MEASURES,
    centre_map,
    kl_divergence,
    localization,
    normalized_scanpath_saliency,
    rank_correlations,
    region_iou,
)
from .presence import ImagePresence, presence_entries, presence_of

# What a measure is compared with, by the end of its entry's name, as `SemanticConsistencyMetric` says.
COLUMNS = {
    '': 'student',
    '_uniform': 'uniform map',
    '_centre': 'centre map',
    '_frequency': 'frequency',
    '_other_image': 'other image',
    '_teacher': 'teacher',
}
# Measures of the concepts that are not their image's label.
UNLABELLED = 'unlabelled_'


@dataclass(frozen=True)
class Measured:
    """What is kept of one image.

    Args:
        rows: for each measured concept the entries by name.
        presence: None where the image has no regions.
    """

    rows: list[dict[str, float]]
    presence: ImagePresence | None


@METRICS.register_module()
class SemanticConsistencyMetric(BaseMetric):
    """How well a student's answers fit what they are about, with the levels of its teacher and of chance.

    The test pipeline needs `lfi.LoadRegions`, and the hooks `lfi.InteractionMapsHook`. Each entry
    but presence is a mean over the visible concepts of all images. The student's map is that of its last
    supervised layer:

    - against the concept's region (mask or box), in pixels, in [0, 1]: `pointing`, `energy`,
      `average_precision` (`localization`) and `iou` (`region_iou`);
    - `teacher_spearman`, `teacher_nss` and `teacher_kl`: against the teacher's map; `human_...` against a
      given heat map (`lfi.LoadHeatMap`), averaged over each location of the student's grid;
    - `flip`: Spearman's correlation with the map of the mirrored image, mirrored back;
    - `layers`: the mean of Spearman's correlations between all pairs of supervised layers;
    - `between_concepts`: Spearman's correlation with the maps of the image's other concepts. It is 1 for a
      student that looks at the same location whatever it is asked for;
    - `presence_precision`, `presence_recall`, `presence_average_precision` and `presence_brier`
      (`presence_quality`): presence over all pairs of an image with regions and a concept of the bank,
      against the concepts that have a region there, but for pairs of which `crowds` alone tell;
    - `presence_top1`, where images have a `gt_label`: the share of the labelled images whose surest concept
      is a label.

    Where images have a `gt_label`, entries that begin with `unlabelled_` are of the concepts that are not
    their image's label. Entries that end in `_teacher` are the same measures of the teacher, as the student
    learns from it, but for labels; in `_uniform` and `_centre` of a flat map and of `centre_map`; in
    `_frequency` of a presence that is the share of the tested images that show the concept; and in
    `_other_image` of the map of the image before, in place of one of the two that are compared. `concepts` is
    how many were measured. A table of all is logged.

    Args:
        **kwargs: of `mmengine.evaluator.BaseMetric`. `prefix` defaults to 'semantic'.

    Raises:
        ValueError: if a sample has no regions or no maps, or these do not fit the image; the message says
            what the config lacks.
    """

    default_prefix = 'semantic'

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The maps of the image before.
        self._other: Tensor | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure each sample's maps; what is kept of a sample are numbers by name, and presence."""
        for sample in data_samples:
            named = {**sample.get('regions', {}), **sample.get('heat_maps', {})}
            if 'regions' not in sample and 'heat_maps' not in sample:
                raise ValueError(
                    "SemanticConsistencyMetric finds no regions: put dict(type='lfi.LoadRegions') into the "
                    "pipeline of test_dataloader, and let its last transform pass 'regions' on"
                )
            if named and 'interactions' not in sample:
                raise ValueError(
                    'SemanticConsistencyMetric finds no interactions: add '
                    "dict(type='lfi.InteractionMapsHook') to the hooks"
                )
            if not named:
                self.results.append(Measured([], None))
                continue
            maps: ImageMaps = sample['interactions']
            for concept, picture in named.items():
                if picture.shape != maps.size:
                    raise ValueError(
                        f'the region or heat map of concept {concept} is {picture.shape}, and the image '
                        f'{maps.size}: put all transforms that move pixels into lfi.LoadRegions'
                    )
            rows = self._rows(maps, sample) if maps.concepts else []
            regions, crowds = sample.get('regions', {}), sample.get('crowds', ())
            self.results.append(Measured(rows, presence_of(maps, regions, crowds, labels_of(sample))))

    def evaluate(self, size: int) -> dict:
        """As `BaseMetric.evaluate`."""
        self._other = None
        return super().evaluate(size)

    def compute_metrics(self, results: list[Measured]) -> dict[str, float]:
        """Means over the concepts of all images, and presence over all pairs."""
        rows = [row for image in results for row in image.rows]
        names = dict.fromkeys(name for row in rows for name in row)
        means = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
        means.update(presence_entries([image.presence for image in results if image.presence is not None]))
        if rows:
            title = f'Semantic consistency of {len(rows)} concepts in {len(results)} images'
            MMLogger.get_current_instance().info(f'{title}\n{consistency_table(means)}')
        return {**means, 'concepts': len(rows)}

    def _rows(self, maps: ImageMaps, sample: Mapping) -> list[dict[str, float]]:
        other = None
        rows_shown, columns_shown = (int(maps.valid.any(dim).sum()) for dim in (1, 0))
        if self._other is not None:
            resized = F.interpolate(self._other[None], (rows_shown, columns_shown), mode='bilinear')[0]
            other = resized[:, maps.valid[:rows_shown, :columns_shown]].numpy()  # [L, P]
        # Its padding is not part of where it looks.
        self._other = without_padding(maps.student[:, -1], maps.valid)[:, :rows_shown, :columns_shown]
        on_regions = against_regions(maps, sample.get('regions', {}))
        labels = labels_of(sample)
        heat_maps = sample.get('heat_maps', {})
        centre = maps.on_locations(centre_map(maps.size))[maps.valid].numpy()
        last = maps.student[-1][:, maps.valid].numpy()  # [n, P]
        teacher = maps.teacher[:, maps.valid].numpy()
        rows = between_concepts(last, teacher)
        for i, concept in enumerate(maps.concepts):
            layers = maps.student[:, i][:, maps.valid].numpy()  # [L, P]
            on_region = on_regions.get(concept, {})
            rows[i].update(on_region)
            if labels is not None and concept not in labels:
                rows[i].update({f'{UNLABELLED}{name}': value for name, value in on_region.items()})
            rows[i].update(agreement('teacher', last[i], teacher[i], centre))
            if concept in heat_maps:
                heat = maps.on_locations(torch.from_numpy(heat_maps[concept]))[maps.valid].numpy()
                # It may lie in locations alone that show too little of the image.
                if heat.any():
                    rows[i].update(agreement('human', last[i], heat, centre))
            rows[i].update(steadiness(layers, maps.mirrored[i][maps.valid].numpy(), other))
        return rows


def against_regions(maps: ImageMaps, regions: Mapping[int, np.ndarray]) -> dict[int, dict[str, float]]:
    """How well the maps lie on each concept's region, (h, w) bool; none for a concept without."""
    indices = {concept: i for i, concept in enumerate(maps.concepts) if concept in regions}
    if not indices:
        return {}
    masks = torch.stack([torch.from_numpy(regions[concept]) for concept in indices])
    index = list(indices.values())
    located = {
        '': maps.on_pixels(maps.student[-1][index]),
        '_centre': centre_map(maps.size).expand(masks.shape),
        '_teacher': maps.on_pixels(maps.teacher[index]),
    }
    entries = {
        f'{measure}{column}': values
        for column, pixels in located.items()
        for measure, values in {**localization(pixels, masks), 'iou': region_iou(pixels, masks)}.items()
    }
    # A flat map gets in all four the share that the region covers.
    share = masks.float().mean((1, 2))
    entries.update({f'{measure}_uniform': share for measure in (*MEASURES, 'iou')})
    return {
        concept: {name: float(values[n]) for name, values in entries.items()}
        for n, concept in enumerate(indices)
    }


def labels_of(sample: Any) -> list[int] | None:
    """The classes that an image is labelled with; None where images have no labels."""
    label = sample.get('gt_label')
    return None if label is None else label.flatten().tolist()


def agreement(source: str, saliency: np.ndarray, heat: np.ndarray, centre: np.ndarray) -> dict[str, float]:
    """How well a map agrees with a heat map; all are (P,) over the same locations."""
    found = {}
    for column, each in (('', saliency), ('_uniform', np.ones_like(heat)), ('_centre', centre)):
        found[f'{source}_spearman{column}'] = float(rank_correlations(np.stack((each, heat)))[0, 1])
        found[f'{source}_nss{column}'] = normalized_scanpath_saliency(each, heat)
        found[f'{source}_kl{column}'] = kl_divergence(each, heat)
    return found


def between_concepts(student: np.ndarray, teacher: np.ndarray) -> list[dict[str, float]]:
    """How alike each concept's map is to the others of its image, maps being (n, P); nothing for n = 1."""
    count, found = len(student), {}
    if count == 1:
        return [{}]
    for name, maps in (('between_concepts', student), ('between_concepts_teacher', teacher)):
        table = rank_correlations(maps)
        found[name] = (table.sum(1) - table.diagonal()) / (count - 1)
    return [{name: float(values[i]) for name, values in found.items()} for i in range(count)]


def steadiness(layers: np.ndarray, mirrored: np.ndarray, other: np.ndarray | None) -> dict[str, float]:
    """How alike the maps of one concept are across layers (L, P), and to that of the mirrored image (P,).

    `other` are another image's layers (L, P); None where there is none.
    """
    count = len(layers)
    maps = [layers, mirrored[None]] if other is None else [layers, mirrored[None], other]
    table = rank_correlations(np.concatenate(maps))
    pairs = np.triu_indices(count, 1)
    found = {'flip': float(table[count - 1, count])}
    if other is not None:
        found['flip_other_image'] = float(table[-1, count])
    if count > 1:
        found['layers'] = float(table[:count, :count][pairs].mean())
    if count > 1 and other is not None:
        found['layers_other_image'] = float(table[:count, count + 1 :][pairs].mean())
    return found


def consistency_table(means: Mapping[str, float]) -> str:
    """One row a measure, in Markdown: the student's value, and those of chance and the teacher beside it."""
    compared = tuple(ending for ending in COLUMNS if ending)
    rows = []
    for measure in (name for name in means if not name.endswith(compared)):
        cells = [means.get(f'{measure}{ending}') for ending in COLUMNS]
        rows.append([measure, *('' if cell is None else f'{cell:.3f}' for cell in cells)])
    return markdown.table(['measure', *COLUMNS.values()], rows)
