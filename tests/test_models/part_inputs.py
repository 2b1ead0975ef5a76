"""Supervision parts alone, and what a student and a teacher give them."""

import torch
from lfi.models.backbones import InteractionStates
from lfi.models.supervision import StudentOutputs, StudentWidths, SupervisionPart
from lfi.registry import MODELS
from lfi.structures import BatchView, ImageFeatures, StudentGrid, Targets


def build(
    kind: str, tokens: int = 8, vector: int = 8, texts: int = 6, classes: int = 5, **arguments
) -> SupervisionPart:
    """A seeded part of a type, with the heads that a student of these widths gives it."""
    torch.manual_seed(0)
    part = MODELS.build(dict(type=kind, **arguments))
    part.build_heads(StudentWidths(tokens, vector, lambda: texts, classes))
    return part


def features(dims: int, grid=(4, 4), seed=0, b=3, classes=5) -> ImageFeatures:
    """Normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return ImageFeatures(
        pooled=torch.randn(b, dims, generator=generator),
        scores=3 * torch.randn(b, classes, generator=generator),
        locations=torch.randn(b, dims, *grid, generator=generator),
    )


def outputs_of(student: ImageFeatures, valid: torch.Tensor | None = None) -> StudentOutputs:
    """What a student has made whose vector, scores and patch tokens these are."""
    tokens, grid = student.locations.flatten(2).mT, tuple(student.locations.shape[-2:])
    states = InteractionStates(None, (), (tokens,), (0,), grid, None if valid is None else valid.flatten(1))
    return StudentOutputs(states, student.pooled, student.scores)


def read(part: SupervisionPart, teacher: ImageFeatures):
    """What a part reads of a teacher's features on the student's grid, of images that fill it."""
    b, _, h, w = teacher.locations.shape
    size = (8 * h, 8 * w)
    batch = BatchView.raw(torch.zeros(b, 3, *size), [size] * b)
    return part.target_of(
        Targets(features=teacher, class_scores=teacher.scores), batch, StudentGrid((h, w), size)
    )


def compare(part: SupervisionPart, student: ImageFeatures, teacher: ImageFeatures) -> dict[str, torch.Tensor]:
    """The part's losses."""
    return part(outputs_of(student), read(part, teacher))
