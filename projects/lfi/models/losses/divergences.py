"""Divergences between two distributions given as log-probabilities along one axis."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def kl(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """KL(teacher || student), in nats."""
    return (teacher.exp() * (teacher - student)).sum(dim)


def js(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """Jensen-Shannon divergence, in nats: 0 to log 2."""
    mean = torch.logaddexp(student, teacher) - math.log(2)
    return (kl(mean, teacher, dim) + kl(mean, student, dim)) / 2


def mse(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """Squared distance of the probabilities (Brier score): 0 to 2."""
    return (student.exp() - teacher.exp()).square().sum(dim)


def cosine(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """One minus the cosine of the probabilities: 0 to 1."""
    return 1 - F.cosine_similarity(student.exp(), teacher.exp(), dim=dim)


DIVERGENCES = {f.__name__: f for f in (kl, js, mse, cosine)}
