"""A frozen VLM that is asked where concepts are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

from lfi.concepts import (
    ConceptBank,
    concept_names,
    prompt_templates,
    repetition,
    warn_of_same_embeddings,
)
from lfi.registry import EXTRACTORS, TEACHERS, type_of
from lfi.structures import BatchView, ImageFeatures, InteractionMaps, PixelFormat, numbers_like
from lfi.utils.options import check_flags

from .asked_concepts import asked_at_once, topk_concepts
from .batch_norms import fold_batch_norms
from .embedding_check import EmbeddingCheck
from .extractors.base import DenseExtractor, JudgingExtractor
from .families import chosen_extractor
from .loading.weights import load_vlm
from .teacher import Teacher

# Times the area of the input size: larger images are prepared one by one.
LARGE = 4


@TEACHERS.register_module()
class VLMAttentionTeacher(Teacher):
    """Interaction maps of a frozen open_clip model, of mmpretrain's BLIP, or of a generative VLM.

    It is no `nn.Module`: it is in no state dict, optimizer or DDP bucket. It stays in eval mode and follows
    the device of its input. The text tower embeds the concepts once and is freed; of the rest only what the
    extractor reads is kept.

    Args:
        model: an open_clip model name ('ViT-B-16'), a folder with `open_clip_config.json` and weights, a
            teacher that ships with the package ('shapes-tiny'), BLIP
            ('mmpretrain:blip-base_3rdparty_retrieval'), or a generative VLM ('transformers:FOLDER_OR_NAME');
            or the config of a `DualEncoder` of one's own.
        pretrained: for a model name, one of open_clip's tags ('openai'), or a file as `weights_file`.
            Defaults to None.
        weights_file: a local file of weights: the tag's, which then need not be fetched; or, without a tag,
            of weights whose mean, std and activation open_clip knows, or that states them,
            `dict(path=..., mean=[...], std=[...], quick_gelu=False)`. Defaults to None.
        extractor: config of a registered extractor, `dict(type='gem', depth=4)`, or its name alone. Defaults
            to 'auto', the one for the model's family (`family_of`).
        concepts: the texts to ask about, the task's classes first and in its order; or what names them,
            `dict(type='lfi.TinyImageNet', data_root=...)`, as `concept_names` says.
        background: texts for what is none of the concepts, such as 'sky' or 'wall'. They compete with the
            concepts, and are never asked about alone: they join the concepts that are not asked about.
            Defaults to ().
        templates: prompts with `{}` for the concept, whose embeddings are averaged; or the name of an
            ensemble, 'openai' (80 prompts) or 'simple' (7). Defaults to ('a photo of a {}.',).
        max_concepts: M, how many concepts an image is asked about: its labels, then the teacher's own top
            ones. None asks about all of them. Defaults to None.
        input_size: height and width in pixels that images are resized to, or one number for both; a ViT's
            position embeddings are interpolated to it. The model's own is made one of whole patches (378 for
            SigLIP's 384 in patches of 14), so that maps cover the image. Defaults to None, the model's own.
        allow_random: accept random weights, for tests. Defaults to False.

    Raises:
        FileNotFoundError, ValueError, RuntimeError, ImportError: as `load_vlm`, `ConceptBank.encode` and
            `chosen_extractor` say; ValueError for an argument out of its range, an unknown extractor, or one
            that does not fit the model or, as `EmbeddingCheck` finds, misreads it.
    """

    def __init__(
        self,
        model: str | Mapping,
        pretrained: str | None = None,
        *,
        weights_file: str | Path | dict | None = None,
        extractor: dict | str = 'auto',
        concepts: Sequence[str] | dict,
        background: Sequence[str] = (),
        templates: Sequence[str] | str = ('a photo of a {}.',),
        max_concepts: int | None = None,
        input_size: int | Sequence[int] | None = None,
        allow_random: bool = False,
    ) -> None:
        check_flags(allow_random=allow_random)
        names, templates = concept_names(concepts), prompt_templates(templates)
        # A student that is shared has its data set's classes as a list.
        if not isinstance(concepts, Mapping) and (said := repetition(names, 'concepts')):
            print_log(said, 'current', logging.WARNING)
        if max_concepts is not None and (type(max_concepts) is not int or max_concepts < 1):
            raise ValueError(f'max_concepts={max_concepts!r} must be a whole number above 0, or None for all')
        chosen = chosen_extractor(extractor, model)
        extractor_type = type_of(chosen, EXTRACTORS, 'extractor')
        vlm, tokenizer = load_vlm(model, pretrained, allow_random, weights_file)
        with torch.no_grad():
            self.bank = ConceptBank.encode(
                names, templates, lambda texts: vlm.encode_text(tokenizer(texts)), background
            )
        warn_of_same_embeddings(self.bank.names, self.bank.embeddings)
        check = EmbeddingCheck(vlm)
        fold_batch_norms(vlm.visual)
        self.visual = vlm.visual.to(memory_format=torch.channels_last)
        self.logit_scale = vlm.logit_scale.exp().item()
        bias = getattr(vlm, 'logit_bias', None)
        self.logit_bias = None if bias is None else bias.item()
        options = {key: value for key, value in chosen.items() if key != 'type'}
        try:
            self.extractor = extractor_type.from_vlm(vlm, tokenizer, self.bank, **options)
        except TypeError as error:
            raise TypeError(f'teacher.extractor: {error}') from error
        check(self.extractor, self.bank.embeddings, str(model))
        self.map_scale = self.logit_scale if self.extractor.cosines else 1.0
        preprocess = self.visual.preprocess_cfg
        self.mean, self.std = preprocess['mean'], preprocess['std']
        self.interpolation = interpolation_of(preprocess)
        size = _pair(preprocess['size'] if input_size is None else input_size)
        self.input_size = self.extractor.whole_size(size)
        if input_size is not None:
            self.extractor.check_size(self.input_size, self.bank.embeddings)
        self.max_concepts = asked_at_once(self.bank, max_concepts)
        self._texts = self.bank.embeddings

    def to(self, device: torch.device) -> VLMAttentionTeacher:
        """Move to a device, unless it is there already."""
        if self._texts.device != device:
            self.extractor.to(device)
            self._texts = self._texts.to(device)
        return self

    @property
    def directions(self) -> tuple[str, ...]:
        """The readings that its maps have."""
        return self.extractor.directions

    @property
    def own_presence(self) -> str:
        """What the presence of its maps is, for tables.

        A model that was trained with a bias (SigLIP: Zhai et al., ICCV 2023, section 3.2) judges each
        concept by itself, by sigmoid(scale * cosine + bias), and a generative VLM by its answer; for others
        the concepts of the bank compete.
        """
        if isinstance(self.extractor, JudgingExtractor):
            return 'the answer, concept by concept'
        return 'softmax over the bank' if self.logit_bias is None else 'sigmoid, concept by concept'

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
            inputs: (B, 3, H, W), as the student gets them.
            pixels: how their pixels were made.
            labels: (B, C) in [0, 1], the images' labels among the concepts: they come first among those that
                an image is asked about.
            valid_sizes: height and width in pixels of each image's area at the top left that is not padding.
                Defaults to None, all of it.

        Returns:
            Maps of M concepts. Where these are not all of the bank, the last map is `OTHER`, the log-sum-exp
            of all others. Cosines are scaled as the model's own image-text logits. Presence is what
            `own_presence` says.
        """
        return self.asked(self.maps_of_all(inputs, pixels, valid_sizes), labels)

    @torch.no_grad()
    def maps_of_all(
        self,
        inputs: Tensor,
        pixels: PixelFormat,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> InteractionMaps:
        """Read the maps of all concepts of the bank, whatever `max_concepts` is; else as a call."""
        self.to(inputs.device)
        images = self._prepare(inputs, pixels, valid_sizes)
        if isinstance(self.extractor, JudgingExtractor):
            maps, presence = self.extractor.judge(images)
        else:
            maps, pooled = self.extractor(images, self._texts)
            presence = self._presence(pooled)
        with torch.autocast(inputs.device.type, enabled=False):
            maps = self.map_scale * maps.float()  # [B, L, C, h, w]
        b, n_layers, _, h, w = maps.shape
        return InteractionMaps(
            logits=maps,
            presence=presence,
            valid=torch.ones(b, h, w, dtype=torch.bool, device=maps.device),
            layers=tuple(range(-n_layers, 0)),
            directions=self.extractor.directions,
        )

    def asked(self, maps: InteractionMaps, labels: Tensor | None = None) -> InteractionMaps:
        """What a call gives, of the maps of all concepts of the bank; labels as there."""
        return (
            maps if self.max_concepts is None else topk_concepts(maps, labels, self.bank, self.max_concepts)
        )

    def _presence(self, pooled: Tensor) -> Tensor:
        """The presence (B, C) of all concepts, by the images' embeddings (B, E)."""
        with torch.autocast(pooled.device.type, enabled=False):
            scores = self.logit_scale * pooled.float() @ self._texts.T
            return scores.softmax(-1) if self.logit_bias is None else (scores + self.logit_bias).sigmoid()

    def ask(self, view: BatchView) -> InteractionMaps:
        """The maps of a batch's views, as a call gives them."""
        return self(view.inputs, view.pixels, view.labels, view.valid_sizes)

    def features_of(self, view: BatchView) -> ImageFeatures:
        """The features of a batch's views, as `features` gives them."""
        return self.features(view.inputs, view.pixels, view.valid_sizes)

    @torch.no_grad()
    def features(
        self,
        inputs: Tensor,
        pixels: PixelFormat,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> ImageFeatures:
        """Read the image tower's features of a batch, in one pass at the input size.

        Args:
            inputs: (B, 3, H, W), as the student gets them.
            pixels: how their pixels were made.
            valid_sizes: as of a call. Defaults to None, all of each image.

        Returns:
            The images' embeddings of unit length, their zero-shot logits of the bank's concepts, and the
            features of each location in the joint space, all float32.

        Raises:
            ValueError: if the extractor reads no features of locations.
        """
        if not isinstance(self.extractor, DenseExtractor):
            raise ValueError(
                f'{type(self.extractor).__name__} has no features of locations to copy: use '
                "teacher.extractor 'dense' for CNN trunks, 'maskclip' or 'clearclip' for ViTs"
            )
        self.to(inputs.device)
        locations, pooled = self.extractor.features(self._prepare(inputs, pixels, valid_sizes))
        with torch.autocast(inputs.device.type, enabled=False):
            pooled = F.normalize(pooled.float(), dim=-1)
            scores = self.logit_scale * pooled @ self._texts.T
        return ImageFeatures(pooled, scores, locations[:, -1].float())

    def _prepare(
        self,
        inputs: Tensor,
        pixels: PixelFormat,
        valid_sizes: Sequence[tuple[int, int]] | None,
    ) -> Tensor:
        """Images of any sizes as the tower takes them, (B, 3) + `input_size`."""
        # Undoing the student's normalisation and applying the teacher's is one affine step a channel.
        order = slice(None) if pixels.rgb else slice(None, None, -1)
        scales = [s / 255 / t for s, t in zip(pixels.std[order], self.std)]
        shifts = [(m / 255 - t) / s for m, t, s in zip(pixels.mean[order], self.mean, self.std)]
        number = inputs.new_empty(0, dtype=torch.float32)
        scale, shift = (numbers_like(values, number).view(3, 1, 1) for values in (scales, shifts))

        def as_seen(images: Tensor) -> Tensor:
            images = (images if pixels.rgb else images.flip(1)).float()
            return _resize(images * scale + shift, self.input_size, self.interpolation)

        height, width = inputs.shape[-2:]
        complete = valid_sizes is None or all(size == (height, width) for size in valid_sizes)
        if complete and height * width <= LARGE * self.input_size[0] * self.input_size[1]:
            return as_seen(inputs)
        # One by one: 64 photos of 24 megapixels are 18 GB in float32.
        sizes = valid_sizes or [(height, width)] * len(inputs)
        crops = (image[None, :, :h, :w] for image, (h, w) in zip(inputs, sizes))
        return torch.cat([as_seen(crop) for crop in crops])


def interpolation_of(preprocess: Mapping) -> str:
    """The mode of `F.interpolate` that a preprocessing config of open_clip means; 'random' is bicubic.

    Raises:
        ValueError: if there is no such mode.
    """
    mode = preprocess.get('interpolation', 'bicubic')
    found = {'bicubic': 'bicubic', 'bilinear': 'bilinear', 'random': 'bicubic'}.get(mode)
    if found is None:
        raise ValueError(f"preprocess_cfg.interpolation={mode!r} must be 'bicubic' or 'bilinear'")
    return found


def _resize(images: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode=mode, align_corners=False, antialias=True)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(f'input_size={size!r} must be a whole number of pixels above 0, or two')
    return pair[0], pair[1]
