"""Read-out of the student: from recorded states to interaction maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from lfi.models.backbones import InteractionStates
from lfi.registry import MODELS
from lfi.structures import MASKED, OTHER, InteractionMaps, check_presence_fit
from lfi.utils.arrays import evenly_spaced
from lfi.utils.options import check_whole

SEMANTIC_SCALE = 15.0
# Bound of presence logits: the float32 sigmoid of much larger ones is exactly 1, without gradient.
SCORE_CAP = 15.0
# Number of contrast texts that a checkpoint stores.
NUM_CONTRAST_TEXTS = 128
# Distance of unit embeddings below which two texts are the same text, rounded differently.
SAME_TEXT = 5e-3


@MODELS.register_module()
class InteractionReadout(BaseModule):
    """Layers that turn texts into asked queries, and a backbone's states into interaction maps.

    All concepts share all heads, and no answer depends on the other asked texts. All layers take text c as
    t_c: its embedding minus the mean of the training's texts (`text_centre`), at unit length.

    - Initial query of a concept: sqrt(E) * W_q t_c + b.
    - Spatial map: the attention of the concept's query over the patches. The loss compares this attention.
      `answers` returns attention ** (1 - w) * p ** (2 * w), where w is `contrast_weight`, and p the
      concept's probability at the location among the training's `contrast_texts`, by the semantic scores
      below. Checkpoints store the contrast texts.
    - Semantic scores: each patch token of a supervised layer is compared with each concept,
      15 / sqrt(D) * LN(patch) . w_c, where w_c = W t_c at unit length. W maps texts to the student's width;
      no patch is mapped to the width of the text space.
    - Presence: the sigmoid of the sum of two scores: a linear head on the query's final state, and the
      semantic scores of the last supervised layer, averaged over patches by the query's attention.

    The task's own predictions do not need the read-out.

    Args:
        embed_dims: D, width of the student.
        text_dims: E, width of the teacher's text space.
        contrast_weight: w, in [0, 1]. Defaults to 0: answers are the attention alone.
        presence_fit: scale and offset of the presence logits in `answers`. Losses and predictions of classes
            ignore them. `lfi.SemanticConsistencyMetric` fits both. Defaults to (1, 0).
        init_cfg: initialisation config of `mmengine.model.BaseModule`. Defaults to None.

    Raises:
        ValueError: if `contrast_weight` is outside [0, 1], `text_dims` is no whole number above 0, or
            `presence_fit` is not a scale above 0 and an offset.
    """

    def __init__(
        self,
        embed_dims: int,
        text_dims: int,
        contrast_weight: float = 0.0,
        presence_fit: Sequence[float] = (1.0, 0.0),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_whole(1, text_dims=text_dims)
        if not isinstance(contrast_weight, int | float) or not 0 <= contrast_weight <= 1:
            raise ValueError(f'contrast_weight={contrast_weight!r} must lie in [0, 1]')
        self.text_dims = text_dims
        self.contrast_weight = contrast_weight
        self.presence_fit = check_presence_fit(presence_fit)
        self.text_centre: Tensor
        self.register_buffer('text_centre', torch.zeros(text_dims))
        self.contrast_texts: Tensor
        if contrast_weight:
            # The size is fixed: copies of a model (EMA) are made before the texts are known.
            self.register_buffer('contrast_texts', torch.zeros(NUM_CONTRAST_TEXTS, text_dims))
        self.question_head = nn.Linear(text_dims, embed_dims)
        self.presence_norm = nn.LayerNorm(embed_dims)
        self.presence_head = nn.Linear(embed_dims, 1)
        self.patch_norm = nn.LayerNorm(embed_dims)
        self.patch_head = nn.Linear(text_dims, embed_dims, bias=False)

    def check_texts(self, text_dims: int) -> None:
        """Check that a text space has the read-out's width.

        Raises:
            ValueError: if the widths differ.
        """
        check_text_dims(self.text_dims, text_dims)

    @torch.no_grad()
    def fit_text_statistics(self, texts: Tensor, num_background: int = 0) -> None:
        """Set the mean text and the contrast texts from the training's texts. Checkpoints keep both.

        A single text does not change the mean: the text minus itself would be 0.

        Args:
            texts: (C, E), embeddings of the bank.
            num_background: number of background texts, which come last. Defaults to 0.
        """
        if len(texts) > 1:
            self.text_centre.copy_(texts.mean(0))
        self.set_contrast_texts(texts, num_background)

    @torch.no_grad()
    def set_contrast_texts(self, texts: Tensor, num_background: int = 0) -> None:
        """Set the contrast texts: all texts, or, if too many, the background and evenly spaced concepts.

        Args:
            texts: (C, E), embeddings of the bank.
            num_background: number of background texts, which come last. Defaults to 0.
        """
        if self.contrast_weight:
            num_concepts = len(texts) - num_background
            background = evenly_spaced(num_background, NUM_CONTRAST_TEXTS)
            concepts = evenly_spaced(num_concepts, NUM_CONTRAST_TEXTS - len(background))
            rows = [*concepts, *(num_concepts + i for i in background)]
            self.contrast_texts.zero_()
            self.contrast_texts[: len(rows)] = texts[rows]

    def asked_queries(self, texts: Tensor, concepts: Tensor | None = None) -> Tensor:
        """Make the initial states of the asked queries.

        Args:
            texts: (C, E), unit embeddings of the concepts.
            concepts: (B, M), indices of the concepts that each image is asked about. Defaults to None: all.

        Returns:
            Queries (B, M, D) or (C, D), where D is the student's width. The query of the joint map, `OTHER`,
            has no meaning.
        """
        queries = self.question_head(self._centred(texts) * self.text_dims**0.5)
        return queries if concepts is None else queries[concepts.clamp_min(0)]

    def presence_logits(
        self, states: InteractionStates, texts: Tensor, concepts: Tensor | None = None
    ) -> Tensor:
        """Compute presence logits of the asked concepts, float32 (B, M), within +-`SCORE_CAP`.

        Their softmax over class names is zero-shot classification.

        Args:
            states: recorded states of a pass with the `asked_queries` of the same texts and concepts.
            texts: (C, E), unit embeddings of the concepts.
            concepts: (B, M), indices of the asked concepts. Defaults to None: all concepts.
        """
        assert states.asked_queries is not None
        with _without_autocast(texts):
            query_scores = self.presence_head(self.presence_norm(states.asked_queries.float())).squeeze(-1)
            vectors = self._concept_vectors(texts)
            vectors = vectors if concepts is None else vectors[concepts.clamp_min(0)]  # [C, D] or [B, M, D]
            n = states.grid[0] * states.grid[1]
            patches = self.patch_norm(states.tokens[-1][:, -n:].float())
            pooled = states.attention[-1].float() @ patches  # [B, M, D]
            scores = query_scores + (pooled * vectors).sum(-1)
            return SCORE_CAP * (scores / SCORE_CAP).tanh()

    def answers(self, states: InteractionStates, texts: Tensor, layout: InteractionMaps) -> InteractionMaps:
        """Compute spatial maps and presence of the asked concepts, with `directions=('spatial',)`.

        Args:
            states: recorded states of a pass that was asked about the concepts of `layout`.
            texts: (C, E), unit embeddings of all concepts.
            layout: maps with the concepts and the valid locations of the result, on the same grid.
        """
        maps = self._log_attention(states)
        if self.contrast_weight:
            contrast = self._contrast_log_probs(states, texts, layout.concepts)
            maps = (1 - self.contrast_weight) * maps + 2 * self.contrast_weight * contrast
        return InteractionMaps(
            logits=maps,
            presence=self._presence(states, texts, layout.concepts, self.presence_fit),
            valid=layout.valid,
            concepts=layout.concepts,
            layers=states.layers,
            directions=('spatial',),
        )

    def forward(self, states: InteractionStates, texts: Tensor, layout: InteractionMaps) -> InteractionMaps:
        """Compute the maps that the loss compares.

        Args:
            states: recorded states of a pass that was asked about the concepts of `layout`.
            texts: (C, E), unit embeddings of all concepts.
            layout: maps with the concepts and the valid locations of the result, on the same grid.
        """
        return InteractionMaps(
            logits=self._concept_scores(states, texts, layout.concepts),
            presence=self._presence(states, texts, layout.concepts),
            valid=layout.valid,
            concepts=layout.concepts,
            layers=states.layers,
            spatial_logits=self._log_attention(states),
        )

    def _presence(
        self,
        states: InteractionStates,
        texts: Tensor,
        concepts: Tensor | None,
        fit: tuple[float, float] = (1.0, 0.0),
    ) -> Tensor:
        """Presence of the asked concepts in [0, 1], (B, M), with a scale and an offset of its logits."""
        scale, offset = fit
        presence = (scale * self.presence_logits(states, texts, concepts) + offset).sigmoid()
        # The joint map, OTHER, has no text.
        return presence if concepts is None else presence.masked_fill(concepts == OTHER, 0)

    def _log_attention(self, states: InteractionStates) -> Tensor:
        """Logarithm of the queries' attention, (B, L, M, H, W)."""
        attention = torch.stack(states.attention, 1).float()  # [B, L, M, N]
        return attention.clamp_min(1e-12).log().unflatten(-1, states.grid)

    def _contrast_log_probs(
        self, states: InteractionStates, texts: Tensor, concepts: Tensor | None
    ) -> Tensor:
        """Log-probability of each concept among the concept and the contrast texts, (B, L, M, H, W)."""
        empty = ~self.contrast_texts.any(1)
        contrast = self._concept_scores(states, self.contrast_texts, None)  # [B, L, R, H, W]
        contrast = contrast.masked_fill(empty[:, None, None], MASKED).logsumexp(2, keepdim=True)
        scores = self._concept_scores(states, texts, concepts)
        # A concept that is also a contrast text must count once.
        is_contrast_text = _distances(texts, self.contrast_texts).amin(1) < SAME_TEXT
        if concepts is not None:
            is_contrast_text = is_contrast_text[concepts.clamp_min(0)] & (concepts != OTHER)  # [B, M]
            is_contrast_text = is_contrast_text[:, None]
        total = torch.where(is_contrast_text[..., None, None], contrast, torch.logaddexp(contrast, scores))
        return scores - total

    def _concept_scores(self, states: InteractionStates, texts: Tensor, concepts: Tensor | None) -> Tensor:
        """Semantic scores of the patches, (B, L, M, H, W)."""
        with _without_autocast(texts):
            vectors = self._concept_vectors(texts)
            # The class token is dropped after the product, which has fewer channels to copy.
            token_scores = [self.patch_norm(tokens.float()) @ vectors.T for tokens in states.tokens]
            n = states.grid[0] * states.grid[1]
            scores = torch.stack([layer_scores[:, -n:] for layer_scores in token_scores], 1)  # [B, L, N, C]
        return _select_concepts(scores, concepts).mT.unflatten(-1, states.grid)

    def _concept_vectors(self, texts: Tensor) -> Tensor:
        """Vectors 15 / sqrt(D) * w_c of the concepts, with which patches are compared, (C, D)."""
        scale = SEMANTIC_SCALE * self.patch_norm.normalized_shape[0] ** -0.5
        return scale * F.normalize(self.patch_head(self._centred(texts)), dim=-1)

    def _centred(self, texts: Tensor) -> Tensor:
        """Unit embeddings minus the mean text, at unit length, (C, E)."""
        return F.normalize(F.normalize(texts, dim=-1) - self.text_centre, dim=-1)


def check_text_dims(text_dims: int, width: int) -> None:
    """Check that `readout.text_dims` is the width of a text space.

    Raises:
        ValueError: if the widths differ.
    """
    if text_dims != width:
        raise ValueError(f'readout.text_dims={text_dims}, but the teacher embeds its texts in {width} dims')


def _without_autocast(x: Tensor) -> torch.autocast:
    """Context without autocast on the device of x."""
    return torch.autocast(x.device.type, enabled=False)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Distances (M, N) of unit embeddings (M, E) and (N, E), without a matrix product, which TF32 rounds."""
    with _without_autocast(a):
        a, b = (F.normalize(texts.float(), dim=-1) for texts in (a, b))
        return torch.cdist(a, b, compute_mode='donot_use_mm_for_euclid_dist')


def _select_concepts(scores: Tensor, concepts: Tensor | None) -> Tensor:
    """Select concepts (B, M) in scores (B, L, N, C); `OTHER` gets the log-sum-exp of all other scores."""
    if concepts is None:
        return scores
    b, n_layers, n, c = scores.shape
    selected = scores.gather(3, concepts.clamp_min(0)[:, None, None].expand(b, n_layers, n, -1))
    is_selected = torch.zeros(b, c + 1, dtype=torch.bool, device=scores.device)
    # The extra last column is for the joint map, OTHER.
    is_selected.scatter_(1, torch.where(concepts == OTHER, c, concepts), True)
    other_scores = scores.masked_fill(is_selected[:, None, None, :c], MASKED).logsumexp(-1, keepdim=True)
    return torch.where((concepts == OTHER)[:, None, None], other_scores, selected)
