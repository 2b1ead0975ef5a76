"""Painters of the four domains. None moves an outline by much more than a pixel."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np

from .scene import SUBPIXEL_BITS, Colour, Patch, Scene

INK = (38, 30, 28)
# Rows and columns of an image region.
Window = tuple[slice, slice]


@lru_cache(maxsize=8)
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (y, x) of the pixel centres in [0, 1], each (size, size) float32."""
    ticks = (np.arange(size, dtype=np.float32) + 0.5) / size
    y, x = np.meshgrid(ticks, ticks, indexing='ij')
    return y, x


def _random_bytes(rng: np.random.Generator, size: int, channels: int) -> np.ndarray:
    return np.frombuffer(rng.bytes(size * size * channels), np.uint8).reshape(size, size, channels)


def _window(scene: Scene, contours: list[np.ndarray]) -> Window:
    """Return the image region that an outline touches."""
    size = scene.img_size
    x0, y0 = (contours[0].min(0) * size).tolist()
    x1, y1 = (contours[0].max(0) * size).tolist()
    x0, y0, x1, y1 = (min(max(int(side), 0), size) for side in (x0 - 1, y0 - 1, x1 + 2, y1 + 2))
    return slice(y0, y1), slice(x0, x1)


def _pattern(scene: Scene, patch: Patch, window: Window, rng: np.random.Generator) -> np.ndarray:
    """Return the mask of the second colour of a two-tone texture, (h, w) bool."""
    fill = patch.fill
    y, x = (axis[window] for axis in _grid(scene.img_size))
    cos, sin = np.float32(np.cos(fill.angle) / fill.period), np.float32(np.sin(fill.angle) / fill.period)
    u = x * cos + y * sin
    if fill.texture == 'stripes':
        return u % 1 < 0.45
    if fill.texture == 'speckles':
        cells = max(2, int(1.5 / fill.period))
        speckles = (rng.random((cells, cells)) < 0.4).astype(np.uint8)
        return cv2.resize(speckles, y.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    v = y * cos - x * sin
    if fill.texture == 'dots':
        return (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.1
    return (u % 1 < 0.5) ^ (v % 1 < 0.5)


def _outline_mask(scene: Scene, points: list[np.ndarray], window: Window) -> np.ndarray:
    mask = np.zeros((scene.img_size, scene.img_size), np.uint8)
    cv2.fillPoly(mask, points, 255, cv2.LINE_8, SUBPIXEL_BITS)
    return mask[window].astype(bool)


def _draw_patch(canvas: np.ndarray, scene: Scene, patch: Patch, rng: np.random.Generator) -> None:
    """Fill an outline with its texture, in place."""
    points = scene.pixels(patch.contours)
    cv2.fillPoly(canvas, points, patch.fill.colour, cv2.LINE_AA, SUBPIXEL_BITS)
    window = _window(scene, patch.contours)
    view = canvas[window]
    if patch.fill.texture == 'plain' or not view.size:
        return
    inside = _outline_mask(scene, points, window)
    if patch.fill.texture == 'gradient':
        y, x = (axis[window] for axis in _grid(scene.img_size))
        ramp = x * np.float32(np.cos(patch.fill.angle)) + y * np.float32(np.sin(patch.fill.angle))
        ramp = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-3)
        first, second = (np.array(c, np.float32) for c in (patch.fill.colour, patch.fill.second))
        np.copyto(
            view, (first + (second - first) * ramp[..., None]).astype(np.uint8), where=inside[..., None]
        )
        return
    inside &= _pattern(scene, patch, window, rng)
    view[inside] = patch.fill.second


def _draw_outline(canvas: np.ndarray, points: list[np.ndarray], colour: Colour, thickness: int) -> None:
    cv2.polylines(canvas, points, True, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def _thickness(scene: Scene, relative: float) -> int:
    return max(1, round(relative * scene.img_size))


def _ground(scene: Scene, noise: float) -> np.ndarray:
    """Return a smooth blend of the two ground colours with soft blotches, (S, S, 3) uint8."""
    first, second = (np.array(c, np.float32) for c in scene.ground)
    mix = np.linspace(0, 1, 6, dtype=np.float32)[:, None, None]
    coarse = first + (second - first) * mix + noise * scene.ground_noise
    coarse = np.clip(coarse, 0, 255).astype(np.uint8)
    return cv2.resize(coarse, (scene.img_size, scene.img_size), interpolation=cv2.INTER_LINEAR)


def _draw_background(canvas: np.ndarray, scene: Scene, rng: np.random.Generator) -> None:
    for patch in scene.patches:
        _draw_patch(canvas, scene, patch, rng)
    for points, colour, width in scene.lines:
        pixels = scene.pixels([points])
        cv2.polylines(canvas, pixels, False, colour, _thickness(scene, width), cv2.LINE_AA, SUBPIXEL_BITS)


def paint_photo(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Paint soft light from one side, cast shadows, blur and sensor noise, (S, S, 3) uint8 BGR."""
    size = scene.img_size
    canvas = _ground(scene, 30)
    _draw_background(canvas, scene, rng)
    light_angle = rng.uniform(0, 2 * np.pi)
    light = np.array([np.cos(light_angle), np.sin(light_angle)], np.float32)

    shadow: np.ndarray = np.zeros((size, size), np.uint8)
    for shape in scene.objects:
        offset = -0.055 * light * (0.6 + shape.diameter)
        cv2.fillPoly(
            shadow, scene.pixels([c + offset for c in shape.contours]), 120, cv2.LINE_8, SUBPIXEL_BITS
        )
    sigma = 0.018 * size
    shadow = cv2.GaussianBlur(shadow, (0, 0), sigma)
    canvas = cv2.GaussianBlur(canvas, (0, 0), sigma * rng.uniform(0.3, 0.8))
    for shape in scene.objects:
        _draw_patch(canvas, scene, shape, rng)

    y, x = _grid(size)
    shade = 0.5 + 0.5 * (light[0] * (2 * x - 1) + light[1] * (2 * y - 1))
    shade = rng.uniform(0.75, 0.95) + np.float32(rng.uniform(0.2, 0.4)) * shade
    for number, shape in enumerate(scene.objects, start=1):
        # Objects look rounded: lighter towards the light, darker away from it.
        window = _window(scene, shape.contours)
        visible = scene.ids[window] == number
        towards = light[0] * (x[window] - shape.centre[0]) + light[1] * (y[window] - shape.centre[1])
        shade[window][visible] *= (1 + (0.55 / shape.diameter) * towards)[visible].astype(np.float32)
    shade[scene.ids == 0] *= 1 - shadow[scene.ids == 0].astype(np.float32) / 255
    grain = _random_bytes(rng, size, 3).astype(np.float32) - 127.5
    image = canvas * shade[..., None] + grain * np.float32(rng.uniform(0.06, 0.16))
    image = np.clip(image, 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(image, (3, 3), rng.uniform(0.35, 0.6))


def paint_painting(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Paint brush strokes that smear colours, few tones and canvas grain, (S, S, 3) uint8 BGR."""
    size = scene.img_size
    canvas = _ground(scene, 55)
    _draw_background(canvas, scene, rng)
    for shape in scene.objects:
        _draw_patch(canvas, scene, shape, rng)
    canvas = cv2.medianBlur(canvas, 3)

    # Noise smeared along one direction displaces the colours and streaks them.
    kernel = np.zeros((7, 7), np.float32)
    angle = rng.uniform(0, np.pi)
    tip = np.rint(3 * np.array([np.cos(angle), np.sin(angle)])).astype(int)
    cv2.line(kernel, (3 - tip).tolist(), (3 + tip).tolist(), 1.0, 1)
    noise = (_random_bytes(rng, 64, 3).astype(np.float32) - 127.5) / 127.5
    strokes = cv2.filter2D(noise, -1, kernel / np.sqrt(kernel.sum()))
    strokes = cv2.resize(strokes, (size, size), interpolation=cv2.INTER_LINEAR)
    y, x = _grid(size)
    pull = np.float32(0.011 * size)
    map_x = x * size - 0.5 + pull * strokes[..., 0]
    map_y = y * size - 0.5 + pull * strokes[..., 1]
    canvas = cv2.remap(canvas, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    step = 26
    tones = canvas + strokes[..., 2:] * 15 + rng.uniform(0, step)
    tones = np.floor(np.clip(tones, 0, 255) / step) * step
    warm = np.array([-10, 2, 12], np.float32) * np.float32(rng.uniform(0.3, 1))
    return np.clip(tones + warm + strokes[..., :1] * 6, 0, 255).astype(np.uint8)


def paint_cartoon(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Paint flat colours inside dark outlines, (S, S, 3) uint8 BGR."""
    size = scene.img_size
    canvas: np.ndarray = np.empty((size, size, 3), np.uint8)
    canvas[:] = scene.ground[0]
    horizon = int(size * rng.uniform(0.3, 0.8))
    canvas[horizon:] = scene.ground[1]
    thin, thick = _thickness(scene, 0.01), _thickness(scene, 0.021)
    for patch in scene.patches:
        _draw_patch(canvas, scene, patch, rng)
        _draw_outline(canvas, scene.pixels(patch.contours), INK, thin)
    for points, colour, width in scene.lines:
        pixels = scene.pixels([points])
        cv2.polylines(canvas, pixels, False, colour, _thickness(scene, width), cv2.LINE_AA, SUBPIXEL_BITS)
    canvas = cv2.addWeighted(canvas, 0.85, canvas, 0, 38)
    for shape in scene.objects:
        _draw_patch(canvas, scene, shape, rng)
        _draw_outline(canvas, scene.pixels(shape.contours), INK, thick)
    return canvas


def paint_sketch(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Paint grey pencil strokes on paper, (S, S, 3) uint8 with three equal channels."""
    size = scene.img_size
    paper = int(rng.uniform(222, 246))
    canvas = np.full((size, size), paper, np.uint8)
    jitter = 0.006
    thin, thick = _thickness(scene, 0.012), _thickness(scene, 0.018)

    def strokes(contours: Sequence[np.ndarray], grey: int, thickness: int, closed: bool = True) -> None:
        for _ in range(2):
            moved = scene.pixels([c + rng.normal(0, jitter, c.shape) for c in contours])
            cv2.polylines(canvas, moved, closed, grey, thickness, cv2.LINE_AA, SUBPIXEL_BITS)

    def hatch(patch: Patch, grey: int) -> None:
        points = scene.pixels(patch.contours)
        cv2.fillPoly(canvas, points, paper, cv2.LINE_8, SUBPIXEL_BITS)
        window = _window(scene, patch.contours)
        if patch.fill.texture in ('plain', 'gradient') or not canvas[window].size:
            return
        inside = _outline_mask(scene, points, window)
        canvas[window][inside & _pattern(scene, patch, window, rng)] = grey

    for patch in scene.patches:
        hatch(patch, int(rng.uniform(185, 215)))
        strokes(patch.contours, int(rng.uniform(120, 190)), thin)
    for points, _, _ in scene.lines:
        strokes([points], int(rng.uniform(110, 190)), thin, closed=False)
    for shape in scene.objects:
        hatch(shape, int(rng.uniform(140, 185)))
        if shape.fill.texture == 'gradient':
            window = _window(scene, shape.contours)
            inside = _outline_mask(scene, scene.pixels(shape.contours), window)
            y, x = (axis[window] for axis in _grid(size))
            ramp = (x - shape.centre[0]) * np.cos(shape.fill.angle) + (y - shape.centre[1]) * np.sin(
                shape.fill.angle
            )
            tone = np.clip(paper - 50 + 140 * ramp / shape.diameter, 0, 255).astype(np.uint8)
            canvas[window][inside] = tone[inside]
        strokes(shape.contours, int(rng.uniform(25, 70)), thick)
    grain = _random_bytes(rng, size, 1)[..., 0].astype(np.int16) - 128
    canvas = np.clip(canvas + grain // 12, 0, 255).astype(np.uint8)
    return np.repeat(canvas[..., None], 3, axis=2)


PAINTERS: dict[str, Callable[[Scene, np.random.Generator], np.ndarray]] = {
    'photo': paint_photo,
    'painting': paint_painting,
    'cartoon': paint_cartoon,
    'sketch': paint_sketch,
}
