"""Outlines of the shape classes: polygons centred on the origin with radius 1, y downwards."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

# The order of the classes is the order of this mapping.
OUTLINES: dict[str, list[np.ndarray]] = {}


def _register(name: str, *contours: np.ndarray | Sequence[Sequence[float]]) -> None:
    """Add an outline, centred and scaled to radius 1. A second contour is a hole."""
    outer, *holes = (np.asarray(points, dtype=np.float64) for points in contours)
    centre = (outer.min(0) + outer.max(0)) / 2
    radius = np.linalg.norm(outer - centre, axis=1).max()
    OUTLINES[name] = [(points - centre) / radius for points in (outer, *holes)]


def _polar(radius: ArrayLike, angle: ArrayLike) -> np.ndarray:
    radius, angle = np.broadcast_arrays(radius, angle)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _turn(n: int, start: float = -np.pi / 2) -> np.ndarray:
    """Return n angles of a full turn that start at the top, (n,), in radians."""
    return start + 2 * np.pi * np.arange(n) / n


def _arc(start: float, stop: float, n: int = 24) -> np.ndarray:
    return np.linspace(np.deg2rad(start), np.deg2rad(stop), n)


def _heart() -> np.ndarray:
    t = _turn(48)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1)


def _crescent() -> np.ndarray:
    outer = _polar(1.0, _arc(50, 310))
    inner = _polar(0.8, _arc(290, 70)) + [0.37, 0.0]
    return np.concatenate([outer, inner])


def _drop() -> np.ndarray:
    return np.concatenate([_polar(1.0, _arc(-20, 200)), [[0.0, -2.1]]])


def _leaf() -> np.ndarray:
    side = _polar(1.0, _arc(-50, 50)) - [np.cos(np.deg2rad(50)), 0.0]
    return np.concatenate([side, -side])


def _gear() -> np.ndarray:
    tooth = np.array([0.72, 1.0, 1.0, 0.72])
    return _polar(np.tile(tooth, 8), np.repeat(_turn(8), 4) + np.tile([-0.22, -0.17, 0.17, 0.22], 8))


_register('circle', _polar(1.0, _turn(48)))
_register('semicircle', _polar(1.0, _arc(180, 360)))
_register('triangle', _polar(1.0, _turn(3)))
_register('square', [[-1, -1], [1, -1], [1, 1], [-1, 1]])
_register('diamond', [[0, -1], [0.58, 0], [0, 1], [-0.58, 0]])
_register('trapezoid', [[-0.45, -0.6], [0.45, -0.6], [1, 0.6], [-1, 0.6]])
_register('pentagon', _polar(1.0, _turn(5)))
_register('hexagon', _polar(1.0, _turn(6)))
_register('star', _polar(np.tile([1.0, 0.42], 5), _turn(10)))
_register('gear', _gear())
_register('flower', _polar(1 + 0.3 * np.cos(5 * (_turn(60) + np.pi / 2)), _turn(60)))
_register(
    'cross',
    [
        [-1, -3],
        [1, -3],
        [1, -1],
        [3, -1],
        [3, 1],
        [1, 1],
        [1, 3],
        [-1, 3],
        [-1, 1],
        [-3, 1],
        [-3, -1],
        [-1, -1],
    ],
)
_register('heart', _heart())
_register('crescent', _crescent())
_register('ring', _polar(1.0, _turn(48)), _polar(0.52, _turn(48)))
_register('arrow', [[-5, -1.4], [0.5, -1.4], [0.5, -4], [5, 0], [0.5, 4], [0.5, 1.4], [-5, 1.4]])
_register('chevron', [[-4, -4], [-0.5, -4], [4, 0], [-0.5, 4], [-4, 4], [0.3, 0]])
_register('drop', _drop())
_register('leaf', _leaf())
_register('bolt', [[0.2, -3], [-2, 0.5], [-0.4, 0.5], [-1, 3], [2, -0.9], [0.3, -0.9], [1.2, -3]])
