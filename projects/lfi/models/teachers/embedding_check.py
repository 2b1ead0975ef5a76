"""A check that an extractor reads its model as the model reads itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import to_2tuple
from torch import Tensor

from .extractors.base import Extractor
from .vlm import VLM


class EmbeddingCheck:
    """A model's own embedding of one random image, to be compared with an extractor's.

    An extractor retraces a forward pass that the model's authors wrote. Where it misses a step, such as a
    projection, its maps look plausible and are wrong, but what it pools them to differs too. The image comes
    from a generator of its own, so that the check changes no random state and always sees the same image.

    Args:
        vlm: a model with `visual.preprocess_cfg` and `encode_image`, in eval mode, before anything is
            changed for speed.

    Attributes:
        image: (1, 3, H, W) of standard normal numbers, of the model's own input size.
        tolerance: the largest distance that rounding explains: 1e-4 in float32, 8 machine epsilons in half
            precision, where a forward pass of many blocks rounds more.
    """

    @torch.no_grad()
    def __init__(self, vlm: VLM) -> None:
        parameter = next(vlm.parameters())
        size = to_2tuple(vlm.visual.preprocess_cfg['size'])
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
        self.image = image.to(parameter)
        self.tolerance = max(1e-4, 8 * torch.finfo(parameter.dtype).eps)
        with torch.autocast(self.image.device.type, enabled=False):
            self.expected = F.normalize(vlm.encode_image(self.image).float(), dim=-1)

    @torch.no_grad()
    def distance(self, extractor: Extractor, texts: Tensor) -> float:
        """Euclidean distance of the extractor's embedding from the model's, both (1, E) of unit length.

        Args:
            extractor: of the model.
            texts: (C, E), unit embeddings of concepts.

        Returns:
            From 0 to 2 for an embedding of unit length; infinite for one of another width.
        """
        with torch.autocast(self.image.device.type, enabled=False):
            pooled = extractor.pooled(self.image, texts).float()
        if pooled.shape != self.expected.shape:
            return float('inf')
        return (pooled - self.expected).norm().item()

    def __call__(self, extractor: Extractor, texts: Tensor, model: str) -> None:
        """Check an extractor.

        Args:
            extractor: of the model.
            texts: (C, E), unit embeddings of concepts.
            model: the model's name, for the message.

        Raises:
            ValueError: if its embedding is farther away from the model's own than `tolerance`.
        """
        distance = self.distance(extractor, texts)
        # A distance that is no number is an error too.
        if not distance <= self.tolerance:
            raise ValueError(
                f'{type(extractor).__name__} misreads the model {model}: its embedding of a random image is '
                f"{distance:.3g} away from the model's own, where at most {self.tolerance:g} is rounding. "
                'Use another extractor; `tools/eval_teacher.py CONFIG --extractors all` tries them'
            )
