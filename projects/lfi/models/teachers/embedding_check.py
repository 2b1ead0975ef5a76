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
from .extractors.vit import ViTExtractor
from .vlm import VLM


class EmbeddingCheck:
    """A model's own reading of one random image, to be compared with an extractor's.

    An extractor retraces a forward pass that the model's authors wrote. Where it misses a step, such as a
    projection, its maps look plausible and are wrong. Three comparisons find such steps:

    - of every extractor: its embedding of the image must equal the model's own. This also covers the
      locations of an extractor that pools them to the embedding, as 'dense' does.
    - of a plain ViT's extractor, whose embedding is the class token's and no location's: the class token,
      brought to the joint space as locations are (`ViTExtractor.project`), must equal the model's embedding.
    - of a plain ViT's extractor: its maps must stay as they are when the tower is written down otherwise
      (`rewritten`). They change where they leave out `ln_post` or `proj`, in whatever method.

    Not covered: how a plain ViT's extractor changes its blocks for the patches, which has no counterpart in
    the model, and the attention that 'coca' and 'blip' read.

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

    @torch.no_grad()
    def location_distance(self, extractor: ViTExtractor, texts: Tensor) -> float:
        """How far an extractor's locations are from the joint space, by what they do to known tokens.

        Args:
            extractor: of the model; each call reads the tower's own `ln_post` and `proj`.
            texts: (C, E), unit embeddings of concepts.

        Returns:
            The larger one of two distances: the Euclidean one of the class token, projected as a location,
            from the model's embedding, and the largest one of a map from that of the rewritten tower.
        """
        texts = texts[:1]
        with torch.autocast(self.image.device.type, enabled=False):
            tokens, _ = extractor.embed(self.image)
            for block in extractor.blocks:
                tokens = block(tokens)
            projected = extractor.project(tokens[:, 0]).float()
            if projected.shape != self.expected.shape:
                return float('inf')
            maps = extractor(self.image, texts)[0].float()
            with rewritten(extractor.visual, texts) as same_texts:
                same_maps = extractor(self.image, same_texts)[0].float()
        distances = ((projected - self.expected).norm(), (maps - same_maps).abs().max())
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
        if isinstance(extractor, ViTExtractor):
            distance = self.location_distance(extractor, texts)
            self._refuse_beyond_rounding(
                distance, f'{misreads} locations miss a step of ln_post or proj, or scale it. They are'
            )

    def _refuse_beyond_rounding(self, distance: float, found: str) -> None:
        # A distance that is no number is an error too.
        if not distance <= self.tolerance:
            raise ValueError(
                f"{found} {distance:.3g} away from the model's own, where at most {self.tolerance:g} is "
                'rounding. Use another extractor; `tools/eval_teacher.py CONFIG --extractors all` tries them'
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
