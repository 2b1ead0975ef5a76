"""A check of an extractor against its model's own forward pass."""

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
"""Extractors that read an `ImageTower`."""


class EmbeddingCheck:
    """A comparison of an extractor with its model on one random image.

    An extractor repeats a forward pass that the model's authors wrote. If it misses a step, such as a
    projection, its maps look plausible and are wrong. These comparisons find missing steps:

    - every extractor: the embedding of the image must equal the model's own.
    - extractors of an `ImageTower`: a location in the joint space must equal the output of the tower's own
      pool and head for this location alone.
    - 'dense', if the embedding averages the locations: the mean of a map must equal the image's cosine.
    - open_clip's own ViT: the maps must not change under an equivalent reparameterization of the tower
      (`reparameterized`). They change if any method leaves out `ln_post` or `proj`.

    Not covered: an extractor's change of a block for the patches, which has no counterpart in the model; maps
    that bypass the extractor's `project`, unless the tower is open_clip's own ViT; and the attention that
    'coca' and 'blip' read.

    The image comes from a separate generator: the check changes no random state and always uses the same
    image.

    Args:
        vlm: model with `visual.preprocess_cfg` and `encode_image`, in eval mode, before `fold_batch_norms`.

    Attributes:
        image: (1, 3, H, W), standard normal numbers, of the model's own input size.
        tolerance: largest distance that rounding explains: 1e-4 in float32, 8 machine epsilons in half
            precision, where a forward pass of many blocks rounds more.
    """

    @torch.no_grad()
    def __init__(self, vlm: VLM) -> None:
        # A custom dual encoder may have no parameters.
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
            extractor: extractor of the model.
            texts: (C, E), unit embeddings of concepts.

        Returns:
            Distance in [0, 2]; infinite if the widths differ.
        """
        with torch.autocast(self.image.device.type, enabled=False):
            pooled = extractor.pooled(self.image, texts).float()
        if pooled.shape != self.expected.shape:
            return float('inf')
        return (pooled - self.expected).norm().item()

    @torch.no_grad()
    def location_distance(self, extractor: TowerExtractor, texts: Tensor) -> float:
        """Distance of an extractor's locations from the model's joint space.

        Args:
            extractor: extractor of the model. It reads the tower's weights at each call and copies none.
            texts: (C, E), unit embeddings of concepts.

        Returns:
            Largest distance that the class lists, except the embedding's; infinite if the widths differ.
        """
        with torch.autocast(self.image.device.type, enabled=False):
            tower: ImageTower = extractor.tower
            sample = tower.locations(self.image)[0][0, :8]
            if isinstance(extractor, TransformerExtractor):
                projected = extractor.project(sample).float()
            else:
                projected = F.normalize(tower.project(sample).float(), dim=-1)
            expected = F.normalize(tower.pool_each(sample).float(), dim=-1)
            if projected.shape != expected.shape:
                return float('inf')
            distances = [(projected - expected).norm(dim=-1).max()]
            maps, pooled = (result.float() for result in extractor(self.image, texts[:1]))
            if tower.averages and isinstance(extractor, LocationsExtractor):
                distances.append((maps.mean() - pooled @ texts[0].to(pooled)).abs().max())
            if isinstance(tower, OpenClipViT):
                with reparameterized(tower.visual, texts[:1]) as same_texts:
                    same_maps = extractor(self.image, same_texts)[0].float()
                distances.append((maps - same_maps).abs().max())
        return torch.stack(distances).max().item()

    def __call__(self, extractor: Extractor, texts: Tensor, model: str) -> None:
        """Check an extractor.

        Args:
            extractor: extractor of the model.
            texts: (C, E), unit embeddings of concepts.
            model: name of the model, for the message.

        Raises:
            ValueError: if the distance of the embedding or of the locations exceeds `tolerance`.
        """
        misreads = f'{type(extractor).__name__} misreads the model {model}: its'
        distance = self.distance(extractor, texts)
        self._refuse_beyond_rounding(distance, f'{misreads} embedding of a random image is')
        if isinstance(extractor, (TransformerExtractor, LocationsExtractor)):
            distance = self.location_distance(extractor, texts)
            self._refuse_beyond_rounding(
                distance, f'{misreads} locations miss a step of the pool or the head, or scale it. They are'
            )

    def _refuse_beyond_rounding(self, distance: float, subject: str) -> None:
        # Not `>`: NaN is an error too.
        if not distance <= self.tolerance:
            raise ValueError(
                f"{subject} {distance:.3g} away from the model's own, where at most {self.tolerance:g} is "
                'rounding. Use another extractor; `lfi eval-teacher CONFIG --extractors all` tries them'
            )


@contextmanager
def reparameterized(visual: VisionTransformer, texts: Tensor) -> Iterator[Tensor]:
    """Replace the last weights of a plain ViT by equivalent ones inside the context.

    The channels of `ln_post` are scaled, `proj` divides by the scale, and the joint space is reflected. All
    factors are 1 or 2 with a sign, so that multiplication does not round.

    Args:
        visual: image tower.
        texts: (C, E), embeddings.

    Yields:
        Texts (C, E) in the reflected space. Their cosines with images do not change.
    """
    weight, bias, proj = visual.ln_post.weight, visual.ln_post.bias, visual.proj
    originals = [(tensor, tensor.detach().clone()) for tensor in (weight, bias, proj)]
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
            for tensor, value in originals:
                tensor.copy_(value)
