"""CoCa: the text decoder's attention to the pooled tokens, composed with the pooler's attention."""

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
    """Maps of the attention A_l = D_l P: attention of decoder layer l, times the pooler's attention.

    CoCa's text decoder reads the image only through an attentional pooler (Yu et al., "CoCa: Contrastive
    Captioners are Image-Text Foundation Models", TMLR 2022, section 3.2). D_l is its attention to the pooled
    tokens, and P the pooler's attention to the patches, mean over heads, without the class token's column.

    From the second layer on, a word's query depends on the image, so the decoder runs once for each prompt
    and image. Its blocks and the prompts' token embeddings stay in memory.

    Args:
        vlm: model in eval mode.
        tokenizer: tokenizer of the model.
        bank: concepts to ask about.

    Raises:
        ValueError: if the model is not open_clip's CoCa with open_clip's own towers, or a template leaves no
            room for the concept.
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
                "extractor 'coca' reads open_clip's CoCa (such as coca_ViT-B-32), not this model's "
                f"{type(vlm).__name__}: use 'auto'"
            )
        super().__init__(vlm, tokenizer, bank)
        self.embed = TokenEmbedding(vlm.visual)
        self.blocks, self.cross_blocks = model.text_decoder.resblocks, model.text_decoder.cross_attn
        # Attention is causal: tokens after the concepts' words do not affect them.
        n = 1 + int(self.word_weights.any(0).nonzero().max())
        self.word_weights = self.word_weights[:, :n]
        self.causal_mask = model.text_decoder.attn_mask[:n, :n]
        with torch.no_grad():
            self.tokens = model._encode_text(self.ids)[1][:, :n].clone()  # [P, n, E]

    def encode(self, images: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int], Tensor]:
        """Pass images through the image tower and its pooler. See `WordAttentionExtractor.encode`."""
        x, grid = self.embed(images)
        x = self.visual.transformer(x)
        pooler = self.visual.attn_pool
        keys, queries = pooler.ln_k(x), pooler.ln_q(pooler.query).expand(len(x), -1, -1)
        tokens, attention = pooler.attn(queries, keys, keys)  # [B, 1 + K, E], [B, 1 + K, 1 + N]
        tokens = self.visual.ln_post(tokens)
        # The first pooled token is the image's embedding; the decoder reads the others.
        return (tokens[:, 1:], attention[:, 1:, 1:]), grid, tokens[:, 0] @ self.visual.proj

    def read_attention(self, *encoded: Tensor) -> Iterator[Tensor]:
        """Read the attention of the concepts' words, composed with the pooler's, by layer."""
        tokens, pooler_attention = encoded
        x = self.tokens
        for block, cross in zip(self.blocks, self.cross_blocks):
            x = block(x, attn_mask=self.causal_mask)
            # Cross-attention queries are independent, so all prompts share one call.
            queries, keys = cross.ln_1(x).flatten(0, 1), cross.ln_1_kv(tokens)
            attended, weights = cross.attn(queries, keys, keys)  # [P * n, E], [P * n, K]
            yield self.average_words(weights) @ pooler_attention
            x = OpenClipBlock(cross).feed_forward(x + cross.ls_1(attended.unflatten(0, x.shape[:2])))
