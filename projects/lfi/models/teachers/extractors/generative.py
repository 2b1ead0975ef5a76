"""Generative VLMs: attention of a concept's words to the image in layers of the decoder."""

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
from .base import PresenceExtractor, log_attention

QUESTION = 'Is there a {} in the image? Answer yes or no.'


@EXTRACTORS.register_module(name='generative')
class GenerativeExtractor(PresenceExtractor):
    """Maps of relative attention log A_l(concept) - log A_l(neutral) to the image in decoder layer l.

    A_l is the attention of the tokens of the concept's words to each image token, mean over these tokens and
    over heads. It is divided by the attention of a neutral word in the same question. The relative attention
    of Zhang et al., "MLLMs Know Where to Look: Training-free Perception of Small Visual Details with
    Multimodal LLMs", ICLR 2025, compares a question with a general instruction, at the last token. The ratio
    removes the attention that all words share, such as attention sinks. Each layer's map is logits over
    locations.

    Presence is the model's answer to the same question, in the same pass: P(yes) / (P(yes) + P(no)) of the
    next token, independent for each concept.

    This extractor is slow: use it to write a cache. The tower and the decoder process each image once, with
    the shared prefix of the prompts. The decoder then processes the question of each concept. The decoder is
    causal, so that the image's keys do not depend on the question.

    Args:
        vlm: model in eval mode.
        bank: concepts to ask about. Their embeddings take no prompt: the templates must be `('{}',)`.
        question: yes-or-no question as the prompt, with one `{}` for the concept. Defaults to `QUESTION`.
        neutral: word in place of a concept. Defaults to 'thing'.
        layers: indices of the decoder's layers to read, negative ones from the end. Each layer gives a map,
            in ascending order. Defaults to None: four layers, evenly over the middle half (7, 12, 17 and 22
            of 30). Most information passes from images to text in the middle layers (Kaduri et al., "What's
            in the Image? A Deep-Dive into the Vision of Vision Language Models", CVPR 2025).
        heads: indices of the heads to average. Defaults to None, all heads.
        batch_size: number of concepts in one forward pass; memory grows with it. Defaults to 16.

    Raises:
        ValueError: if the model is not a generative VLM of transformers, an argument is out of range, the
            tokenizer has no token for yes or no, or the questions cannot be tokenized.
    """

    directions = ('spatial',)
    gives_cosines = False
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
        self._questions: dict[tuple[int, int], Questions] = {}
        # Questions that cannot be built fail here, not at the first image.
        self.questions(to_2tuple(vlm.visual.preprocess_cfg['size']))

    @classmethod
    def from_vlm(
        cls, vlm: VLM, tokenizer: Tokenizer, bank: ConceptBank, **options: Any
    ) -> GenerativeExtractor:
        """Build the extractor of a model. See `Extractor.from_vlm`."""
        return cls(vlm, bank, **options)

    def maps_and_presence(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Read the maps and the presence of all concepts. See `PresenceExtractor.maps_and_presence`.

        Raises:
            ValueError: if an answer is not finite.
        """
        size = (images.shape[-2], images.shape[-1])
        # One by one: keys and values of an image take memory in every layer.
        attention, presence = zip(*(self._read(image[None]) for image in images))
        maps = self.visual.to_grid(torch.stack(attention), size)  # [B, L, C + 1, h, w]
        maps = log_attention(maps)
        answers = torch.stack(presence)
        if not answers.isfinite().all():
            raise ValueError(
                f'the yes-or-no answer of the teacher {self.visual.model.name_or_path} is not finite: check '
                "its weights, lm_head among them, and the image's pixels"
            )
        return maps[:, :, :-1] - maps[:, :, -1:], answers

    def pooled(self, images: Tensor, texts: Tensor) -> Tensor:
        """Mean of each image's tokens in the prompt, (B, D), of unit length."""
        size = (images.shape[-2], images.shape[-1])
        ids = self.questions(size).prefix.to(images.device)
        rows = [self._prompt(image[None], ids)[0, ids == self.visual.image_token_id] for image in images]
        return F.normalize(torch.stack([row.float().mean(0) for row in rows]), dim=-1)

    def check_size(self, size: tuple[int, int], texts: Tensor) -> None:
        """Check that the prompts can hold an image of a size. See `Extractor.check_size`."""
        self.questions(size)

    def questions(self, size: tuple[int, int]) -> Questions:
        """Build the questions about an image: one for each concept, then one for the neutral word."""
        if size not in self._questions:
            tokens = self.visual
            self._questions[size] = Questions.of(
                self._processor, self.question, self.names, tokens.text(size), tokens.bare_image
            )
        return self._questions[size]

    def _prompt(self, image: Tensor, ids: Tensor) -> Tensor:
        """Input embeddings (1, P, D) of the prompts' shared prefix, with the image's tokens in it."""
        x = self.embed(ids)[None]
        x[:, ids == self.visual.image_token_id] = self.visual(image).to(x)
        return x

    def _read(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the attention (L, C + 1, N) of all words to one image's tokens, and presence (C,)."""
        from transformers import DynamicCache

        size = (image.shape[-2], image.shape[-1])
        questions = self.questions(size)
        fields = (questions.prefix, questions.suffixes, questions.word_weights, questions.last_index)
        prefix, suffixes, word_weights, last_index = (value.to(image.device) for value in fields)
        image_positions = (prefix == self.visual.image_token_id).nonzero()[:, 0]
        # Positions after the image do not depend on the question's tokens.
        position_ids = self.visual.position_ids(torch.cat((prefix, suffixes[last_index.argmax()])), size)
        prefix_cache = DynamicCache()
        self._decode(self._prompt(image, prefix), position_ids, prefix_cache)
        attention, presence = [], []
        for batch in torch.arange(len(suffixes), device=image.device).split(self.batch_size):
            past = deepcopy(prefix_cache)
            past.batch_repeat_interleave(len(batch))
            with self._record_attention(word_weights[batch], image_positions) as layers:
                states = self._decode(self.embed(suffixes[batch]), position_ids, past)
            attention.append(torch.stack(layers))  # [L, n, N]
            presence.append(self._answer(states[torch.arange(len(batch)), last_index[batch]]))
        return torch.cat(attention, 1), torch.cat(presence)[:-1]

    def _decode(self, x: Tensor, position_ids: Tensor, past: Any) -> Tensor:
        """Compute the decoder's last states of x (n, S, D) after `past`, and extend `past` by x."""
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
    def _record_attention(self, word_weights: Tensor, image_positions: Tensor) -> Iterator[list[Tensor]]:
        """Record each layer's attention (n, N), averaged by word weights (n, S), to image tokens (N,)."""
        layers: list[Tensor] = []

        def record(module: nn.Module, args: Any, output: Any) -> None:
            weights = output[1][..., image_positions][:, self.heads].float().mean(1)  # [n, S, N]
            layers.append((word_weights[..., None] * weights).sum(1))

        hooks = [self.visual.decoder.layers[i].self_attn.register_forward_hook(record) for i in self.layers]
        try:
            yield layers
        finally:
            for hook in hooks:
                hook.remove()

    def _answer(self, states: Tensor) -> Tensor:
        """Compute P(yes) / (P(yes) + P(no)), (n,), of the token that follows each of n states (n, D)."""
        scores = self.visual.model.get_output_embeddings()(states).float()
        return (scores[:, self.yes].logsumexp(1) - scores[:, self.no].logsumexp(1)).sigmoid()


def _indices(name: str, chosen: Sequence[int], n: int) -> list[int]:
    """Check indices of n layers or heads, and return them in ascending order, without duplicates."""
    if not chosen or not all(-n <= i < n for i in chosen):
        raise ValueError(f"{name}={list(chosen)} must be some of the decoder's {n}, from {-n} to {n - 1}")
    return sorted({i % n for i in chosen})
