"""Thresholds of pseudo-labels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LabelRules:
    """Thresholds that turn presence and maps into labels.

    Args:
        presence_threshold: lowest presence of a labelled concept, in [0, 1].
        mask_threshold: lowest strength of a map inside the mask, after scaling the map to [0, 1] over the
            image. Defaults to 0.3.
        min_area: smallest share of the image that an object covers, in [0, 1]. Defaults to 0.005.
        max_per_image: largest number of objects in an image; the highest scores are kept. Defaults to 100,
            the number that COCO's metric counts.
        min_score: lowest score of a written object, in [0, 1]. It is applied when labels are written, so
            that another value needs no new answers. Defaults to 0: all are written.

    Raises:
        ValueError: if a value is out of range.
    """

    presence_threshold: float
    mask_threshold: float = 0.3
    min_area: float = 0.005
    max_per_image: int = 100
    min_score: float = 0.0

    def __post_init__(self) -> None:
        for name in ('presence_threshold', 'mask_threshold', 'min_area', 'min_score'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}={getattr(self, name)} must lie in [0, 1]')
        if self.max_per_image < 1:
            raise ValueError(f'max_per_image={self.max_per_image} must be at least 1')

    @property
    def of_answers(self) -> dict:
        """Rules that turn answers into the labels of the log: all but `min_score`."""
        return {name: value for name, value in vars(self).items() if name != 'min_score'}
