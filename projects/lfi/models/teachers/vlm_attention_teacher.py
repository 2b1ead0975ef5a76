"""Teacher that reads the interaction maps of a frozen VLM by an extractor."""

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
    duplicates_message,
    prompt_templates,
    warn_about_equal_embeddings,
)
from lfi.registry import EXTRACTORS, TEACHERS, resolve_type
from lfi.structures import BatchView, ImageFeatures, InteractionMaps, PixelFormat, tensor_like
from lfi.utils.options import check_flags

from .asked_concepts import check_max_concepts, num_asked_concepts, topk_concepts
from .batch_norms import fold_batch_norms
from .embedding_check import EmbeddingCheck
from .extractors.base import DenseExtractor, PresenceExtractor
from .families import resolve_extractor
from .loading.weights import load_vlm
from .names_presence import NamesPresence
from .teacher import Teacher

# Images with more than this many times the pixels of `input_size` are prepared one by one.
MAX_AREA_RATIO = 4


@TEACHERS.register_module()
class VLMAttentionTeacher(Teacher):
    """Teacher that is a frozen open_clip model, mmpretrain's BLIP, or a generative VLM.

    Despite its name, the class reads what its extractor reads: cosines at locations, attention, or answers.
    The teacher stays in eval mode and follows the device of its input. The text tower embeds the concepts
    once. It is then freed, like all other parts that the extractor does not read.

    Args:
        model: name of an open_clip model ('ViT-B-16'), a folder with `open_clip_config.json` and weights, a
            teacher that ships with the package ('shapes-tiny'), BLIP
            ('mmpretrain:blip-base_3rdparty_retrieval'), a generative VLM ('transformers:FOLDER_OR_NAME'), or
            the config of a custom `DualEncoder`.
        pretrained: only if `model` is the name of an open_clip model: a tag of open_clip ('openai'), or a
            file of weights, with the same effect as `weights_file`. Defaults to None.
        weights_file: local file of weights. If `pretrained` is a tag, the file must be a copy of the tag's
            weights, and nothing is downloaded. Without a tag, give also the mean and std of the image
            normalisation and the activation, `dict(path=..., mean=[...], std=[...], quick_gelu=False)`,
            unless an `open_clip_config.json` beside the file has them, or all of open_clip's tags of the
            model agree in them. Defaults to None.
        extractor: name or config of a registered extractor, such as `dict(type='gem', depth=4)`. Defaults to
            'auto', the extractor for the model's family (`family_of`).
        concepts: texts to ask about, the task's classes first and in the task's order; or a config that
            `concept_names` resolves, such as `dict(type='lfi.TinyImageNet', data_root=...)`.
        background: texts for everything that is no concept, such as 'sky' or 'wall'. They compete with the
            concepts and have no maps of their own. The joint map of all texts that an image is not asked
            about (`lfi.structures.OTHER`) includes them. Defaults to ().
        templates: prompts with `{}` for the concept, whose embeddings are averaged; or the name of an
            ensemble, 'openai' (80 prompts) or 'simple' (7). Defaults to ('a photo of a {}.',).
        max_concepts: M, number of concepts to ask about per image: its labels, then the teacher's top
            concepts. Defaults to None, all concepts.
        presence_against: what a concept competes with for presence, if the model compares texts: 'bank', all
            texts of the bank; or 'names', 100 names of ImageNet (see `NamesPresence`), so that presence does
            not depend on the other concepts. Models that judge each text by itself ignore the option.
            Defaults to 'bank'.
        input_size: height and width in pixels that images are resized to, or one number for both. A ViT's
            position embeddings are interpolated. The model's own size is reduced to whole patches (378 for
            SigLIP's 384 in patches of 14), so that maps cover the image. Defaults to None, the model's own.
        allow_random: accept random weights, for tests. Defaults to False.

    Raises:
        FileNotFoundError, RuntimeError, ImportError: if the model or its tokenizer cannot be loaded.
        ValueError: if an argument is out of range, or the extractor is unknown, does not fit the model, or
            fails `EmbeddingCheck`.
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
        presence_against: str = 'bank',
        input_size: int | Sequence[int] | None = None,
        allow_random: bool = False,
    ) -> None:
        check_flags(allow_random=allow_random)
        if presence_against not in ('bank', 'names'):
            raise ValueError(f"presence_against={presence_against!r} must be 'bank' or 'names'")
        names, templates = concept_names(concepts), prompt_templates(templates)
        # Duplicates give a warning, no error: two classes of a published student's data set may share a name.
        if not isinstance(concepts, Mapping) and (warning := duplicates_message(names, 'concepts')):
            print_log(warning, 'current', logging.WARNING)
        check_max_concepts(max_concepts)
        extractor_config = resolve_extractor(extractor, model)
        extractor_type = resolve_type(extractor_config, EXTRACTORS, 'extractor')
        vlm, tokenizer = load_vlm(model, pretrained, allow_random, weights_file)
        bias = getattr(vlm, 'logit_bias', None)
        self.logit_bias = None if bias is None else bias.item()

        def encode(texts: list[str]) -> Tensor:
            return vlm.encode_text(tokenizer(texts))

        compares_texts = bias is None and not issubclass(extractor_type, PresenceExtractor)
        self.names_presence = None
        with torch.no_grad():
            self.bank = ConceptBank.encode(names, templates, encode, background)
            if presence_against == 'names' and compares_texts:
                self.names_presence = NamesPresence(encode, templates)
        warn_about_equal_embeddings(self.bank.names, self.bank.embeddings)
        check_embeddings = EmbeddingCheck(vlm)
        fold_batch_norms(vlm.visual)
        self.visual = vlm.visual.to(memory_format=torch.channels_last)
        self.logit_scale = vlm.logit_scale.exp().item()
        options = {key: value for key, value in extractor_config.items() if key != 'type'}
        try:
            self.extractor = extractor_type.from_vlm(vlm, tokenizer, self.bank, **options)
        except TypeError as error:
            raise TypeError(f'teacher.extractor: {error}') from error
        check_embeddings(self.extractor, self.bank.embeddings, str(model))
        self.map_scale = self.logit_scale if self.extractor.gives_cosines else 1.0
        preprocess = self.visual.preprocess_cfg
        self.mean, self.std = preprocess['mean'], preprocess['std']
        self.interpolation = interpolation_of(preprocess)
        size = _pair(preprocess['size'] if input_size is None else input_size)
        self.input_size = self.extractor.whole_size(size)
        if input_size is not None:
            self.extractor.check_size(self.input_size, self.bank.embeddings)
        self.max_concepts = num_asked_concepts(self.bank, max_concepts)
        self._text_embeddings = self.bank.embeddings

    def to(self, device: torch.device) -> VLMAttentionTeacher:
        """Move the teacher to a device."""
        if self._text_embeddings.device != device:
            self.extractor.to(device)
            self._text_embeddings = self._text_embeddings.to(device)
            if self.names_presence is not None:
                self.names_presence.to(device)
        return self

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions in which the maps can be read: 'spatial', 'semantic' or both."""
        return self.extractor.directions

    @property
    def presence_kind(self) -> str:
        """Description of how the teacher computes presence, for tables.

        A model with a bias (SigLIP: Zhai et al., ICCV 2023, section 3.2) scores each concept independently,
        by sigmoid(scale * cosine + bias), and a generative VLM by its answer. In other models the concepts
        of the bank compete, or each of them with names of ImageNet.
        """
        if isinstance(self.extractor, PresenceExtractor):
            return 'the answer, concept by concept'
        if self.names_presence is not None:
            return 'against names of ImageNet, concept by concept'
        return 'softmax over the bank' if self.logit_bias is None else 'sigmoid, concept by concept'

    @property
    def text_embeddings(self) -> Tensor:
        """Unit embeddings of all texts of the bank, (C, E), on the device of the latest input."""
        return self._text_embeddings

    @torch.no_grad()
    def __call__(
        self,
        inputs: Tensor,
        pixel_format: PixelFormat,
        labels: Tensor | None = None,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> InteractionMaps:
        """Read the maps of a batch, on the teacher's own grid over each image's valid area.

        Args:
            inputs: (B, 3, H, W), input of the student.
            pixel_format: pixel format of the input.
            labels: (B, C) in [0, 1], texts of the bank that each image is labelled with. They come first
                among the M concepts of an image. Defaults to None.
            valid_sizes: height and width in pixels of each image's valid area at the top left, without
                padding. Defaults to None, the complete images.

        Returns:
            Maps of all concepts, if the bank has no background and `max_concepts` leaves out none. Otherwise
            maps of M concepts (by default all) and of `OTHER`, the log-sum-exp of all other texts of the
            bank. Cosines are scaled as in the model's own image-text logits. `presence_kind` describes the
            presence.
        """
        return self.select_concepts(self.maps_of_bank(inputs, pixel_format, valid_sizes), labels)

    @torch.no_grad()
    def maps_of_bank(
        self,
        inputs: Tensor,
        pixel_format: PixelFormat,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> InteractionMaps:
        """Read the maps of the whole bank, regardless of `max_concepts`. See `__call__` for the arguments."""
        self.to(inputs.device)
        images = self._prepare(inputs, pixel_format, valid_sizes)
        if isinstance(self.extractor, PresenceExtractor):
            maps, presence = self.extractor.maps_and_presence(images)
        else:
            maps, pooled = self.extractor(images, self._text_embeddings)
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

    def select_concepts(self, maps: InteractionMaps, labels: Tensor | None = None) -> InteractionMaps:
        """Reduce the maps of the whole bank to those that `__call__` returns. See `__call__` for `labels`."""
        return (
            maps if self.max_concepts is None else topk_concepts(maps, labels, self.bank, self.max_concepts)
        )

    def _presence(self, pooled: Tensor) -> Tensor:
        """Presence (B, C) of all texts of the bank, from the images' embeddings (B, E)."""
        with torch.autocast(pooled.device.type, enabled=False):
            scaled = self.logit_scale * pooled.float()
            scores = scaled @ self._text_embeddings.T
            if self.names_presence is not None:
                return self.names_presence(scores, scaled)
            return scores.softmax(-1) if self.logit_bias is None else (scores + self.logit_bias).sigmoid()

    def ask(self, batch: BatchView) -> InteractionMaps:
        """Read the maps of a batch. See `__call__`."""
        return self(batch.inputs, batch.pixel_format, batch.labels, batch.valid_sizes)

    def features_of(self, batch: BatchView) -> ImageFeatures:
        """Read the features of a batch. See `features`."""
        return self.features(batch.inputs, batch.pixel_format, batch.valid_sizes)

    @torch.no_grad()
    def features(
        self,
        inputs: Tensor,
        pixel_format: PixelFormat,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> ImageFeatures:
        """Read the image tower's features of a batch, in one pass at the input size.

        Args:
            inputs: (B, 3, H, W), input of the student.
            pixel_format: pixel format of the input.
            valid_sizes: height and width in pixels of each image's valid area. Defaults to None, the complete
                images.

        Returns:
            Embeddings of the images, of unit length, their zero-shot logits over the bank, and the features
            of each location in the joint space, all float32.

        Raises:
            ValueError: if the extractor reads no features of locations.
        """
        if not isinstance(self.extractor, DenseExtractor):
            raise ValueError(
                f'{type(self.extractor).__name__} has no features of locations to copy: use '
                "teacher.extractor 'dense' for CNN trunks, 'maskclip' or 'clearclip' for ViTs"
            )
        self.to(inputs.device)
        locations, pooled = self.extractor.features(self._prepare(inputs, pixel_format, valid_sizes))
        with torch.autocast(inputs.device.type, enabled=False):
            pooled = F.normalize(pooled.float(), dim=-1)
            scores = self.logit_scale * pooled @ self._text_embeddings.T
        return ImageFeatures(pooled, scores, locations[:, -1].float())

    def _prepare(
        self,
        inputs: Tensor,
        pixel_format: PixelFormat,
        valid_sizes: Sequence[tuple[int, int]] | None,
    ) -> Tensor:
        """Normalise images and resize them to `input_size`, as (B, 3, h, w)."""
        # Undoing the student's normalisation and applying the teacher's is one affine map per channel.
        order = slice(None) if pixel_format.rgb else slice(None, None, -1)
        student_mean, student_std = pixel_format.mean[order], pixel_format.std[order]
        scales = [std / 255 / own_std for std, own_std in zip(student_std, self.std)]
        shifts = [
            (mean / 255 - own_mean) / own_std
            for mean, own_mean, own_std in zip(student_mean, self.mean, self.std)
        ]
        reference = inputs.new_empty(0, dtype=torch.float32)
        scale, shift = (tensor_like(values, reference).view(3, 1, 1) for values in (scales, shifts))

        def prepare(images: Tensor) -> Tensor:
            images = (images if pixel_format.rgb else images.flip(1)).float()
            return _resize(images * scale + shift, self.input_size, self.interpolation)

        height, width = inputs.shape[-2:]
        complete = valid_sizes is None or all(size == (height, width) for size in valid_sizes)
        if complete and height * width <= MAX_AREA_RATIO * self.input_size[0] * self.input_size[1]:
            return prepare(inputs)
        # Image by image: 64 photos of 24 megapixels are 18 GB in float32.
        sizes = valid_sizes or [(height, width)] * len(inputs)
        crops = (image[None, :, :h, :w] for image, (h, w) in zip(inputs, sizes))
        return torch.cat([prepare(crop) for crop in crops])


def interpolation_of(preprocess: Mapping) -> str:
    """Mode of `F.interpolate` for a preprocessing config of open_clip; 'random' is bicubic.

    Raises:
        ValueError: if the config's mode is unknown.
    """
    name = preprocess.get('interpolation', 'bicubic')
    mode = {'bicubic': 'bicubic', 'bilinear': 'bilinear', 'random': 'bicubic'}.get(name)
    if mode is None:
        raise ValueError(f"preprocess_cfg.interpolation={name!r} must be 'bicubic' or 'bilinear'")
    return mode


def _resize(images: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size, mode=mode, align_corners=False, antialias=True)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(f'input_size={size!r} must be one or two whole numbers of pixels above 0')
    return pair[0], pair[1]
