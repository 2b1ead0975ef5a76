"""Quantised interaction maps for storage.

The logits of a map are stored as uint8, with their lowest value and a step of 1/255 of their range. The error
of a logit is at most half a step. With r the largest range among an image's maps and T the temperature, the
error of a log-probability, over locations or over concepts, is at most r / (255 T). A probability changes by
a factor of at most exp(r / (255 T)): 4 % for r / T = 10.

Presence is stored as float32: a softmax over many concepts has values that float16 rounds to 0.
"""

from __future__ import annotations

import numpy as np
import torch

from .interaction_maps import InteractionMaps

LEVELS = 255


def packed_dtype(maps: InteractionMaps) -> np.dtype:
    """Dtype of an image's record: 'logits', 'low', 'step', 'presence', and 'concepts' if maps have them."""
    _, *shape = maps.logits.shape
    full, with_concepts = _dtypes(*shape)
    return full if maps.concepts is None else with_concepts


def is_packed(dtype: np.dtype) -> bool:
    """Whether a dtype is a `packed_dtype` of maps of any size."""
    shape = dtype['logits'].shape if 'logits' in (dtype.names or ()) else ()
    return len(shape) == 4 and min(shape) > 0 and dtype in _dtypes(*shape)


def _dtypes(n_layers: int, m: int, h: int, w: int) -> tuple[np.dtype, np.dtype]:
    """Dtypes of records without and with `concepts`."""
    fields = [
        ('logits', 'u1', (n_layers, m, h, w)),
        ('low', 'f4', (n_layers, m)),
        ('step', 'f4', (n_layers, m)),
        ('presence', 'f4', (m,)),
    ]
    return np.dtype(fields), np.dtype([*fields, ('concepts', 'i4', (m,))])


def pack(maps: InteractionMaps) -> np.ndarray:
    """Pack the maps of B complete images into records (B,) of `packed_dtype`.

    Raises:
        ValueError: if a location is invalid, or a value is not finite.
    """
    maps.check()
    if not maps.valid.all():
        raise ValueError('valid: only maps of complete images can be packed: some locations are invalid')
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


def missing_records(n: int, dtype: np.dtype) -> np.ndarray:
    """Build records (n,) of images that could not be read."""
    records = np.zeros(n, dtype)
    records['low'] = np.nan
    return records


def is_missing(records: np.ndarray) -> np.ndarray:
    """Return a mask (n,) of the records whose images could not be read."""
    return np.isnan(records['low']).any((1, 2))


def unpack(
    records: np.ndarray, layers: tuple[int, ...], directions: tuple[str, ...], device: torch.device | str
) -> InteractionMaps:
    """Unpack records into maps on a device; the transfer is in uint8.

    Args:
        records: (B,) of `packed_dtype`.
        layers: layers of the maps.
        directions: directions in which the maps can be read.
        device: device of the maps.
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
