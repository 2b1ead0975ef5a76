"""What a teacher says of images, in each way that it can be read."""

from __future__ import annotations

import torch
from mmengine.model.utils import stack_batch
from torch import Tensor
from torch.nn import functional as F

from lfi.models.teachers import PixelFormat, VLMAttentionTeacher
from lfi.structures import InteractionMaps, TeacherReading


def ask(teacher: VLMAttentionTeacher, images: list[Tensor], device: torch.device) -> InteractionMaps:
    """The teacher's maps of images (3, H, W), which are padded to one size."""
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    inputs = stack_batch(images).float().to(device)
    maps = teacher(inputs, PixelFormat.raw(), valid_sizes=sizes)
    return maps.to('cpu')


def in_bank_order(maps: InteractionMaps) -> InteractionMaps:
    """Maps of all concepts, in the order of the bank; the background's stands last."""
    if maps.concepts is None:
        return maps
    order = maps.concepts[:, :-1].argsort(1)
    return maps.gather(F.pad(order, (0, 1), value=order.shape[1]))


def readings(maps: InteractionMaps) -> dict[str, Tensor]:
    """The concepts' maps (B, L, M, H, W), by each reading over locations that the teacher has."""
    found = {'scores': maps.logits}
    if 'concepts' in maps.directions:
        found['share'] = maps.over_concepts().exp()
    return found


def presences(maps: InteractionMaps) -> dict[str, Tensor]:
    """The concepts' presence (B, M), by each way in which the teacher tells it."""
    ways = ('image', 'best-location') if 'concepts' in maps.directions else ('image',)
    return {way: TeacherReading('scores', way)(maps).presence for way in ways}
