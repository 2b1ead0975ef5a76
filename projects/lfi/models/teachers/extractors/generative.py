"""Generative VLMs: the attention of a concept's own words to the image, in the layers of the decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import to_2tuple
from torch import Tensor, nn

from lfi.concepts import ConceptBank
from lfi.registry import EXTRACTORS

from ..generative.generative_vlm import GenerativeVLM
from ..generative.image_tokens import ImageTokens
from ..generative.questions import Questions, answer_ids
from ..vlm import VLM, Tokenizer
from .base import JudgingExtractor, log_attention

QUESTION = 'Is there a {} in the image? Answer yes or no.'


@EXTRACTORS.register_module(name='generative')
class GenerativeExtractor(JudgingExtractor):
    """A map is log A_l(concept) - log A_l(neutral): attention to the image in decoder layer l, relatively.

    A_l is the attention of the tokens of the concept's own words to each image token, mean over these tokens
    and over heads. That of the same question with a neutral word is divided out, as in the relative attention
    of Zhang et al., "MLLMs Know Where to Look: Training-free Perception of Small Visual Details with
    Multimodal LLMs", ICLR 2025, which compares a question with a general instruction, at the last token. So
    what all words look at, such as the tokens that gather attention without a reason, is gone, and each
    layer's map is logits over locations.

    Presence is the model's answer to the same question, in the same pass: P(yes) / (P(yes) + P(no)) of the
    next token, each concept by itself.

    It is meant for a cache. The tower and the decoder read each image once, up to where the questions begin
    to differ, and then each concept's question: the decoder attends backwards alone, so that the image's keys
    do not depend on what is asked afterwards.

    Args:
        vlm: the model, in eval mode.
        bank: the concepts. Their embeddings take no prompt: the templates must be `('{}',)`.
        question: the prompt, with one `{}` for the concept; a question of yes or no. Defaults to `QUESTION`.
        neutral: the word that stands for no concept. Defaults to 'thing'.
        layers: the decoder's layers to read, from 0 or from -1 backwards; each gives a map, in ascending
            order. Defaults to None: four, evenly over the middle half (7, 12, 17 and 22 of 30), since most of
            what text takes from images passes in the middle layers (Kaduri et al., "What's in the Image? A
            Deep-Dive into the Vision of Vision Language Models", CVPR 2025).
        heads: the heads to take the mean over. Defaults to None, all.
        batch_size: how many concepts are asked about at once; memory grows with it. Defaults to 16.

    Raises:
        ValueError: if the model is not a generative VLM of transformers, an argument is out of its range, the
            tokenizer has no words for yes and no, or as `Questions.of` says.
    """

    directions = ('spatial',)
    cosines = False
    visual: ImageTokens

    def __init__(
        self,
        vlm: VLM,
        bank: ConceptBank,
        question: str = QUESTION,
        neutral: str = 'thing',
        layers: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        batch_size: int = 16,
    ) -> None:
        if not isinstance(vlm, GenerativeVLM):
            raise ValueError(
                "extractor 'generative' reads generative VLMs (model='transformers:FOLDER_OR_NAME'), not "
                f"this model's {type(vlm).__name__}"
            )
        if bank.templates != ('{}',):
            raise ValueError(
                f"templates={bank.templates} must be ('{{}}',) for extractor 'generative': its text "
                'embeddings are those of the concept alone, and extractor.question is its prompt'
            )
        if question.count('{}') != 1:
            raise ValueError(f'question={question!r} must have one {{}} for the concept')
        if not neutral.strip():
            raise ValueError(f'neutral={neutral!r} must be a word')
        if batch_size < 1:
            raise ValueError(f'batch_size={batch_size} must be at least 1')
        super().__init__(vlm.visual)
        config = vlm.visual.decoder.config
        n_layers, n_heads = config.num_hidden_layers, config.num_attention_heads
        if layers is None:
            layers = [n_layers // 4 + (n_layers // 2) * i // 3 for i in range(4)]
        self.layers = _indices('layers', layers, n_layers)
        self.heads = _indices('heads', range(n_heads) if heads is None else heads, n_heads)
        self.embed = vlm.embed
        self.question, self.names, self.batch_size = question, (*bank.names, neutral), batch_size
        self._processor = vlm.processor
        self.yes, self.no = (
            torch.tensor(answer_ids(vlm.processor.tokenizer, word)) for word in ('yes', 'no')
        )
        self._asked: dict[tuple[int, int], Questions] = {}
        # What cannot be asked is an error now, not at the first image.
        self.questions(to_2tuple(vlm.visual.preprocess_cfg['size']))

    @classmethod
    def from_vlm(
        cls, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank, **options: Any
    ) -> GenerativeExtractor:
        """Build the extractor of a model; arguments as of `Extractor`."""
        return cls(vlm, bank, **options)

    def judge(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps of all concepts, and their presence; as `JudgingExtractor` says.

        Raises:
            ValueError: if an answer is no finite number.
        """
        size = (images.shape[-2], images.shape[-1])
        # One by one: keys and values of a prompt's image take memory in every layer.
        attention, presence = zip(*(self._judge(image[None]) for image in images))
        maps = self.visual.to_grid(torch.stack(attention), size)  # [B, L, C + 1, h, w]
        maps = log_attention(maps)
        answers = torch.stack(presence)
        if not answers.isfinite().all():
            raise ValueError(
                f'the teacher {self.visual.model.name_or_path} answers yes or no by no finite number: its '
                'weights, lm_head among them, or the pixels of the image are none'
            )
        return maps[:, :, :-1] - maps[:, :, -1:], answers

    def pooled(self, images: Tensor, texts: Tensor) -> Tensor:
        """The mean of each image's tokens as they stand in the prompt, (B, D) of unit length."""
        size = (images.shape[-2], images.shape[-1])
        ids = self.questions(size).prefix.to(images.device)
        rows = [self._prompt(image[None], ids)[0, ids == self.visual.image_token_id] for image in images]
        return F.normalize(torch.stack([row.float().mean(0) for row in rows]), dim=-1)

    def check_size(self, size: tuple[int, int], texts: Tensor) -> None:
        """Check that an image of a size can be asked about; as of `Extractor`. No image is read."""
        self.questions(size)

    def questions(self, size: tuple[int, int]) -> Questions:
        """What is asked of an image of a size in pixels: about each concept, and about the neutral word."""
        if size not in self._asked:
            see = self.visual
            self._asked[size] = Questions.of(
                self._processor, self.question, self.names, see.text(size), see.bare_image
            )
        return self._asked[size]

    def _prompt(self, image: Tensor, ids: Tensor) -> Tensor:
        """The input embeddings (1, P, D) of what all prompts share, with the image's tokens in it."""
        x = self.embed(ids)[None]
        x[:, ids == self.visual.image_token_id] = self.visual(image).to(x)
        return x

    def _judge(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The attention (L, C + 1, N) of all words to one image's tokens, and presence (C,)."""
        from transformers import DynamicCache

        size = (image.shape[-2], image.shape[-1])
        asked = self.questions(size)
        prefix, rest, words, last = (
            value.to(image.device) for value in (asked.prefix, asked.rest, asked.words, asked.last)
        )
        is_image = (prefix == self.visual.image_token_id).nonzero()[:, 0]
        # A question's tokens count on after the image, whatever they are.
        position_ids = self.visual.position_ids(torch.cat((prefix, rest[last.argmax()])), size)
        read = DynamicCache()
        self._decode(self._prompt(image, prefix), position_ids, read)
        attention, presence = [], []
        for part in torch.arange(len(rest), device=image.device).split(self.batch_size):
            past = deepcopy(read)
            past.batch_repeat_interleave(len(part))
            with self._watch(words[part], is_image) as seen:
                states = self._decode(self.embed(rest[part]), position_ids, past)
            attention.append(torch.stack(seen))  # [L, n, N]
            presence.append(self._answer(states[torch.arange(len(part)), last[part]]))
        return torch.cat(attention, 1), torch.cat(presence)[:-1]

    def _decode(self, x: Tensor, position_ids: Tensor, past: Any) -> Tensor:
        """The decoder's last states of x (n, S, D), which follows what `past` holds and is added to it."""
        start = past.get_seq_length()
        end = start + x.shape[1]
        positions = position_ids[..., start:end]
        states: Tensor = self.visual.decoder(
            inputs_embeds=x,
            attention_mask=torch.ones(len(x), end, dtype=torch.long, device=x.device),
            position_ids=positions.expand(*positions.shape[:-2], len(x), -1),
            cache_position=torch.arange(start, end, device=x.device),
            past_key_values=past,
            use_cache=True,
        ).last_hidden_state
        return states

    @contextmanager
    def _watch(self, words: Tensor, is_image: Tensor) -> Iterator[list[Tensor]]:
        """Keep the attention (n, N) of words (n, S) to image tokens, at indices (N,), layer by layer."""
        seen: list[Tensor] = []

        def keep(module: nn.Module, args: Any, output: Any) -> None:
            weights = output[1][..., is_image][:, self.heads].float().mean(1)  # [n, S, N]
            seen.append((words[..., None] * weights).sum(1))

        hooks = [self.visual.decoder.layers[i].self_attn.register_forward_hook(keep) for i in self.layers]
        try:
            yield seen
        finally:
            for hook in hooks:
                hook.remove()

    def _answer(self, states: Tensor) -> Tensor:
        """P(yes) / (P(yes) + P(no)) of the token after states (n, D): (n,)."""
        scores = self.visual.model.get_output_embeddings()(states).float()
        return (scores[:, self.yes].logsumexp(1) - scores[:, self.no].logsumexp(1)).sigmoid()


def _indices(name: str, chosen: Sequence[int], n: int) -> list[int]:
    """Chosen indices of n, in ascending order, each once."""
    if not chosen or not all(-n <= i < n for i in chosen):
        raise ValueError(f"{name}={list(chosen)} must be some of the decoder's {n}, from {-n} to {n - 1}")
    return sorted({i % n for i in chosen})
