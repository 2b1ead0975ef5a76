"""When a concept is labelled and what becomes an object, and the arguments that the tools of labels share."""

from argparse import ArgumentParser
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class LabelRules:
    """When a concept is taken for present, and what of its map becomes an object.

    Args:
        presence_threshold: The least presence of a concept that is labelled.
        mask_threshold: The least strength of its map, brought to [0, 1] over the image, inside its mask.
            Defaults to 0.3.
        min_area: The least share of the image that an object covers. Defaults to 0.005.
        max_per_image: How many objects an image has at most, those of the highest scores. Defaults to 100,
            as many as COCO's metric counts.

    Raises:
        ValueError: If a value is out of range; the message names it.
    """

    presence_threshold: float
    mask_threshold: float = 0.3
    min_area: float = 0.005
    max_per_image: int = 100

    def __post_init__(self) -> None:
        for name in ('presence_threshold', 'mask_threshold', 'min_area'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}={getattr(self, name)} must lie in [0, 1]')
        if self.max_per_image < 1:
            raise ValueError(f'max_per_image={self.max_per_image} must be at least 1')


def add_reader_arguments(parser: ArgumentParser) -> None:
    """Add who is asked about what."""
    parser.add_argument(
        '--checkpoint',
        metavar='FILE',
        help="ask the student of this checkpoint (default: the config's teacher)",
    )
    parser.add_argument('--texts', nargs='+', metavar='TEXT', help="other concepts than the config's")
    parser.add_argument('--batch-size', type=int, default=16, help='images at once (%(default)s)')
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU if there is one)')


def add_rule_arguments(parser: ArgumentParser) -> None:
    """Add the fields of `LabelRules`."""
    defaults = {field.name: field.default for field in fields(LabelRules)}
    parser.add_argument(
        '--presence-threshold',
        type=float,
        metavar='P',
        help='the least presence of a concept that is labelled (default: by the kind of presence, printed)',
    )
    parser.add_argument(
        '--mask-threshold',
        type=float,
        metavar='T',
        help='the least value inside a mask, of a map brought to [0, 1] (default: 0.3, of a student 0.2)',
    )
    parser.add_argument(
        '--min-area',
        type=float,
        default=defaults['min_area'],
        metavar='SHARE',
        help='the least share of its image that an object covers (%(default)s)',
    )
    parser.add_argument(
        '--max-per-image',
        type=int,
        default=defaults['max_per_image'],
        metavar='N',
        help='objects of an image at most (%(default)s)',
    )
