"""A dual encoder of one's own: anything that embeds texts and the locations of images in one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lfi.registry import VLMS, type_of


@runtime_checkable
class DualEncoder(Protocol):
    """What a teacher needs of a model that is none of open_clip: DINOv2 with text, TIPS, an adaptor of RADIO.

    It is an `nn.Module`, registered in `lfi.registry.VLMS`, whose config is a teacher's `model`. Its class
    loads its weights.

    Attributes:
        size: height and width in pixels of its images, or one number for both.
        mean: of the RGB pixels in [0, 1], three numbers.
        std: likewise.
        scale: what cosines are multiplied with, a number above 0; the inverse of the temperature.
        bias: what is added to them where presence is a sigmoid, concept by concept. May be left out: presence
            is then a softmax over the bank.
        text_dims: E, of the class: spares `readout.text_dims`. May be left out.
    """

    size: int | Sequence[int]
    mean: Sequence[float]
    std: Sequence[float]
    scale: float

    def encode_text(self, texts: list[str]) -> Tensor:
        """From n texts to their embeddings (n, E), of any length."""

    def encode_image(self, images: Tensor) -> Tensor:
        """From images (B, 3, H, W), normalised by `mean` and `std`, to embeddings (B, E) of any length."""

    def encode_locations(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read images in one pass.

        Args:
            images: (B, 3, H, W), as of `encode_image`.

        Returns:
            The features of locations in the joint space (B, E, h, w) of any length, and what `encode_image`
            gives.
        """


class Texts(list[str]):
    """Texts where a tokenizer would give ids: the model tokenizes them itself."""

    def to(self, device: torch.device | str) -> Texts:
        """Texts are on every device."""
        return self


class DualEncoderVisual(nn.Module):
    """The image side, under open_clip's names.

    Args:
        model: the dual encoder.
    """

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model: Any = model
        self.preprocess_cfg = dict(size=model.size, mean=model.mean, std=model.std)


class DualEncoderVLM(nn.Module):
    """A dual encoder as a `VLM`.

    Args:
        model: the dual encoder, in eval mode.
    """

    logit_scale: Tensor

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model: Any = model
        self.visual = DualEncoderVisual(model)
        self.register_buffer('logit_scale', torch.tensor(float(model.scale)).log())
        bias = getattr(model, 'bias', None)
        self.register_buffer('logit_bias', None if bias is None else torch.tensor(float(bias)))

    def encode_image(self, images: Tensor) -> Tensor:
        """From images (B, 3, H, W) to embeddings (B, E)."""
        return self.model.encode_image(images)

    def encode_text(self, ids: Texts) -> Tensor:
        """From n texts, which stand in the place of ids, to embeddings (n, E)."""
        return self.model.encode_text(list(ids))


def load_dual_encoder(config: Mapping[str, Any]) -> tuple[DualEncoderVLM, type[Texts]]:
    """Build a dual encoder.

    Args:
        config: of a class in `lfi.registry.VLMS`.

    Returns:
        The model in eval mode, frozen, and what stands in a tokenizer's place.

    Raises:
        ValueError: if the class is unknown, or lacks a part of a `DualEncoder`; the message lists what.
    """
    arguments = {key: value for key, value in config.items() if key != 'type'}
    model = type_of(dict(config), VLMS, 'model')(**arguments)
    parts = [*DualEncoder.__annotations__, 'encode_text', 'encode_image', 'encode_locations']
    missing = [name for name in parts if not hasattr(model, name)]
    if not isinstance(model, nn.Module):
        missing.insert(0, 'nn.Module as its base')
    if missing:
        raise ValueError(
            f'model={dict(config)!r}: {type(model).__name__} is not a dual encoder; it lacks '
            f'{", ".join(missing)}'
        )
    if not model.scale > 0:
        raise ValueError(f'model={dict(config)!r}: scale={model.scale} must be above 0')
    return DualEncoderVLM(model.eval().requires_grad_(False)), Texts


def named_by_content(config: Any) -> tuple[Any, list[Path]]:
    """A dual encoder's config as plain data, in which files and folders have their names alone.

    Args:
        config: or a part of it.

    Returns:
        The config, and the files that it names, those in its folders included: weights, a vocabulary.
    """
    if isinstance(config, Mapping):
        parts = {key: named_by_content(value) for key, value in config.items()}
        return {key: named for key, (named, _) in parts.items()}, [
            f for _, own in parts.values() for f in own
        ]
    if isinstance(config, list | tuple):
        items = [named_by_content(value) for value in config]
        return [named for named, _ in items], [file for _, own in items for file in own]
    if isinstance(config, type):
        return config.__name__, []
    if not isinstance(config, str | Path):
        return config, []
    path = Path(config)
    if path.is_file():
        return path.name, [path]
    if path.is_dir() and config:
        return path.name, sorted(file for file in path.rglob('*') if file.is_file())
    # Where a file is not at hand its name stands for it all the same.
    return path.name if isinstance(config, Path) or path.is_absolute() else config, []
