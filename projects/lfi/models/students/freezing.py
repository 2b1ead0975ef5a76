"""Freezing of unused parameters: DDP needs a gradient for every trainable parameter in each step."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from lfi.models.readout import InteractionReadout


def freeze_unread(backbone: nn.Module, readout: InteractionReadout | None, outputs: Collection[str]) -> None:
    """Freeze the parameters of backbone and read-out that no supervision part reads.

    Args:
        backbone: backbone of the student, with or without queries.
        readout: read-out of the student, or None.
        outputs: outputs that the parts read, of `lfi.models.supervision.part.STUDENT_OUTPUTS`.
    """
    trains_queries = 'attention' in outputs or 'presence' in outputs
    if readout is not None:
        compared = 'concept_scores' in outputs or 'presence' in outputs
        for modules, is_read in (
            ((readout.patch_norm, readout.patch_head), compared),
            ((readout.presence_norm, readout.presence_head), 'presence' in outputs),
            ((readout.question_head,), trains_queries),
        ):
            for module in modules:
                module.requires_grad_(is_read)
    queries = getattr(backbone, 'interaction_queries', None)
    if queries is not None and getattr(backbone, 'write_back', None) == 'none':
        # No patch reads the queries.
        queries.requires_grad_(False)
    adapter = getattr(backbone, 'interaction', None)
    if adapter is None or adapter.queries is not None:
        # Queries of a ViT share the weights of the patches. Learned queries train the layers of an adapter.
        return
    for layer in adapter.layers:
        layer.ln1.requires_grad_(trains_queries)
        layer.attn.requires_grad_(trains_queries)
        layer.project_map.requires_grad_(bool(trains_queries or {'concept_scores', 'locations'} & {*outputs}))
    if trains_queries and 'presence' not in outputs:
        # Of the last layer only the attention is read.
        adapter.layers[-1].attn.proj.requires_grad_(False)
