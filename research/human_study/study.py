"""Page of pairs of maps for the raters, and the key with the sources of the maps."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from lfi.evaluation import rank_correlations
from PIL import Image
from scipy.stats import rankdata
from torch import Tensor

from .answers import StudyError

# Perceptually uniform, also for the colour-blind.
COLOURS = matplotlib.colormaps['inferno']
# Opacity of a map at its lowest and at its highest value.
OPACITY = (0.55, 0.65)
# Longer side of a picture, in pixels.
SIDE = 320


@dataclass(frozen=True)
class Pair:
    """Two maps of one concept in one image.

    Args:
        image: name of the image.
        concept: concept of both maps.
        picture: (H, W, 3), uint8, RGB.
        maps: maps by source, 'A' and 'B', or 'right' and 'wrong' for a catch trial. Each is (h, w), of any
            scale and grid, and higher is stronger.

    Raises:
        StudyError: if a map is not finite.
    """

    image: str
    concept: str
    picture: np.ndarray
    maps: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for source, heat in self.maps.items():
            if not torch.isfinite(heat).all():
                raise StudyError(
                    f'map {source} of {self.concept!r} in {self.image} is not finite: check whether the '
                    'training of its source diverged'
                )


def catch_pairs(pairs: Sequence[Pair], count: int) -> tuple[list[Pair], float]:
    """Make catch trials, which have a correct answer, from the pairs with the most similar maps.

    The right side is the mean of the ranks of both maps. The wrong side is its negative, which is strongest
    where both maps are weakest. A catch trial favours neither source.

    Args:
        pairs: candidates with maps 'A' and 'B', preferably of images that the study does not show otherwise.
        count: number of catch trials, limited by the number of candidates.

    Returns:
        The catch trials, and the lowest Spearman correlation of A and B among them, 0 if there are none. A
        higher correlation makes the right side more certain.
    """

    def agreement(pair: Pair) -> float:
        ranks = [_ranks(heat, pair.picture.shape[:2]).ravel() for heat in pair.maps.values()]
        return float(rank_correlations(np.stack(ranks))[0, 1])

    def catch(pair: Pair) -> Pair:
        mean = torch.from_numpy(sum(_ranks(heat, pair.picture.shape[:2]) for heat in pair.maps.values()))
        return Pair(pair.image, pair.concept, pair.picture, {'right': mean, 'wrong': -mean})

    best = sorted(pairs, key=agreement, reverse=True)[:count]
    return [catch(pair) for pair in best], min(map(agreement, best), default=0.0)


def build_study(pairs: Sequence[Pair], sources: Mapping[str, str], seed: int) -> tuple[str, dict]:
    """Make a page that shows the pairs without their sources, and its key.

    Args:
        pairs: pairs and catch trials of the study. The seed determines their order and the first map of each
            pair; the page draws order and sides again for each rater.
        sources: descriptions of 'A' and 'B', for the key.
        seed: seed of the order.

    Returns:
        The page, self-contained HTML, and the key. The key holds `study`, the identity of the page's content;
        `sources`; and for each of the `trials` its `image`, its `concept`, and the sources shown `first` and
        `second`.
    """
    rng = np.random.default_rng(seed)
    # Each source comes first in half of the pairs, and in half of the catch trials.
    swapped = np.zeros(len(pairs), bool)
    for kind in dict.fromkeys(tuple(pair.maps) for pair in pairs):
        indices = [i for i, pair in enumerate(pairs) if tuple(pair.maps) == kind]
        swapped[indices] = rng.permutation(np.arange(len(indices)) % 2 == 1)
    page_trials, trials = [], {}
    for number, index in enumerate(rng.permutation(len(pairs)), 1):
        pair, name = pairs[index], f'{number:03d}'
        first, second = reversed(pair.maps) if swapped[index] else pair.maps
        trials[name] = dict(image=pair.image, concept=pair.concept, first=first, second=second)
        page_trials.append(
            dict(
                id=name,
                concept=pair.concept,
                image=_data_uri(pair.picture),
                first=_data_uri(overlay(pair.picture, pair.maps[first])),
                second=_data_uri(overlay(pair.picture, pair.maps[second])),
            )
        )
    identity = hashlib.sha256(json.dumps([page_trials, trials, dict(sources)]).encode()).hexdigest()[:12]
    key = dict(study=identity, sources=dict(sources), trials=trials)
    return _page(dict(id=identity, trials=page_trials)), key


def overlay(picture: np.ndarray, heat: Tensor) -> np.ndarray:
    """Blend a map over a picture, by the ranks of its values.

    All maps show each colour equally often: sharpness, contrast and temperature do not reveal the source.

    Args:
        picture: (H, W, 3), uint8, RGB.
        heat: (h, w), any grid; higher is stronger.

    Returns:
        (H, W, 3), uint8.
    """
    # Squaring keeps half of the picture in the lowest quarter of the colours.
    strength = _ranks(heat, picture.shape[:2])[..., None] ** 2
    low, high = OPACITY
    alpha = low + (high - low) * strength
    mixed = (1 - alpha) * picture + alpha * 255 * COLOURS(strength[..., 0])[..., :3]
    return mixed.round().astype(np.uint8)


def _ranks(heat: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Share of weaker pixels for each pixel of a bilinearly resized map."""
    cells = torch.from_numpy(rankdata(heat).reshape(heat.shape))
    # Bilinear weights may split ties by rounding errors. Centre the ranks and round to significant digits.
    cells = cells - cells.mean()
    pixels = F.interpolate(cells[None, None], size, mode='bilinear', align_corners=False).numpy().round(6)
    return ((rankdata(pixels) - 0.5) / pixels.size).reshape(size)


def _data_uri(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels)
    scale = SIDE / max(image.size)
    image = image.resize([max(1, round(scale * side)) for side in image.size], Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', quality=88)
    return 'data:image/jpeg;base64,' + base64.b64encode(buffer.getvalue()).decode()


def _page(study: dict) -> str:
    template = Path(__file__).with_name('page.html').read_text(encoding='utf-8')
    colours = ', '.join(matplotlib.colors.to_hex(COLOURS(step**2)) for step in np.linspace(0, 1, 9))
    # A concept name may contain `</script>`.
    text = json.dumps(study).replace('<', '\\u003c')
    return template.replace('{{colours}}', colours).replace('{{study}}', text)
