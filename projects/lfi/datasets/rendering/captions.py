"""English captions of a scene."""

from .scene import CLASS_NAMES, TEXTURES, Scene, ShapeObject


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
    """The main object, how the first other object lies to it, the rest, and the domain.

    For example `a striped red star left of a small blue ring and a green heart, painting`. A sketch has no
    colours, so its caption names none.
    """
    main = scene.objects[scene.main]
    others = [shape for k, shape in enumerate(scene.objects) if k != scene.main]
    colours = domain != 'sketch'
    text = _phrase(main, True, colours)
    if others:
        text += f' {_relation(main, others[0])} '
        text += ' and '.join(_phrase(shape, False, colours) for shape in others)
    return f'{text}, {domain}'
