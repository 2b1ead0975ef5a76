"""The frozen VLM that is asked where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lfi.registry import EXTRACTORS, MODELS
from lfi.structures import REST, InteractionMaps

from .concept_bank import ConceptBank, concept_names
from .weights import load_vlm


@dataclass(frozen=True)
class PixelFormat:
    """How a batch's pixels were made from RGB values in [0, 255]: (value - mean) / std.

    Args:
        mean: three numbers, in the batch's channel order.
        std: three numbers, likewise.
        rgb: whether the batch's channels are RGB; else BGR.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool


@MODELS.register_module()
class VLMAttentionTeacher:
    """Interaction maps of a frozen open_clip model, or of mmpretrain's BLIP.

    It is no `nn.Module`: it is in no state dict, optimizer or DDP bucket, stays in eval mode, and follows
    the device of its input. The text tower is used once, for the concepts, and freed; of the rest only what
    the extractor reads is kept.

    Args:
        model: an open_clip model name ('ViT-B-16'), a folder with `open_clip_config.json` and weights, a
            teacher that ships with the package ('shapes-tiny'), or BLIP
            ('mmpretrain:blip-base_3rdparty_retrieval').
        pretrained: for a model name, a local weights file or one of open_clip's tags ('openai').
        extractor: config of a registered extractor, such as `dict(type='maskclip')`.
        concepts: the texts to look for, the task's classes first and in its order; or a data set that
            names them, `dict(type='lfi.TinyImageNet', data_root=...)`.
        templates: prompts with `{}` for the concept; their embeddings are averaged.
            Defaults to ('a photo of a {}.',).
        max_concepts: M, how many concepts an image is asked about: its labels, then the teacher's own top
            ones. With fewer than the bank, one more map stands for all others together.
            None asks about the whole bank. Defaults to None.
        input_size: the height and width images are brought to. Defaults to the model's own.
        allow_random: accept random weights, for tests. Defaults to False.

    Raises:
        FileNotFoundError, ValueError, RuntimeError, ImportError: as `load_vlm` and `ConceptBank.encode` say;
            and ValueError for an unknown extractor, or one that does not fit the model.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None = None,
        *,
        extractor: dict,
        concepts: Sequence[str] | dict,
        templates: Sequence[str] = ('a photo of a {}.',),
        max_concepts: int | None = None,
        input_size: int | Sequence[int] | None = None,
        allow_random: bool = False,
    ) -> None:
        names = concept_names(concepts)
        if max_concepts is not None and max_concepts < 1:
            raise ValueError(f'max_concepts={max_concepts} must be at least 1, or None for the whole bank')
        extractor = dict(extractor)
        extractor_type = EXTRACTORS.get(str(extractor.get('type')))
        if extractor_type is None:
            raise ValueError(
                f'extractor.type={extractor.get("type")!r} is unknown; choose from '
                f'{sorted(EXTRACTORS.module_dict)}'
            )
        vlm, tokenizer = load_vlm(model, pretrained, allow_random)
        with torch.no_grad():
            self.bank = ConceptBank.encode(names, templates, lambda texts: vlm.encode_text(tokenizer(texts)))
        self.visual = vlm.visual.to(memory_format=torch.channels_last)
        self.logit_scale = vlm.logit_scale.exp().item()
        del extractor['type']
        self.extractor = extractor_type.from_vlm(vlm, tokenizer, self.bank, **extractor)
        self.map_scale = self.logit_scale if self.extractor.cosines else 1.0
        preprocess = self.visual.preprocess_cfg
        self.mean, self.std = preprocess['mean'], preprocess['std']
        self.input_size = _pair(input_size or preprocess['size'])
        self.max_concepts = None if max_concepts is None or max_concepts >= len(names) else max_concepts
        self._texts = self.bank.embeddings

    def __deepcopy__(self, memo: dict) -> VLMAttentionTeacher:
        # Averaged copies of a student (EMA) share its teacher.
        return self

    def to(self, device: torch.device) -> VLMAttentionTeacher:
        """Move to a device, where it is not there yet."""
        if self._texts.device != device:
            self.extractor.to(device)
            self._texts = self._texts.to(device)
        return self

    @property
    def texts(self) -> Tensor:
        """The concepts' embeddings (C, E), on the device of the latest input."""
        return self._texts

    @torch.no_grad()
    def __call__(
        self,
        inputs: Tensor,
        pixels: PixelFormat,
        labels: Tensor | None = None,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> InteractionMaps:
        """Read the maps of a batch, on the teacher's own grid over each image's valid area.

        Args:
            inputs: (B, 3, H, W), as the student gets it.
            pixels: how its pixels were made.
            labels: (B, C) in [0, 1], the images' labels among the concepts.
            valid_sizes: height and width of each image's area at the top left that is no padding.
                Defaults to all of it.

        Returns:
            Maps of M concepts, or of M + 1 with `max_concepts`, of which the last is `REST`. Cosines are
            scaled as the model's own image-text logits. Presence is the larger of the label and the
            teacher's own probability of the concept.
        """
        self.to(inputs.device)
        images = self._prepare(inputs, pixels, valid_sizes)
        maps, pooled = self.extractor(images, self._texts)
        maps = self.map_scale * maps.float()  # [B, L, C, h, w]
        with torch.autocast(inputs.device.type, enabled=False):
            scores = self.logit_scale * pooled.float() @ self._texts.T  # [B, C]
        presence = scores.softmax(-1)
        if labels is not None:
            presence = torch.maximum(presence, labels.to(presence))
        b, n_layers, _, h, w = maps.shape
        whole = InteractionMaps(
            logits=maps,
            presence=presence,
            valid=torch.ones(b, h, w, dtype=torch.bool, device=maps.device),
            layers=tuple(range(-n_layers, 0)),
            directions=self.extractor.directions,
        )
        return whole if self.max_concepts is None else _keep(whole, presence, labels, self.max_concepts)

    def _prepare(
        self, inputs: Tensor, pixels: PixelFormat, valid_sizes: Sequence[tuple[int, int]] | None
    ) -> Tensor:
        if not pixels.rgb:
            inputs = inputs.flip(1)
        # Undoing the student's normalisation and applying the teacher's is one affine step a channel.
        order = slice(None) if pixels.rgb else slice(None, None, -1)
        scale = [s / 255 / t for s, t in zip(pixels.std[order], self.std)]
        shift = [(m / 255 - t) / s for m, t, s in zip(pixels.mean[order], self.mean, self.std)]
        images = inputs.float() * inputs.new_tensor(scale).view(3, 1, 1) + inputs.new_tensor(shift).view(
            3, 1, 1
        )
        full = tuple(images.shape[-2:])
        if valid_sizes is None or all(size == full for size in valid_sizes):
            return _resize(images, self.input_size)
        crops = [
            _resize(image[None, :, :h, :w], self.input_size) for image, (h, w) in zip(images, valid_sizes)
        ]
        return torch.cat(crops)


def _keep(maps: InteractionMaps, scores: Tensor, labels: Tensor | None, m: int) -> InteractionMaps:
    """The m concepts of each image that its labels name, then that score highest, and the rest as one."""
    # A label comes first, however little of a mixed image it stands for.
    rank = scores if labels is None else scores + (labels > 0)
    index = rank.topk(m, dim=1).indices  # [B, m]
    kept = maps.gather(index)
    taken = torch.zeros_like(maps.presence, dtype=torch.bool).scatter_(1, index, True)
    others = maps.logits.masked_fill(taken[:, None, :, None, None], float('-inf'))
    rest = others.logsumexp(2, keepdim=True)  # [B, L, 1, h, w]
    return InteractionMaps(
        logits=torch.cat((kept.logits, rest), 2),
        presence=F.pad(kept.presence, (0, 1)),
        valid=maps.valid,
        concepts=F.pad(kept.concepts, (0, 1), value=REST),
        layers=maps.layers,
        directions=maps.directions,
    )


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode='bicubic', align_corners=False, antialias=True)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
