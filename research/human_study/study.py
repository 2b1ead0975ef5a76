"""From pairs of maps to a page for the raters, and the key that says which source each side is."""

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

# Dark to bright in even steps, also for the colour-blind.
COLOURS = matplotlib.colormaps['inferno']
# The opacity of a map where it is lowest, and where it is highest.
HIDDEN = (0.55, 0.65)
# The longer side of a picture, in pixels.
SIDE = 320


@dataclass(frozen=True)
class Pair:
    """Two maps of one concept in one image.

    Args:
        image: A name of the image.
        concept: The concept of both maps.
        picture: (H, W, 3) uint8, RGB.
        maps: The two maps by their sources, 'A' and 'B', or 'right' and 'wrong' for a catch trial; each
            (h, w), of any scale and grid. Higher is stronger.

    Raises:
        StudyError: For a map that is not finite.
    """

    image: str
    concept: str
    picture: np.ndarray
    maps: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        for source, heat in self.maps.items():
            if not torch.isfinite(heat).all():
                raise StudyError(
                    f'map {source} of {self.concept!r} in {self.image} is not finite: has the training of '
                    'its source diverged?'
                )


def catch_pairs(pairs: Sequence[Pair], count: int) -> tuple[list[Pair], float]:
    """Make catch trials, whose right answer is known, of the pairs on whose maps A and B agree most.

    The right side is the mean of the ranks of both maps. The wrong side is its negative, which is strongest
    where both maps are weakest. A catch trial favours neither source.

    Args:
        pairs: Candidates, with maps 'A' and 'B'; best of images that the study does not show otherwise.
        count: How many are wanted, at most as many as there are candidates.

    Returns:
        The catch trials, and the least Spearman correlation of A and B among them, 0 without any. The higher
        it is, the more certain the right side.
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
        pairs: The study's pairs and its catch trials. The seed decides their order, and which map of a pair
            comes first; the page draws order and sides again for each rater.
        sources: Descriptions of 'A' and 'B', for the key.
        seed: Seed of the order.

    Returns:
        The page, HTML that loads nothing; and the key. The key holds `study`, the identity of the page's
        content; `sources`; and for each trial its `image`, its `concept`, and the sources shown `first` and
        `second`.
    """
    rng = np.random.default_rng(seed)
    # Half of the pairs have each source first, and half of the catch trials.
    turned = np.zeros(len(pairs), bool)
    for sources_of in dict.fromkeys(tuple(pair.maps) for pair in pairs):
        alike = [i for i, pair in enumerate(pairs) if tuple(pair.maps) == sources_of]
        turned[alike] = rng.permutation(np.arange(len(alike)) % 2 == 1)
    shown, trials = [], {}
    for number, index in enumerate(rng.permutation(len(pairs)), 1):
        pair, name = pairs[index], f'{number:03d}'
        first, second = reversed(pair.maps) if turned[index] else pair.maps
        trials[name] = dict(image=pair.image, concept=pair.concept, first=first, second=second)
        shown.append(
            dict(
                id=name,
                concept=pair.concept,
                image=_data_uri(pair.picture),
                first=_data_uri(overlay(pair.picture, pair.maps[first])),
                second=_data_uri(overlay(pair.picture, pair.maps[second])),
            )
        )
    identity = hashlib.sha256(json.dumps([shown, trials, dict(sources)]).encode()).hexdigest()[:12]
    key = dict(study=identity, sources=dict(sources), trials=trials)
    return _page(dict(id=identity, trials=shown)), key


def overlay(picture: np.ndarray, heat: Tensor) -> np.ndarray:
    """Lay a map over a picture, by the ranks of its values.

    Any two maps thus show each colour equally often: neither sharpness nor contrast gives the source away,
    and a temperature changes nothing.

    Args:
        picture: (H, W, 3) uint8, RGB.
        heat: (h, w), of any grid; higher is stronger.

    Returns:
        (H, W, 3) uint8.
    """
    # Squared: half of the picture stays in the lowest quarter of the colours.
    strength = _ranks(heat, picture.shape[:2])[..., None] ** 2
    low, high = HIDDEN
    alpha = low + (high - low) * strength
    mixed = (1 - alpha) * picture + alpha * 255 * COLOURS(strength[..., 0])[..., :3]
    return mixed.round().astype(np.uint8)


def _ranks(heat: Tensor, size: tuple[int, int]) -> np.ndarray:
    """For each pixel of a map resized bilinearly, the share of pixels that are weaker."""
    cells = torch.from_numpy(rankdata(heat).reshape(heat.shape))
    # Bilinear weights may round equal ranks apart: around zero, and to no more digits than they have.
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
    # A concept may hold what would end the script.
    text = json.dumps(study).replace('<', '\\u003c')
    return template.replace('{{colours}}', colours).replace('{{study}}', text)
