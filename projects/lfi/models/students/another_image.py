"""What negative controls learn from: what the teacher says of another image of the batch."""

from __future__ import annotations

from dataclasses import replace

from lfi.structures import InteractionMaps


class AnotherImagesMapsMixin:
    """Each image learns from the teacher's maps of another image of the batch; put it before the model.

    What the student is measured by afterwards are the image's own maps.
    """

    training: bool

    def _change(self, maps: InteractionMaps) -> InteractionMaps:
        return maps_of_another_image(maps) if self.training else maps


def maps_of_another_image(maps: InteractionMaps) -> InteractionMaps:
    """Each image takes the maps, concepts and presence of the one before it in the batch.

    A location is valid where it is so in both: the student reads no padding of its own image.

    Raises:
        ValueError: if there is one image alone.
    """
    require_others(len(maps.logits))
    return replace(
        maps,
        logits=maps.logits.roll(1, 0),
        presence=maps.presence.roll(1, 0),
        valid=maps.valid & maps.valid.roll(1, 0),
        concepts=None if maps.concepts is None else maps.concepts.roll(1, 0),
    )


def require_others(batch_size: int) -> None:
    """Raise a ValueError if a batch has no other image to take from: the control would be the method."""
    if batch_size < 2:
        raise ValueError(
            'a batch of one image has no other image to take from: set train_dataloader.batch_size to 2 or '
            'more, and train_dataloader.drop_last=True, since the last batch of an epoch may be smaller'
        )
