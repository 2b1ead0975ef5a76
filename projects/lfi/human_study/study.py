"""From pairs of maps to a page for the raters, and the key that says what each side was."""

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
from PIL import Image
from scipy.stats import rankdata
from torch import Tensor

# Dark to bright in even steps, also for the colour-blind.
COLOURS = matplotlib.colormaps['inferno']
# How much of the image the lowest and the highest place of a map hide.
HIDDEN = (0.55, 0.65)
# Of a picture's longer side, in pixels.
SIDE = 320


@dataclass(frozen=True)
class Pair:
    """Two maps of one concept in one image.

    Args:
        image: a name of the image.
        concept: what both maps look for.
        picture: (H, W, 3) uint8, RGB.
        maps: what the two sides show, by what they are: 'A' and 'B', or 'right' and 'wrong' for a catch
            trial; each (h, w), of any scale and grid, higher is stronger.
    """

    image: str
    concept: str
    picture: np.ndarray
    maps: Mapping[str, Tensor]


def catch_pairs(pairs: Sequence[Pair], count: int) -> tuple[list[Pair], float]:
    """Catch trials, whose right answer is known: from the pairs in whose maps A and B agree most.

    The right side is the mean of their maps, by ranks; the wrong side is the same upside down, strongest
    where both see least. Neither source gains by it.

    Args:
        pairs: candidates, with maps 'A' and 'B'; best of images that the study does not show otherwise.
        count: how many are wanted, at most as many as there are candidates.

    Returns:
        The catch trials, and the least Spearman correlation of A and B among them, 0 without any: the right
        side is the more certain the higher it is.
    """

    def agreement(pair: Pair) -> float:
        a, b = (_ranks(heat, pair.picture.shape[:2]).ravel() - 0.5 for heat in pair.maps.values())
        norm = np.sqrt((a @ a) * (b @ b))
        # A flat map agrees with none.
        return float(a @ b / norm) if norm else 0.0

    def catch(pair: Pair) -> Pair:
        mean = torch.from_numpy(sum(_ranks(heat, pair.picture.shape[:2]) for heat in pair.maps.values()))
        return Pair(pair.image, pair.concept, pair.picture, {'right': mean, 'wrong': -mean})

    best = sorted(pairs, key=agreement, reverse=True)[:count]
    return [catch(pair) for pair in best], min(map(agreement, best), default=0.0)


def build_study(pairs: Sequence[Pair], sources: Mapping[str, str], seed: int) -> tuple[str, dict]:
    """A page that shows the pairs without telling what is what, and the key to it.

    Args:
        pairs: the study's pairs and its catch trials. Their order, and which map of a pair comes first, is
            drawn by the seed; the page draws an order and the sides again for each rater.
        sources: what 'A' and 'B' are, for the key.
        seed: of the order.

    Returns:
        The page, HTML that asks no server for anything; and the key: `study`, the identity of what the page
        shows; `sources`; and by the trial's name its `image`, its `concept`, and what is shown `first` and
        `second`.
    """
    rng = np.random.default_rng(seed)
    # Half of the pairs have each source first.
    turned = rng.permutation(np.arange(len(pairs)) % 2 == 1)
    shown, trials = [], {}
    for number, (place, turn) in enumerate(zip(rng.permutation(len(pairs)), turned), 1):
        pair, name = pairs[place], f'{number:03d}'
        first, second = reversed(pair.maps) if turn else pair.maps
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
    """Lay a map (h, w) over a picture (H, W, 3) uint8, by the ranks of its places; (H, W, 3) uint8.

    So any two maps show as much of each colour: neither sharpness nor contrast tells whose map it is, and a
    temperature changes nothing.
    """
    # Squared: half of the picture stays in the lowest quarter of the colours.
    strength = _ranks(heat, picture.shape[:2])[..., None] ** 2
    low, high = HIDDEN
    alpha = low + (high - low) * strength
    mixed = (1 - alpha) * picture + alpha * 255 * COLOURS(strength[..., 0])[..., :3]
    return mixed.round().astype(np.uint8)


def _ranks(heat: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A map's ranks brought to a size, bilinearly, and each pixel to the share of pixels that are weaker."""
    cells = torch.from_numpy(rankdata(heat).reshape(heat.shape))
    pixels = F.interpolate(cells[None, None], size, mode='bilinear', align_corners=False).numpy()
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
