"""CoCa: the text decoder's attention to the pooled tokens, followed to the patches they were pooled from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from open_clip import CoCa
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor

from lfi.concepts import ConceptBank
from lfi.registry import EXTRACTORS

from ..towers import TokenEmbedding
from ..towers.open_clip_vit import OpenClipBlock
from ..vlm import VLM, Tokenizer
from .words import WordAttentionExtractor


@EXTRACTORS.register_module(name='coca')
class CoCaExtractor(WordAttentionExtractor):
    """A_l = D_l P: decoder layer l's attention D_l to the pooled tokens, times theirs to the patches.

    CoCa's text decoder sees the image through an attentional pooler alone (Yu et al., "CoCa: Contrastive
    Captioners are Image-Text Foundation Models", TMLR 2022, section 3.2), so its cross-attention is
    composed with the pooler's P, mean over heads, whose column of the class token is dropped.

    What a word looks for depends on the image from the decoder's second layer on, so the decoder runs once
    for each prompt and image. Of the text side its blocks and the prompts' token embeddings are kept.

    Args:
        vlm: the model, in eval mode.
        tokenizer: the model's.
        bank: the concepts.

    Raises:
        ValueError: if the model is not open_clip's CoCa with its own towers, or as the base says.
    """

    visual: VisionTransformer

    def __init__(self, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank) -> None:
        model: Any = vlm
        readable = (
            isinstance(vlm, CoCa)
            and isinstance(vlm.text, TextTransformer)
            and isinstance(vlm.visual, VisionTransformer)
            and vlm.visual.attn_pool is not None
            and vlm.visual.attn_pool_contrastive is None
        )
        if not readable:
            raise ValueError(
                "extractor 'coca' reads open_clip's CoCa (coca_ViT-B-32 and its like), not this model's "
                f"{type(vlm).__name__}: use 'auto'"
            )
        super().__init__(vlm, tokenizer, bank)
        self.embed = TokenEmbedding(vlm.visual)
        self.blocks, self.cross_blocks = model.text_decoder.resblocks, model.text_decoder.cross_attn
        # Attention is causal: what follows the concepts' words does not reach them.
        n = 1 + int(self.words.any(0).nonzero().max())
        self.words = self.words[:, :n]
        self.causal_mask = model.text_decoder.attn_mask[:n, :n]
        with torch.no_grad():
            self.tokens = model._encode_text(self.ids)[1][:, :n].clone()  # [P, n, E]

    def see(self, images: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int], Tensor]:
        """Pass images through the image tower and its pooler; `WordAttentionExtractor` says how."""
        x, grid = self.embed(images)
        x = self.visual.transformer(x)
        pooler = self.visual.attn_pool
        keys, queries = pooler.ln_k(x), pooler.ln_q(pooler.query).expand(len(x), -1, -1)
        tokens, to_patches = pooler.attn(queries, keys, keys)  # [B, 1 + K, E], [B, 1 + K, 1 + N]
        tokens = self.visual.ln_post(tokens)
        # The first pooled token is the image's embedding; the decoder sees the others.
        return (tokens[:, 1:], to_patches[:, 1:, 1:]), grid, tokens[:, 0] @ self.visual.proj

    def read(self, *image: Tensor) -> Iterator[Tensor]:
        """Read the attention of the concepts' words, composed with the pooler's, by layer."""
        tokens, to_patches = image
        x = self.tokens
        for block, cross in zip(self.blocks, self.cross_blocks):
            x = block(x, attn_mask=self.causal_mask)
            # Queries do not see one another, so those of all prompts can share the keys.
            queries, keys = cross.ln_1(x).flatten(0, 1), cross.ln_1_kv(tokens)
            attended, weights = cross.attn(queries, keys, keys)  # [P * n, E], [P * n, K]
            yield self.of_words(weights) @ to_patches
            x = OpenClipBlock(cross).feed_forward(x + cross.ls_1(attended.unflatten(0, x.shape[:2])))
