"""Freezing of unused parameters: DDP needs a gradient for every trainable parameter in each step."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from lfi.models.readout import InteractionReadout


def freeze_unused(backbone: nn.Module, readout: InteractionReadout | None, outputs: Collection[str]) -> None:
    """Freeze the parameters of backbone and read-out that no supervision part trains.

    Args:
        backbone: backbone of the student, with or without queries.
        readout: read-out of the student, or None.
        outputs: outputs that the parts read, a subset of `lfi.models.supervision.part.OUTPUT_NAMES`.
    """
    trains_queries = 'attention' in outputs or 'presence' in outputs
    if readout is not None:
        trains_patches = 'concept_scores' in outputs or 'presence' in outputs
        for modules, is_trained in (
            ((readout.patch_norm, readout.patch_head), trains_patches),
            ((readout.presence_norm, readout.presence_head), 'presence' in outputs),
            ((readout.question_head,), trains_queries),
        ):
            for module in modules:
                module.requires_grad_(is_trained)
    queries = getattr(backbone, 'interaction_queries', None)
    if queries is not None and getattr(backbone, 'write_back', None) == 'none':
        # No patch reads the queries.
        queries.requires_grad_(False)
    adapter = getattr(backbone, 'interaction', None)
    if adapter is None or adapter.queries is not None:
        # A ViT's queries share the patches' weights; learned queries train all layers of an adapter.
        return
    for layer in adapter.layers:
        layer.ln1.requires_grad_(trains_queries)
        layer.attn.requires_grad_(trains_queries)
        layer.project_map.requires_grad_(bool(trains_queries or {'concept_scores', 'locations'} & {*outputs}))
    if trains_queries and 'presence' not in outputs:
        # No part reads the output of the last layer, only its attention.
        adapter.layers[-1].attn.proj.requires_grad_(False)
