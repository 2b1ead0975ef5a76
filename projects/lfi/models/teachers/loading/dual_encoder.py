"""Custom dual encoders, which embed texts and the locations of images in one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lfi.registry import VLMS, resolve_type


@runtime_checkable
class DualEncoder(Protocol):
    """Interface of a custom dual encoder, such as DINOv2 with text, TIPS or an adaptor of RADIO.

    Implement it as an `nn.Module` that is registered in `lfi.registry.VLMS` and loads its own weights. A
    teacher's `model` is then the module's config.

    Attributes:
        size: height and width of input images in pixels, or one number for both.
        mean: mean of the RGB pixels in [0, 1], three numbers.
        std: standard deviation of the RGB pixels in [0, 1], three numbers.
        scale: factor of cosines, above 0; the inverse of the temperature.
        bias: optional summand of scaled cosines. With it, presence is a sigmoid for each concept; without it,
            a softmax over the bank.
        text_dims: E, an optional attribute of the class, in place of `readout.text_dims`.
    """

    size: int | Sequence[int]
    mean: Sequence[float]
    std: Sequence[float]
    scale: float

    def encode_text(self, texts: list[str]) -> Tensor:
        """Embed n texts as (n, E), of any length."""

    def encode_image(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W), normalised by `mean` and `std`, as (B, E), of any length."""

    def encode_locations(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed images and their locations in one pass.

        Args:
            images: (B, 3, H, W), normalised by `mean` and `std`.

        Returns:
            Features of locations in the joint space (B, E, h, w), of any length, and the embeddings of
            `encode_image`.
        """


class Texts(list[str]):
    """Texts in place of token ids, for a model that tokenizes texts itself."""

    def to(self, device: torch.device | str) -> Texts:
        """Return the texts unchanged: strings have no device."""
        return self


class DualEncoderVisual(nn.Module):
    """Image side of a dual encoder, with open_clip's names.

    Args:
        model: dual encoder.
    """

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model: Any = model
        self.preprocess_cfg = dict(size=model.size, mean=model.mean, std=model.std)


class DualEncoderVLM(nn.Module):
    """A dual encoder with the interface of `VLM`.

    Args:
        model: dual encoder, in eval mode.
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
        """Embed images (B, 3, H, W) as (B, E)."""
        return self.model.encode_image(images)

    def encode_text(self, ids: Texts) -> Tensor:
        """Embed n texts, in place of token ids, as (n, E)."""
        return self.model.encode_text(list(ids))


def load_dual_encoder(config: Mapping[str, Any]) -> tuple[DualEncoderVLM, type[Texts]]:
    """Build a dual encoder.

    Args:
        config: config of a class in `lfi.registry.VLMS`.

    Returns:
        The model in eval mode, frozen, and `Texts` in place of a tokenizer.

    Raises:
        ValueError: if the class is unknown, its scale is not above 0, or it lacks members of `DualEncoder`.
    """
    arguments = {key: value for key, value in config.items() if key != 'type'}
    model = resolve_type(dict(config), VLMS, 'model')(**arguments)
    members = [*DualEncoder.__annotations__, 'encode_text', 'encode_image', 'encode_locations']
    missing = [name for name in members if not hasattr(model, name)]
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


def portable_config(config: Any) -> tuple[Any, list[Path]]:
    """Convert a dual encoder's config to plain data, with names instead of paths.

    Args:
        config: config of the dual encoder, or a value in it.

    Returns:
        The config, and all files that it names, such as weights. A folder stands for all files in it.
    """
    if isinstance(config, Mapping):
        entries = {key: portable_config(value) for key, value in config.items()}
        paths = [path for _, files in entries.values() for path in files]
        return {key: value for key, (value, _) in entries.items()}, paths
    if isinstance(config, list | tuple):
        items = [portable_config(value) for value in config]
        return [value for value, _ in items], [path for _, files in items for path in files]
    if isinstance(config, type):
        return config.__name__, []
    if not isinstance(config, str | Path):
        return config, []
    path = Path(config)
    if path.is_file():
        return path.name, [path]
    if path.is_dir() and config:
        return path.name, sorted(file for file in path.rglob('*') if file.is_file())
    # A missing file is replaced by its name, too.
    return path.name if isinstance(config, Path) or path.is_absolute() else config, []
