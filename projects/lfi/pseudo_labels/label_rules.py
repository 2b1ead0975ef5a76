"""Which concepts are labelled, and what becomes an object."""

from dataclasses import dataclass


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
