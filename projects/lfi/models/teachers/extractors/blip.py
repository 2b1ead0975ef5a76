"""BLIP: the image-grounded text encoder's cross-attention."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lfi.concepts import ConceptBank
from lfi.registry import EXTRACTORS

from ..loading.blip import BlipVisual, BlipVLM
from ..towers import patch_grid
from ..vlm import VLM, Tokenizer
from .words import WordAttentionExtractor


@EXTRACTORS.register_module(name='blip')
class BlipExtractor(WordAttentionExtractor):
    """Maps of the cross-attention to the patches, A_l, in layer l of BLIP's image-grounded text encoder.

    The encoder reads the prompt as for image-text matching: the first token is [ENC] (Li et al., "BLIP:
    Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and Generation",
    ICML 2022, section 3.1).

    From the second layer on, a word's query depends on the image, so the text encoder runs once for each
    prompt and image. Its layers and the prompts' token embeddings stay in memory.

    Args:
        vlm: model in eval mode.
        tokenizer: tokenizer of the model.
        bank: concepts to ask about.

    Raises:
        ValueError: if the model is not mmpretrain's BLIP, or a template leaves no room for the concept.
    """

    visual: BlipVisual

    def __init__(self, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank) -> None:
        if not isinstance(vlm, BlipVLM):
            raise ValueError(
                "extractor 'blip' reads mmpretrain's BLIP (model='mmpretrain:blip-base_3rdparty_retrieval'), "
                f"not this model's {type(vlm).__name__}"
            )
        super().__init__(vlm, tokenizer, bank)
        self.layers = vlm.text.encoder.layer
        self.mask = -1e4 * (self.ids == 0).float()[:, None, None]  # [P, 1, 1, n]
        grounded = torch.cat((torch.full_like(self.ids[:, :1], vlm.grounded_id), self.ids[:, 1:]), 1)
        with torch.no_grad():
            self.tokens = vlm.text.embeddings(grounded)  # [P, n, width]

    def encode(self, images: Tensor) -> tuple[tuple[Tensor], tuple[int, int], Tensor]:
        """Pass images through the image tower. See `WordAttentionExtractor.encode`."""
        grid = patch_grid(images, self.visual.patch_size)
        tokens = self.visual.tokens(images)  # [B, 1 + N, width]
        return (tokens,), grid, self.visual.pool(tokens)

    def read_attention(self, *encoded: Tensor) -> Iterator[Tensor]:
        """Read the cross-attention of the concepts' words, by layer."""
        (tokens,) = encoded
        x = self.tokens
        for layer in self.layers:
            x = layer.attention(x, self.mask)[0]
            cross = layer.crossattention
            # Cross-attention queries are independent, so all prompts share one call.
            attended, weights, _ = cross.self(
                x.flatten(0, 1)[None], encoder_hidden_states=tokens[None], output_attentions=True
            )  # [1, P * n, width], [1, heads, P * n, 1 + N]
            yield self.average_words(weights[0].mean(0))[:, 1:]
            x = layer.feed_forward_chunk(cross.output(attended[0].unflatten(0, x.shape[:2]), x))
