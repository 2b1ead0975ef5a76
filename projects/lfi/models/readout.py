"""From the student's recorded states to its interaction maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from lfi.models.backbones import InteractionStates
from lfi.registry import MODELS
from lfi.structures import MASKED, OTHER, InteractionMaps
from lfi.utils.arrays import evenly_spaced
from lfi.utils.options import check_whole

# Of the patches' scores over concepts.
CONCEPT_SCALE = 15.0
# Presence of a greater score would be exactly 1 in float32, from which no gradient leads back.
SCORE_CAP = 15.0
# How many of the training's texts a checkpoint keeps to compare with.
NUM_CONTRAST_TEXTS = 128
# Texts nearer to each other, at unit length, are one text that half precision or another CPU rounded.
SAME_TEXT = 5e-3


@MODELS.register_module()
class InteractionReadout(BaseModule):
    """Asks the student about concepts by their texts, and reads its interaction maps in both directions.

    All heads are shared by all concepts, and no answer depends on what else is asked. Of a text only t_c
    counts: its embedding less the mean of the training's texts (`text_centre`), at unit length. What all
    texts share tells none from another.

    - A question is where a concept's query starts: sqrt(E) * W_q t_c + b.
    - Over locations, a concept's map is the attention of its query over the patches. That is what learns. An
      answer may also weigh each location by the share that the concept has there among the training's texts,
      `contrast_texts`, by the scores below: attention ** (1 - w) * share ** (2 * w), where w is
      `contrast_weight`. Those texts are part of the checkpoint, so an answer does not depend on what else is
      asked.
    - Over concepts, each patch token of a supervised layer is compared with the concepts:
      15 / sqrt(C) * LN(patch) . w_c, w_c = W t_c at unit length. W acts on the texts, so that
      nothing as wide as the text space is computed for each patch.
    - Presence is the sigmoid of a linear head on the query's final state, plus the scores over concepts of
      the last supervised layer's patches, pooled by the query's attention: the concept is compared with what
      its query looks at.

    For training and open-vocabulary use only: the task's predictions do not need it.

    Args:
        embed_dims: C, the student's width.
        text_dims: E, the width of the teacher's text space.
        contrast_weight: how much the share counts in answers, in [0, 1]. Defaults to 0: an answer is the
            attention.
        init_cfg: as `mmengine.model.BaseModule` has it. Defaults to None.

    Raises:
        ValueError: if `contrast_weight` leaves [0, 1], or `text_dims` is no whole number above 0.
    """

    def __init__(
        self,
        embed_dims: int,
        text_dims: int,
        contrast_weight: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_whole(1, text_dims=text_dims)
        if not isinstance(contrast_weight, int | float) or not 0 <= contrast_weight <= 1:
            raise ValueError(f'contrast_weight={contrast_weight!r} must lie in [0, 1]')
        self.text_dims = text_dims
        self.contrast_weight = contrast_weight
        self.text_centre: Tensor
        self.register_buffer('text_centre', torch.zeros(text_dims))
        self.contrast_texts: Tensor
        if contrast_weight:
            # As many for every bank: copies of a model have the same buffers before they know the texts.
            self.register_buffer('contrast_texts', torch.zeros(NUM_CONTRAST_TEXTS, text_dims))
        self.question_head = nn.Linear(text_dims, embed_dims)
        self.presence_norm = nn.LayerNorm(embed_dims)
        self.presence_head = nn.Linear(embed_dims, 1)
        self.patch_norm = nn.LayerNorm(embed_dims)
        self.patch_head = nn.Linear(text_dims, embed_dims, bias=False)

    def check_texts(self, text_dims: int) -> None:
        """Check that a text space fits.

        Raises:
            ValueError: if it is not as wide as the read-out's.
        """
        check_text_dims(self.text_dims, text_dims)

    @torch.no_grad()
    def fit_text_statistics(self, texts: Tensor, num_background: int = 0) -> None:
        """Set the mean text and the contrast texts from the training's texts; a checkpoint keeps both.

        A single text tells nothing of what texts share, and leaves the mean as it is.

        Args:
            texts: (C, E), the bank's embeddings.
            num_background: how many of them, the last ones, are the background. Defaults to 0.
        """
        if len(texts) > 1:
            self.text_centre.copy_(texts.mean(0))
        self.set_contrast_texts(texts, num_background)

    @torch.no_grad()
    def set_contrast_texts(self, texts: Tensor, num_background: int = 0) -> None:
        """Set the contrast texts alone. Arguments are those of `fit_text_statistics`.

        Of more than `NUM_CONTRAST_TEXTS` texts these are the background and evenly spaced concepts.
        """
        if self.contrast_weight:
            num_concepts = len(texts) - num_background
            last = evenly_spaced(num_background, NUM_CONTRAST_TEXTS)
            first = evenly_spaced(num_concepts, NUM_CONTRAST_TEXTS - len(last))
            kept = [*first, *(num_concepts + i for i in last)]
            self.contrast_texts.zero_()
            self.contrast_texts[: len(kept)] = texts[kept]

    def questions(self, texts: Tensor, concepts: Tensor | None = None) -> Tensor:
        """The asked queries' starts.

        Args:
            texts: (C, E), the concepts' unit embeddings.
            concepts: (B, M), the concepts that each image is asked about. Defaults to None: all of them.

        Returns:
            (B, M, D) or (C, D), D the student's width. That of `OTHER`, which has no text, means nothing.
        """
        starts = self.question_head(self._centred(texts) * self.text_dims**0.5)
        return starts if concepts is None else starts[concepts.clamp_min(0)]

    def scores(self, states: InteractionStates, texts: Tensor, concepts: Tensor | None = None) -> Tensor:
        """The presence of each asked concept before the sigmoid, float32 (B, M), within +-`SCORE_CAP`.

        Their softmax over concepts tells which one it is: zero-shot classification.

        Args:
            states: what the backbone recorded, asked with `questions` of the same texts and concepts.
            texts: (C, E), the concepts' unit embeddings.
            concepts: (B, M), as `questions` took them. Defaults to None: all of them.
        """
        assert states.asked is not None
        with _float32(texts):
            of_query = self.presence_head(self.presence_norm(states.asked.float())).squeeze(-1)
            weights = self._weights(texts)
            weights = weights if concepts is None else weights[concepts.clamp_min(0)]  # [C, D] or [B, M, D]
            n = states.grid[0] * states.grid[1]
            patches = self.patch_norm(states.tokens[-1][:, -n:].float())
            seen = states.attention[-1].float() @ patches  # [B, M, D]
            scores = of_query + (seen * weights).sum(-1)
            return SCORE_CAP * (scores / SCORE_CAP).tanh()

    def answers(self, states: InteractionStates, texts: Tensor, like: InteractionMaps) -> InteractionMaps:
        """The text->image reading of what was asked: maps with `directions=('spatial',)`.

        Args:
            states: what the backbone recorded; it was asked about the concepts of `like`.
            texts: (C, E), the unit embeddings of all concepts.
            like: maps that name the concepts, and give the valid locations on the same grid.
        """
        maps = self._attention(states)
        if self.contrast_weight:
            shares = self._shares(states, texts, like.concepts)
            maps = (1 - self.contrast_weight) * maps + 2 * self.contrast_weight * shares
        return InteractionMaps(
            logits=maps,
            presence=self._presence(states, texts, like.concepts),
            valid=like.valid,
            concepts=like.concepts,
            layers=states.layers,
            directions=('spatial',),
        )

    def forward(self, states: InteractionStates, texts: Tensor, like: InteractionMaps) -> InteractionMaps:
        """Both readings as they learn: over locations by the attention alone. Arguments as `answers`."""
        return InteractionMaps(
            logits=self._concept_scores(states, texts, like.concepts),
            presence=self._presence(states, texts, like.concepts),
            valid=like.valid,
            concepts=like.concepts,
            layers=states.layers,
            spatial_logits=self._attention(states),
        )

    def _presence(self, states: InteractionStates, texts: Tensor, concepts: Tensor | None) -> Tensor:
        """In [0, 1], (B, M)."""
        presence = self.scores(states, texts, concepts).sigmoid()
        # There is no text to ask for all others by.
        return presence if concepts is None else presence.masked_fill(concepts == OTHER, 0)

    def _attention(self, states: InteractionStates) -> Tensor:
        """The logarithm of the queries' attention, (B, L, M, H, W)."""
        attention = torch.stack(states.attention, 1).float()  # [B, L, M, N]
        return attention.clamp_min(1e-12).log().unflatten(-1, states.grid)

    def _shares(self, states: InteractionStates, texts: Tensor, concepts: Tensor | None) -> Tensor:
        """Log-probabilities of concepts among themselves and the contrast texts, (B, L, M, H, W)."""
        unknown = ~self.contrast_texts.any(1)
        contrast = self._concept_scores(states, self.contrast_texts, None)  # [B, L, R, H, W]
        contrast = contrast.masked_fill(unknown[:, None, None], MASKED).logsumexp(2, keepdim=True)
        own = self._concept_scores(states, texts, concepts)
        # A concept that is among the contrast texts counts once.
        same = _distances(texts, self.contrast_texts).amin(1) < SAME_TEXT
        if concepts is not None:
            same = same[concepts.clamp_min(0)] & (concepts != OTHER)  # [B, M]
            same = same[:, None]
        both = torch.where(same[..., None, None], contrast, torch.logaddexp(contrast, own))
        return own - both

    def _concept_scores(self, states: InteractionStates, texts: Tensor, concepts: Tensor | None) -> Tensor:
        """The patches' scores of the concepts, (B, L, M, H, W)."""
        with _float32(texts):
            weights = self._weights(texts)
            # The class token goes along and is cut off at the end, where there is less to copy.
            by_layer = [self.patch_norm(tokens.float()) @ weights.T for tokens in states.tokens]
            n = states.grid[0] * states.grid[1]
            scores = torch.stack([of_layer[:, -n:] for of_layer in by_layer], 1)  # [B, L, N, C]
        return _pick(scores, concepts).mT.unflatten(-1, states.grid)

    def _weights(self, texts: Tensor) -> Tensor:
        """What patches are compared with for each text, (C, D)."""
        scale = CONCEPT_SCALE * self.patch_norm.normalized_shape[0] ** -0.5
        return scale * F.normalize(self.patch_head(self._centred(texts)), dim=-1)

    def _centred(self, texts: Tensor) -> Tensor:
        return F.normalize(F.normalize(texts, dim=-1) - self.text_centre, dim=-1)


def check_text_dims(own: int, found: int) -> None:
    """Check that a text space is as wide as a read-out's.

    Args:
        own: `readout.text_dims`.
        found: the width of the text space.

    Raises:
        ValueError: if it is not.
    """
    if own != found:
        raise ValueError(f'readout.text_dims={own}, but the teacher embeds its texts in {found} dims')


def _float32(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Between texts (M, E) and (N, E) at unit length, (M, N); by differences, which no GPU's TF32 rounds."""
    with _float32(a):
        a, b = (F.normalize(texts.float(), dim=-1) for texts in (a, b))
        return torch.cdist(a, b, compute_mode='donot_use_mm_for_euclid_dist')


def _pick(scores: Tensor, concepts: Tensor | None) -> Tensor:
    """Scores (B, L, N, C) of the concepts (B, M); `OTHER` is the log-sum-exp of all others."""
    if concepts is None:
        return scores
    b, n_layers, n, c = scores.shape
    picked = scores.gather(3, concepts.clamp_min(0)[:, None, None].expand(b, n_layers, n, -1))
    taken = torch.zeros(b, c + 1, dtype=torch.bool, device=scores.device)
    # OTHER's own mark falls into the extra last column.
    taken.scatter_(1, torch.where(concepts == OTHER, c, concepts), True)
    rest = scores.masked_fill(taken[:, None, None, :c], MASKED).logsumexp(-1, keepdim=True)
    return torch.where((concepts == OTHER)[:, None, None], rest, picked)
