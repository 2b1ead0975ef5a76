"""A check that an extractor reads its model as the model reads itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from timm.layers import to_2tuple
from torch import Tensor

from .extractors.base import Extractor
from .extractors.dense import LocationsExtractor
from .extractors.transformer import TransformerExtractor
from .towers import ImageTower, OpenClipViT
from .vlm import VLM

TowerExtractor = TransformerExtractor | LocationsExtractor
"""The extractors that read an `ImageTower`."""


class EmbeddingCheck:
    """A model's own reading of one random image, to be compared with an extractor's.

    An extractor retraces a forward pass that the model's authors wrote. Where it misses a step, such as a
    projection, its maps look plausible and are wrong. These comparisons find such steps:

    - of every extractor: its embedding of the image must equal the model's own.
    - of one that reads an `ImageTower`: locations, brought to the joint space, must be what the tower's own
      pool and head make of each alone.
    - of 'dense', where the embedding averages the locations: the mean of a map must be the image's cosine.
    - of open_clip's own ViT: the maps must stay as they are when the tower is written down otherwise
      (`rewritten`). They change where they leave out `ln_post` or `proj`, in whatever method.

    Not covered: how an extractor changes a block for the patches, which has no counterpart in the model, maps
    that go past the extractor's `project` where the tower is none of open_clip's own ViTs, and the attention
    that 'coca' and 'blip' read.

    The image comes from a generator of its own, so that the check changes no random state and always sees
    the same image.

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
        # A dual encoder of one's own need not have any.
        parameter = next(vlm.parameters(), torch.zeros(()))
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

    @torch.no_grad()
    def location_distance(self, extractor: TowerExtractor, texts: Tensor) -> float:
        """How far an extractor's locations are from the joint space.

        Args:
            extractor: of the model; each call reads the tower's own weights.
            texts: (C, E), unit embeddings of concepts.

        Returns:
            The largest one of the distances that the class lists, the embedding's left out.
        """
        with torch.autocast(self.image.device.type, enabled=False):
            tower: ImageTower = extractor.tower
            sample = tower.locations(self.image)[0][0, :8]
            if isinstance(extractor, TransformerExtractor):
                projected = extractor.project(sample).float()
            else:
                projected = F.normalize(tower.project(sample).float(), dim=-1)
            alone = F.normalize(tower.alone(sample).float(), dim=-1)
            if projected.shape != alone.shape:
                return float('inf')
            distances = [(projected - alone).norm(dim=-1).max()]
            maps, pooled = (result.float() for result in extractor(self.image, texts[:1]))
            if tower.averages and isinstance(extractor, LocationsExtractor):
                distances.append((maps.mean() - pooled @ texts[0].to(pooled)).abs().max())
            if isinstance(tower, OpenClipViT):
                with rewritten(tower.visual, texts[:1]) as same_texts:
                    same_maps = extractor(self.image, same_texts)[0].float()
                distances.append((maps - same_maps).abs().max())
        return torch.stack(distances).max().item()

    def __call__(self, extractor: Extractor, texts: Tensor, model: str) -> None:
        """Check an extractor.

        Args:
            extractor: of the model.
            texts: (C, E), unit embeddings of concepts.
            model: the model's name, for the message.

        Raises:
            ValueError: if its embedding, or its locations, are farther away from the model's own than
                `tolerance`.
        """
        misreads = f'{type(extractor).__name__} misreads the model {model}: its'
        distance = self.distance(extractor, texts)
        self._refuse_beyond_rounding(distance, f'{misreads} embedding of a random image is')
        if isinstance(extractor, (TransformerExtractor, LocationsExtractor)):
            distance = self.location_distance(extractor, texts)
            self._refuse_beyond_rounding(
                distance, f'{misreads} locations miss a step of the pool or the head, or scale it. They are'
            )

    def _refuse_beyond_rounding(self, distance: float, found: str) -> None:
        # A distance that is not a number is an error too.
        if not distance <= self.tolerance:
            raise ValueError(
                f"{found} {distance:.3g} away from the model's own, where at most {self.tolerance:g} is "
                'rounding. Use another extractor; `lfi eval-teacher CONFIG --extractors all` tries them'
            )


@contextmanager
def rewritten(visual: VisionTransformer, texts: Tensor) -> Iterator[Tensor]:
    """Write a plain ViT down otherwise, inside the context, so that it says the same.

    The channels of `ln_post` are scaled and `proj` divides by it, and the joint space is reflected. All
    factors are 1 or 2 and a sign, which floating point multiplies without rounding.

    Args:
        visual: the tower.
        texts: (C, E), embeddings.

    Yields:
        The texts (C, E) in the reflected space, whose cosines with images are what they were.
    """
    weight, bias, proj = visual.ln_post.weight, visual.ln_post.bias, visual.proj
    own = [(tensor, tensor.detach().clone()) for tensor in (weight, bias, proj)]
    generator = torch.Generator().manual_seed(0)
    width, embed_dims = proj.shape
    scale = 2.0 ** torch.randint(2, (width,), generator=generator)
    sign = 2.0 * torch.randint(2, (embed_dims,), generator=generator) - 1
    scale, sign = scale.to(proj), sign.to(proj)
    try:
        with torch.no_grad():
            for tensor, factor in ((weight, scale), (bias, scale), (proj, sign / scale[:, None])):
                tensor.mul_(factor)
        yield texts * sign
    finally:
        with torch.no_grad():
            for tensor, value in own:
                tensor.copy_(value)
