"""Scenes of `Shapes` before painting, and their English captions."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from .outlines import OUTLINES

# BGR, from 0 to 255.
Colour = tuple[int, int, int]

CLASS_NAMES = list(OUTLINES)
# name: (hue, saturation, value)
COLOURS = {
    'red': (0.0, 0.8, 0.92),
    'orange': (0.075, 0.85, 0.97),
    'yellow': (0.15, 0.8, 0.97),
    'green': (0.34, 0.7, 0.78),
    'teal': (0.49, 0.7, 0.8),
    'blue': (0.59, 0.65, 0.95),
    'purple': (0.77, 0.5, 0.88),
    'pink': (0.92, 0.4, 0.98),
    'white': (0.1, 0.06, 0.98),
}
# texture: its adjective in a caption
TEXTURES = {
    'plain': '',
    'stripes': 'striped',
    'dots': 'dotted',
    'checks': 'checkered',
    'gradient': 'shaded',
    'speckles': 'speckled',
}
COLOUR_NAMES, TEXTURE_NAMES = list(COLOURS), list(TEXTURES)
# cv2 takes coordinates in units of 1 / 16 pixel.
SUBPIXEL_BITS = 4
# A distractor with a smaller visible part is removed, so that all annotated objects are visible.
MIN_VISIBLE_FRACTION, MIN_VISIBLE_PIXELS = 0.4, 12
# Largest rotation in radians. A larger one would turn a square into a diamond.
MAX_TURN = 0.3
# Smallest ratio of the main object's visible area to the visible area of any distractor.
MAIN_AREA_RATIO = 1.4


@dataclass
class Fill:
    """A texture in two colours, BGR in 0..255. `period` is relative to the image side."""

    texture: str
    colour: Colour
    second: Colour
    period: float
    angle: float


@dataclass
class Patch:
    """A filled outline in image coordinates from 0 to 1. A second contour is a hole."""

    contours: list[np.ndarray]
    fill: Fill


@dataclass
class ShapeObject(Patch):
    """An object with its class and colour name, and its centre and diameter in the image, from 0 to 1."""

    label: int
    colour_name: str
    centre: np.ndarray
    diameter: float

    def area(self, img_size: int) -> float:
        """Return the area in square pixels, occluded parts included."""
        outer, *holes = (cv2.contourArea(c.astype(np.float32)) for c in self.contours)
        return (outer - sum(holes)) * img_size**2


@dataclass
class Scene:
    """Background and objects. Objects are drawn in list order, the last one in front.

    `main` is the index in `objects` of the object that gives the image its class.
    """

    img_size: int
    ground: tuple[Colour, Colour]
    ground_noise: np.ndarray
    patches: list[Patch]
    lines: list[tuple[np.ndarray, Colour, float]]
    objects: list[ShapeObject]
    main: int
    # (H, W) uint8: 0 is background, k + 1 is objects[k].
    ids: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))

    def pixels(self, contours: list[np.ndarray]) -> list[np.ndarray]:
        """Convert contours to cv2's fixed-point pixel coordinates."""
        scale = self.img_size * (1 << SUBPIXEL_BITS)
        return [np.rint(points * scale).astype(np.int32) for points in contours]

    def draw_ids(self) -> None:
        """Draw `ids`, also after `objects` has changed."""
        self.ids = np.zeros((self.img_size, self.img_size), np.uint8)
        for number, shape in enumerate(self.objects, start=1):
            cv2.fillPoly(self.ids, self.pixels(shape.contours), number, cv2.LINE_8, SUBPIXEL_BITS)


def _bgr(hsv: tuple[float, float, float]) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hsv[0] % 1.0, min(max(hsv[1], 0), 1), min(max(hsv[2], 0), 1))
    return round(255 * blue), round(255 * green), round(255 * red)


def _muted_colour(rng: np.random.Generator) -> Colour:
    return _bgr((rng.random(), rng.uniform(0.1, 0.5), rng.uniform(0.25, 0.5)))


def _distance(a: Colour, b: Colour) -> int:
    return sum(abs(x - y) for x, y in zip(a, b))


def _named_colour(rng: np.random.Generator, background: Colour) -> tuple[str, Colour]:
    """Draw a palette colour, up to four times until it stands out from `background`."""
    for _ in range(4):
        name = COLOUR_NAMES[int(rng.random() * len(COLOUR_NAMES))]
        h, s, v = COLOURS[name]
        colour = _bgr((h + rng.uniform(-0.02, 0.02), s * rng.uniform(0.8, 1.15), v * rng.uniform(0.85, 1.1)))
        if _distance(colour, background) > 150:
            break
    return name, colour


def _darker(rng: np.random.Generator, colour: Colour) -> Colour:
    """Draw a clearly darker colour of the same hue."""
    strength = rng.uniform(0.6, 0.82)
    blue, green, red = (round(c * strength) for c in colour)
    return blue, green, red


def _fill(rng: np.random.Generator, colour: Colour, period: float) -> Fill:
    plain = rng.random() < 0.4
    texture = 'plain' if plain else TEXTURE_NAMES[int(rng.random() * len(TEXTURE_NAMES))]
    return Fill(texture, colour, _darker(rng, colour), period, rng.uniform(0, np.pi))


def _place(
    contours: Sequence[np.ndarray], centre: np.ndarray, diameter: float, aspect: float, angle: float
) -> list[np.ndarray]:
    cos, sin = np.cos(angle), np.sin(angle)
    stretch = np.array([[aspect, 0.0], [0.0, 1 / aspect]])
    matrix = 0.5 * diameter * (np.array([[cos, -sin], [sin, cos]]) @ stretch)
    return [points @ matrix.T + centre for points in contours]


def _blob(rng: np.random.Generator) -> np.ndarray:
    """Draw an irregular closed curve, rounded or jagged, that belongs to no class."""
    n = 24 if rng.random() < 0.6 else 7
    angle = 2 * np.pi * np.arange(n) / n
    if n == 7:
        radius = rng.uniform(0.35, 1.3, n)
        angle = angle + rng.uniform(-0.3, 0.3, n)
    else:
        k = np.array([[1], [2], [3], [5]])
        wave = np.cos(k * angle + rng.uniform(0, 2 * np.pi, (4, 1)))
        radius = 1 + (rng.uniform(0.05, 0.3, (4, 1)) * wave).sum(0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _object(
    rng: np.random.Generator, label: int, diameter: float, background: Colour, others: list[ShapeObject]
) -> ShapeObject:
    # The first object is the main one and stays near the middle.
    margin = 0.5 * diameter if others else 0.4
    for _ in range(6):
        centre = rng.uniform(margin, 1 - margin, 2)
        # Allow partial occlusion, but no object on top of another.
        if all(np.hypot(*(centre - o.centre)) > 0.36 * (diameter + o.diameter) for o in others):
            break
    contours = OUTLINES[CLASS_NAMES[label]]
    aspect = np.exp(rng.uniform(-0.12, 0.12))
    angle = rng.uniform(-MAX_TURN, MAX_TURN)
    name, colour = _named_colour(rng, background)
    return ShapeObject(
        contours=_place(contours, centre, diameter, aspect, angle),
        fill=_fill(rng, colour, rng.uniform(0.085, 0.13) * (0.5 + diameter)),
        label=label,
        colour_name=name,
        centre=centre,
        diameter=diameter,
    )


def _drop_distractors(scene: Scene) -> None:
    """Remove distractors that are hidden or as large as the main object, without random draws."""
    while True:
        scene.draw_ids()
        visible = np.bincount(scene.ids.ravel(), minlength=len(scene.objects) + 1)[1:]
        competitors = []
        for k, shape in enumerate(scene.objects):
            hidden = visible[k] < max(MIN_VISIBLE_FRACTION * shape.area(scene.img_size), MIN_VISIBLE_PIXELS)
            if k != scene.main and (hidden or visible[k] * MAIN_AREA_RATIO > visible[scene.main]):
                competitors.append(k)
        if not competitors:
            return
        worst = competitors[-1]
        del scene.objects[worst]
        scene.main -= worst < scene.main


def sample_scene(rng: np.random.Generator, label: int, img_size: int) -> Scene:
    """Draw a scene whose main object is of class `label`.

    Args:
        rng: Random generator of all draws.
        label: Class of the main object, an index into `CLASS_NAMES`.
        img_size: Side of the image in pixels.

    Returns:
        The scene, with `ids` drawn and all objects visible.
    """
    ground = (_muted_colour(rng), _muted_colour(rng))
    blue, green, red = ((a + b) // 2 for a, b in zip(*ground))
    mean = blue, green, red
    patches = []
    for _ in range(int(rng.integers(1, 5))):
        contour = _place([_blob(rng)], rng.random(2), rng.uniform(0.1, 0.45), 1.0, rng.uniform(0, np.pi))
        colour = _muted_colour(rng) if rng.random() < 0.85 else _named_colour(rng, mean)[1]
        patches.append(Patch(contour, _fill(rng, colour, rng.uniform(0.06, 0.16))))
    lines = []
    for _ in range(int(rng.integers(0, 3))):
        steps = rng.normal(0, 0.16, (int(rng.integers(2, 6)), 2))
        colour = _muted_colour(rng) if rng.random() < 0.75 else _named_colour(rng, mean)[1]
        lines.append((rng.random(2) + np.cumsum(steps, axis=0), colour, rng.uniform(0.012, 0.035)))

    main = _object(rng, label, rng.uniform(0.58, 0.8), mean, [])
    objects = [main]
    for _ in range(int(4 * rng.random() ** 1.5)):
        diameter = main.diameter * rng.uniform(0.35, 0.55)
        objects.append(_object(rng, int(rng.integers(len(CLASS_NAMES))), diameter, mean, objects))
    front = int(rng.integers(len(objects)))
    objects[0], objects[front] = objects[front], objects[0]
    # Blotches vary brightness more than hue.
    noise = rng.uniform(-1, 1, (6, 6, 1)) + 0.45 * rng.uniform(-1, 1, (6, 6, 3))
    scene = Scene(img_size, ground, noise, patches, lines, objects, front)
    _drop_distractors(scene)
    return scene


def _with_article(words: str) -> str:
    return f'{"an" if words[0] in "aeiou" else "a"} {words}'


def _phrase(shape: ShapeObject, is_main: bool, with_colour: bool) -> str:
    size = 'large' if is_main and shape.diameter > 0.4 else 'small' if shape.diameter < 0.22 else ''
    colour = shape.colour_name if with_colour else ''
    words = [size, TEXTURES[shape.fill.texture], colour, CLASS_NAMES[shape.label]]
    return _with_article(' '.join(word for word in words if word))


def _relation(a: ShapeObject, b: ShapeObject) -> str:
    dx, dy = b.centre - a.centre
    if abs(dx) > abs(dy):
        return 'left of' if dx > 0 else 'right of'
    return 'above' if dy > 0 else 'below'


def caption(scene: Scene, domain: str) -> str:
    """Describe the main object, its relation to the first other object, the others and the domain.

    For example `a striped red star left of a small blue ring and a green heart, painting`. The caption of a
    sketch names no colours.
    """
    main = scene.objects[scene.main]
    others = [shape for k, shape in enumerate(scene.objects) if k != scene.main]
    colours = domain != 'sketch'
    text = _phrase(main, True, colours)
    if others:
        text += f' {_relation(main, others[0])} '
        text += ' and '.join(_phrase(shape, False, colours) for shape in others)
    return f'{text}, {domain}'
