"""What of a student learns: DDP wants a gradient for every trainable parameter, each step."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from lfi.models.readout import InteractionReadout


def freeze_unread(backbone: nn.Module, readout: InteractionReadout | None, reads: Collection[str]) -> None:
    """Freeze what of a student no supervision part reads.

    Args:
        backbone: the student's. One's own need have neither queries nor an adapter's layers.
        readout: the student's, or None.
        reads: the union of what the parts read, of `lfi.models.supervision.part.READS`.
    """
    asked = 'attention' in reads or 'presence' in reads
    if readout is not None:
        compared = 'concept_scores' in reads or 'presence' in reads
        for modules, is_read in (
            ((readout.patch_norm, readout.patch_head), compared),
            ((readout.presence_norm, readout.presence_head), 'presence' in reads),
            ((readout.question_head,), asked),
        ):
            for module in modules:
                module.requires_grad_(is_read)
    queries = getattr(backbone, 'interaction_queries', None)
    if queries is not None and getattr(backbone, 'write_back', None) == 'none':
        # No patch reads them.
        queries.requires_grad_(False)
    added = getattr(backbone, 'interaction', None)
    if added is None or added.queries is not None:
        # A ViT's blocks share their weights with the patches, and learned queries train an adapter's.
        return
    for layer in added.layers:
        layer.ln1.requires_grad_(asked)
        layer.attn.requires_grad_(asked)
        layer.project_map.requires_grad_(bool(asked or {'concept_scores', 'locations'} & {*reads}))
    if asked and 'presence' not in reads:
        # Of what the last layer does the attention alone counts.
        added.layers[-1].attn.proj.requires_grad_(False)
