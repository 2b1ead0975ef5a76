"""Where the weights of a named model come from, and how they were trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

import open_clip

from .folder_config import FILE, architecture_difference, read_folder_config

STATED = ('mean', 'std', 'quick_gelu')
"""What a config states of a file of weights, beside its path."""


@dataclass(frozen=True)
class Training:
    """What a model must be told of its weights, since no file of tensors says it.

    Args:
        mean: of the RGB pixels in [0, 1], three numbers in [0, 1].
        std: likewise, three numbers above 0 and at most 1.
        quick_gelu: whether the activation was QuickGELU.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    quick_gelu: bool

    @classmethod
    def of(cls, preprocess: Mapping[str, Any], quick_gelu: bool) -> Training:
        """From open_clip's preprocessing config.

        open_clip has OpenAI's mean and std where a config leaves them out. They are not taken here: SigLIP's
        weights would be misread, and nothing would say so.

        Raises:
            ValueError: if a value is missing, or is not what `Training` says; the message names it.
        """
        mean, std = (of_channels(key, preprocess.get(key)) for key in ('mean', 'std'))
        if not isinstance(quick_gelu, bool):
            raise ValueError(f'quick_gelu={quick_gelu!r} must be True or False')
        return cls(mean, std, quick_gelu)

    @classmethod
    def of_config(cls, path: Path) -> Training:
        """From `open_clip_config.json`.

        Raises:
            ValueError: if it is no such config, or lacks the mean or std; the message says how to give them.
        """
        config = read_folder_config(path)
        try:
            return cls.of(config['preprocess_cfg'], config['model_cfg'].get('quick_gelu', False))
        except ValueError as error:
            raise ValueError(
                f'{path}: {error}; preprocess_cfg must have mean and std as the weights were trained'
            ) from error


@dataclass(frozen=True)
class WeightsSource:
    """What a teacher's `pretrained` and `weights_file` name.

    Args:
        tag: one of open_clip's tags, or None.
        path: a local file, or None. With a tag it holds that tag's weights.
        stated: how the file's weights were trained, the keys `STATED`; or nothing.
    """

    tag: str | None = None
    path: Path | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, pretrained: str | None, weights_file: str | Path | Mapping[str, Any] | None) -> WeightsSource:
        """Read the two arguments of a teacher.

        Args:
            pretrained: a tag, or a file by its name alone.
            weights_file: a file, or `dict(path=..., mean=..., std=..., quick_gelu=...)`.

        Raises:
            ValueError: if both name a file, the dict lacks a key or has others, or one of its values is
                not what `Training` says.
        """
        if pretrained is not None and is_file_name(pretrained):
            if weights_file is not None:
                raise ValueError(
                    f'pretrained={pretrained!r} and weights_file={weights_file!r} both name a file: '
                    'pretrained must be a tag of open_clip, or left out'
                )
            pretrained, weights_file = None, pretrained
        if not isinstance(weights_file, Mapping):
            return cls(pretrained, None if weights_file is None else Path(weights_file))
        stated = dict(weights_file)
        path = stated.pop('path', None)
        if path is None or set(stated) not in (set(), set(STATED)):
            raise ValueError(
                f'weights_file={dict(weights_file)} must be a path, or have the keys path, '
                f'{", ".join(STATED)}'
            )
        if pretrained is not None and stated:
            raise ValueError(
                f'weights_file={dict(weights_file)} says how it was trained, and so does the tag '
                f'pretrained={pretrained!r}: leave one of the two out'
            )
        if stated:
            try:
                Training.of(stated, stated['quick_gelu'])
            except ValueError as error:
                raise ValueError(f'weights_file: {error}') from error
        return cls(pretrained, Path(path), stated)

    @property
    def config_file(self) -> Path | None:
        """open_clip's config beside the file, where there is one."""
        config = None if self.path is None else self.path.parent / FILE
        return config if config is not None and config.is_file() else None

    def training(self, model: str) -> Training:
        """How the file's weights were trained: by its tag, by its config, or as all tags of the model were.

        Args:
            model: the name of a model that open_clip knows.

        Raises:
            ValueError: if it is not known; the message says how to say it. Or if the config beside the file
                is of another architecture; the message says where it differs.
        """
        if self.stated:
            return Training.of(self.stated, self.stated['quick_gelu'])
        if self.tag is not None:
            return _training_of_tag(model, self.tag)
        if self.config_file is not None:
            return _training_of_config(self.config_file, model)
        tags = open_clip.list_pretrained_tags_by_model(model)
        known = {_training_of_tag(model, tag) for tag in tags}
        if len(known) == 1:
            return known.pop()
        why = f'open_clip has no weights of {model}'
        to_give = f'weights_file=dict(path={str(self.path)!r}, mean=[...], std=[...], quick_gelu=...)'
        if known:
            why = f"open_clip's weights of {model} differ in it"
            to_give = f"pretrained={tags[0]!r}, or another of {model}'s tags, with weights_file, or {to_give}"
        raise ValueError(
            f'{self.path} does not say its mean, std and activation, and {why}. Give {to_give}; or put the '
            "weights' open_clip_config.json beside them"
        )


def interpolation_of_weights(source: WeightsSource, model: str) -> str | None:
    """How images are resized for a file of weights, as its tag or the config beside it says; None: unknown.

    Args:
        source: of the weights.
        model: the name of a model that open_clip knows.
    """
    if source.tag is not None:
        return open_clip.get_pretrained_cfg(model, source.tag).get('interpolation')
    if source.config_file is not None and not source.stated:
        return read_folder_config(source.config_file)['preprocess_cfg'].get('interpolation')
    tags = open_clip.list_pretrained_tags_by_model(model)
    known = {open_clip.get_pretrained_cfg(model, tag).get('interpolation') for tag in tags}
    return known.pop() if len(known) == 1 else None


def is_file_name(pretrained: str) -> bool:
    """Whether `pretrained` names a file, and no tag."""
    return Path(pretrained).suffix != '' or '/' in pretrained


def of_channels(name: str, value: Any) -> tuple[float, ...]:
    """The mean or the standard deviation of pixels in [0, 1], by channel.

    Args:
        name: of the value; a mean's ends in 'mean'.
        value: three numbers.

    Raises:
        ValueError: if it is not three numbers in [0, 1], of a standard deviation above 0.
    """
    numbers = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
    real = all(isinstance(number, Real) and not isinstance(number, bool) for number in numbers)
    if len(numbers) != 3 or not real:
        raise ValueError(f'{name}={value!r} must be three numbers, of red, green and blue')
    # A mean may be 0; a standard deviation divides.
    if not all((number >= 0 if name.endswith('mean') else number > 0) and number <= 1 for number in numbers):
        bounds = 'in [0, 1]' if name.endswith('mean') else 'above 0 and at most 1'
        raise ValueError(
            f'{name}={value!r} must be {bounds}, of pixels in [0, 1]: divide numbers of pixels in 0..255, '
            "as OpenMMLab's are, by 255"
        )
    return tuple(map(float, numbers))


def uses_quick_gelu(model: str) -> bool:
    """Whether open_clip builds a model, by its name, with QuickGELU."""
    config: dict[str, Any] = open_clip.get_model_config(model) or {}
    return bool(config.get('quick_gelu', False))


def _training_of_tag(model: str, tag: str) -> Training:
    config = open_clip.get_pretrained_cfg(model, tag)
    # A tag that does not name the activation (roberta-ViT-B-32's) gets the model's own from open_clip.
    return Training.of(config, config.get('quick_gelu', uses_quick_gelu(model)))


def _training_of_config(path: Path, model: str) -> Training:
    own = read_folder_config(path)['model_cfg']
    found = architecture_difference(own, open_clip.get_model_config(model))
    if found is not None:
        raise ValueError(
            f'{path} is of another architecture than the model {model}: {found}. Name the model that the '
            'weights are of, or put the config that belongs to them beside them'
        )
    return Training.of_config(path)
