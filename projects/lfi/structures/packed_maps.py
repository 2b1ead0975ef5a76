"""Interaction maps in few bytes, for keeping.

A map's logits are stored as uint8 with their lowest value and a step of 1/255 of their range. A stored
logit is off by at most half a step, so with r the largest range among an image's maps, and temperature T:

- over locations, and over concepts, a log-probability is off by at most r / (255 T), and no probability
  changes by more than a factor of exp(r / (255 T)): 4 % for r / T = 10.

Presence is stored in float16, relative error at most 2^-11.
"""

from __future__ import annotations

import numpy as np
import torch

from .interaction_maps import InteractionMaps

LEVELS = 255


def packed_dtype(maps: InteractionMaps) -> np.dtype:
    """The record of one image: 'logits', 'low', 'step', 'presence', and 'concepts' where maps name them."""
    _, *shape = maps.logits.shape
    every, chosen = _dtypes(*shape)
    return every if maps.concepts is None else chosen


def is_packed(dtype: np.dtype) -> bool:
    """Whether a dtype is that of `packed_dtype`, for maps of some size."""
    shape = dtype['logits'].shape if 'logits' in (dtype.names or ()) else ()
    return len(shape) == 4 and min(shape) > 0 and dtype in _dtypes(*shape)


def _dtypes(n_layers: int, m: int, h: int, w: int) -> tuple[np.dtype, np.dtype]:
    """The record where every concept has a map, and that where maps name theirs."""
    fields = [
        ('logits', 'u1', (n_layers, m, h, w)),
        ('low', 'f4', (n_layers, m)),
        ('step', 'f4', (n_layers, m)),
        ('presence', 'f2', (m,)),
    ]
    return np.dtype(fields), np.dtype([*fields, ('concepts', 'i4', (m,))])


def pack(maps: InteractionMaps) -> np.ndarray:
    """Records of `packed_dtype`, (B,), of a batch of maps of complete images.

    Raises:
        ValueError: if a location is not valid: padding is not kept; or a value is not finite.
    """
    maps.check()
    if not maps.valid.all():
        raise ValueError('valid: only maps of complete images can be packed, these have invalid locations')
    low, high = maps.logits.amin((-2, -1)), maps.logits.amax((-2, -1))  # [B, L, M]
    step = (high - low) / LEVELS
    levels = (maps.logits - low[..., None, None]) / step.clamp_min(1e-30)[..., None, None]
    records = np.empty(len(maps.logits), packed_dtype(maps))
    records['logits'] = levels.round().clamp(0, LEVELS).byte().cpu().numpy()
    records['low'], records['step'] = low.cpu().numpy(), step.cpu().numpy()
    records['presence'] = maps.presence.cpu().numpy()
    if maps.concepts is not None:
        records['concepts'] = maps.concepts.cpu().numpy()
    return records


def without_maps(n: int, dtype: np.dtype) -> np.ndarray:
    """Records (n,) of images that could not be read."""
    records = np.zeros(n, dtype)
    records['low'] = np.nan
    return records


def lacks_maps(records: np.ndarray) -> np.ndarray:
    """Which records (n,) are of images that could not be read."""
    return np.isnan(records['low']).any((1, 2))


def unpack(
    records: np.ndarray, layers: tuple[int, ...], directions: tuple[str, ...], device: torch.device | str
) -> InteractionMaps:
    """Maps of records, on a device; they travel there as uint8.

    Args:
        records: (B,) of `packed_dtype`.
        layers: of the maps, as `InteractionMaps` has them.
        directions: likewise.
        device: where the maps are wanted.
    """

    def to_device(name: str) -> torch.Tensor:
        return torch.from_numpy(records[name].copy()).to(device, non_blocking=True)

    low, step = to_device('low')[..., None, None], to_device('step')[..., None, None]
    logits = torch.addcmul(low, step, to_device('logits').float())  # [B, L, M, H, W]
    b, _, _, h, w = logits.shape
    return InteractionMaps(
        logits=logits,
        presence=to_device('presence').float(),
        valid=torch.ones(b, h, w, dtype=torch.bool, device=device),
        concepts=to_device('concepts').long() if 'concepts' in records.dtype.names else None,
        layers=layers,
        directions=directions,
    )
