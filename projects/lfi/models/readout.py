"""From the student's recorded states to its interaction maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from lfi.models.backbones import InteractionStates
from lfi.registry import MODELS
from lfi.structures import MASKED, REST, InteractionMaps

ASSIGNS = ('soft', 'index', 'hungarian')


@MODELS.register_module()
class InteractionReadout(BaseModule):
    """Reads the student's interaction maps for given concepts, in both directions.

    Over positions, concept m is a mixture of the queries' attention: sum_k a_mk softmax_patches(q_k .
    k_patch). Over concepts, each patch token of a supervised layer is compared with the concepts by one
    bilinear head: concept_scale / sqrt(C) * LN(patch) . w_c, w_c = W t_c at unit length. W acts on the texts
    and not on the patches, so that nothing as wide as the text space is computed for each patch. For
    training and open-vocabulary use only.

    Args:
        embed_dims: C, the student's width.
        text_dims: E, the width of the teacher's text space.
        assign: how queries stand for concepts: 'soft', a_m = softmax_k(cos(e_k, t_m) /
            assign_temperature), e_k the query's final state in the text space; 'index', query m is
            concept m of the bank; 'hungarian', the best one-to-one matching by cos(e_k, t_m), and a
            concept left without a query takes the nearest. Defaults to 'soft'.
        assign_temperature: of the soft assignment and of `class_scores`. Defaults to 0.1.
        concept_scale: of the patches' scores. Defaults to 15.

    Raises:
        ValueError: if `assign` is unknown.
    """

    def __init__(
        self,
        embed_dims: int,
        text_dims: int,
        assign: str = 'soft',
        assign_temperature: float = 0.1,
        concept_scale: float = 15.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if assign not in ASSIGNS:
            raise ValueError(f'assign={assign!r} is unknown; choose from {ASSIGNS}')
        self.text_dims = text_dims
        self.assign = assign
        self.assign_temperature = assign_temperature
        self.concept_scale = concept_scale
        self.query_head = nn.Linear(embed_dims, text_dims)
        self.patch_norm = nn.LayerNorm(embed_dims)
        self.patch_head = nn.Linear(text_dims, embed_dims, bias=False)

    def check_bank(self, num_concepts: int, text_dims: int, num_queries: int) -> None:
        """Check that a concept bank fits.

        Raises:
            ValueError: if the text spaces differ in width, or `assign='index'` lacks queries.
        """
        if text_dims != self.text_dims:
            raise ValueError(
                f'readout.text_dims={self.text_dims}, but the teacher embeds its texts in {text_dims} dims'
            )
        if self.assign == 'index' and num_queries < num_concepts:
            raise ValueError(
                f"assign='index' needs a query for each concept: num_queries={num_queries} of the backbone "
                f'is below the {num_concepts} concepts of the bank'
            )

    def query_embeddings(self, states: InteractionStates) -> Tensor:
        """e_k: the queries' final states in the text space, unit length, float32 (B, K, E)."""
        return F.normalize(self.query_head(states.queries).float(), dim=-1)

    def text_to_image(
        self, states: InteractionStates, queries: Tensor, texts: Tensor, like: InteractionMaps
    ) -> InteractionMaps:
        """The text->image reading: maps with `directions=('positions',)`.

        Args:
            states: what the backbone recorded.
            queries: (B, K, E) of `query_embeddings`.
            texts: (C, E), the concepts' unit embeddings.
            like: maps that name the concepts, and give presence and valid locations on the same grid.
        """
        attention = torch.stack(states.attention, 1)  # [B, L, K, N]
        with _float32(queries):
            assignment = self._assign(queries, texts, like)  # [B, M, K]
            mixture = torch.einsum('bmk,blkn->blmn', assignment, attention)
        return InteractionMaps(
            logits=mixture.clamp_min(1e-12).log().unflatten(-1, states.grid),
            presence=like.presence,
            valid=like.valid,
            concepts=like.concepts,
            layers=states.layers,
            directions=('positions',),
        )

    def image_to_text(
        self, states: InteractionStates, texts: Tensor, like: InteractionMaps
    ) -> InteractionMaps:
        """The image->text reading: maps with `directions=('concepts',)`. Arguments as `text_to_image`."""
        scale = self.concept_scale * self.patch_norm.normalized_shape[0] ** -0.5
        with _float32(texts):
            weights = scale * F.normalize(self.patch_head(texts), dim=-1)  # [C, D]
            # The class token goes along and is cut off at the end, where there is less to copy.
            by_layer = [self.patch_norm(tokens.float()) @ weights.T for tokens in states.tokens]
            n = states.grid[0] * states.grid[1]
            scores = torch.stack([of_layer[:, -n:] for of_layer in by_layer], 1)  # [B, L, N, C]
        return InteractionMaps(
            logits=_pick(scores, like.concepts).mT.unflatten(-1, states.grid),
            presence=like.presence,
            valid=like.valid,
            concepts=like.concepts,
            layers=states.layers,
            directions=('concepts',),
        )

    def class_scores(self, queries: Tensor, texts: Tensor) -> Tensor:
        """Open-vocabulary class scores logsumexp_k(cos(e_k, t_c) / assign_temperature), (B, C)."""
        with _float32(queries):
            return (queries @ texts.T / self.assign_temperature).logsumexp(1)

    def _assign(self, queries: Tensor, texts: Tensor, like: InteractionMaps) -> Tensor:
        b, m = like.presence.shape
        k = queries.shape[1]
        if like.concepts is None:
            concepts = torch.arange(m, device=queries.device).expand(b, m)
        else:
            concepts = like.concepts
        if self.assign == 'index':
            # The rest has no query of its own, and presence 0: any will do.
            return F.one_hot(concepts.clamp_min(0), k).float()
        cosine = texts[concepts.clamp_min(0)] @ queries.mT  # [B, M, K]
        if self.assign == 'soft':
            return (cosine / self.assign_temperature).softmax(-1)
        # The rest takes no query away from a concept.
        cosine = cosine.detach().masked_fill((concepts == REST)[..., None], MASKED)
        return F.one_hot(_match(cosine), k).float()


def _float32(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)


def _pick(scores: Tensor, concepts: Tensor | None) -> Tensor:
    """Scores (B, L, N, C) of the concepts (B, M); `REST` is the log-sum-exp of all others."""
    if concepts is None:
        return scores
    b, n_layers, n, c = scores.shape
    picked = scores.gather(3, concepts.clamp_min(0)[:, None, None].expand(b, n_layers, n, -1))
    taken = torch.zeros(b, c + 1, dtype=torch.bool, device=scores.device)
    # REST's own mark falls into the extra last column.
    taken.scatter_(1, torch.where(concepts == REST, c, concepts), True)
    rest = scores.masked_fill(taken[:, None, None, :c], MASKED).logsumexp(-1, keepdim=True)
    return torch.where((concepts == REST)[:, None, None], rest, picked)


def _match(cosine: Tensor) -> Tensor:
    """The query of each concept, (B, M), for cosines (B, M, K)."""
    nearest = cosine.argmax(-1).cpu()
    for b, image in enumerate(cosine.cpu().numpy()):
        concepts, queries = linear_sum_assignment(image, maximize=True)
        nearest[b, torch.from_numpy(concepts)] = torch.from_numpy(queries)
    return nearest.to(cosine.device)
