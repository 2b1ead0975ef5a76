"""Source of a named model's weights, and settings of their training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

import open_clip

from .folder_config import FILE, architecture_difference, read_folder_config

SETTINGS_KEYS = ('mean', 'std', 'quick_gelu')
"""Keys of a `weights_file` for the settings with which the weights were trained."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings with which weights were trained, which a file of tensors does not contain.

    Args:
        mean: mean of the RGB pixels, three numbers in [0, 1].
        std: standard deviation of the RGB pixels, three numbers above 0 and at most 1.
        quick_gelu: whether the activation is QuickGELU.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    quick_gelu: bool

    @classmethod
    def of(cls, preprocess: Mapping[str, Any], quick_gelu: bool) -> TrainingSettings:
        """Read the settings from open_clip's preprocessing config.

        open_clip defaults to OpenAI's mean and std. Here missing values are errors: SigLIP's weights would
        silently get wrong values.

        Raises:
            ValueError: if a value is missing or invalid; the message names it.
        """
        mean, std = (channel_values(key, preprocess.get(key)) for key in ('mean', 'std'))
        if not isinstance(quick_gelu, bool):
            raise ValueError(f'quick_gelu={quick_gelu!r} must be True or False')
        return cls(mean, std, quick_gelu)

    @classmethod
    def of_config(cls, path: Path) -> TrainingSettings:
        """Read the settings from an `open_clip_config.json`.

        Raises:
            ValueError: if the config is invalid, or lacks the mean or std.
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
    """Source of weights, from a teacher's `pretrained` and `weights_file`.

    Args:
        tag: tag of open_clip, or None.
        path: local file, or None. With a tag, the file contains the tag's weights.
        settings: settings with which the weights were trained, with the keys `SETTINGS_KEYS`; or empty.
    """

    tag: str | None = None
    path: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, pretrained: str | None, weights_file: str | Path | Mapping[str, Any] | None) -> WeightsSource:
        """Parse a teacher's `pretrained` and `weights_file`.

        Args:
            pretrained: tag, or path of a file.
            weights_file: path of a file, or `dict(path=..., mean=..., std=..., quick_gelu=...)`.

        Raises:
            ValueError: if both name a file, or the dict has wrong keys or invalid values.
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
        settings = dict(weights_file)
        path = settings.pop('path', None)
        if path is None or set(settings) not in (set(), set(SETTINGS_KEYS)):
            raise ValueError(
                f'weights_file={dict(weights_file)} must be a path, or have the keys path, '
                f'{", ".join(SETTINGS_KEYS)}'
            )
        if pretrained is not None and settings:
            raise ValueError(
                f'weights_file={dict(weights_file)} says how it was trained, and so does the tag '
                f'pretrained={pretrained!r}: leave one of the two out'
            )
        if settings:
            try:
                TrainingSettings.of(settings, settings['quick_gelu'])
            except ValueError as error:
                raise ValueError(f'weights_file: {error}') from error
        return cls(pretrained, Path(path), settings)

    @property
    def config_file(self) -> Path | None:
        """open_clip's config beside the file. None if there is none."""
        config = None if self.path is None else self.path.parent / FILE
        return config if config is not None and config.is_file() else None

    def training(self, model: str) -> TrainingSettings:
        """Find the settings with which the weights were trained.

        The sources are, in this order, `settings`, the tag, the config beside the file, and all tags of the
        model if they agree.

        Args:
            model: name of a model of open_clip.

        Raises:
            ValueError: if the settings are not known, or the config beside the file has another
                architecture; the message names the field that differs.
        """
        if self.settings:
            return TrainingSettings.of(self.settings, self.settings['quick_gelu'])
        if self.tag is not None:
            return _training_of_tag(model, self.tag)
        if self.config_file is not None:
            return _training_of_config(self.config_file, model)
        tags = open_clip.list_pretrained_tags_by_model(model)
        trainings = {_training_of_tag(model, tag) for tag in tags}
        if len(trainings) == 1:
            return trainings.pop()
        why = f'open_clip has no weights of {model}'
        fix = f'weights_file=dict(path={str(self.path)!r}, mean=[...], std=[...], quick_gelu=...)'
        if trainings:
            why = f"open_clip's weights of {model} differ in these"
            fix = f"pretrained={tags[0]!r}, or another of {model}'s tags, with weights_file, or {fix}"
        raise ValueError(
            f'{self.path} does not say its mean, std and activation, and {why}. Give {fix}; or put the '
            "weights' open_clip_config.json beside them"
        )


def interpolation_of_weights(source: WeightsSource, model: str) -> str | None:
    """Interpolation of images for a file of weights, from its tag or config. None if unknown.

    Args:
        source: source of the weights.
        model: name of a model of open_clip.
    """
    if source.tag is not None:
        return open_clip.get_pretrained_cfg(model, source.tag).get('interpolation')
    if source.config_file is not None and not source.settings:
        return read_folder_config(source.config_file)['preprocess_cfg'].get('interpolation')
    tags = open_clip.list_pretrained_tags_by_model(model)
    modes = {open_clip.get_pretrained_cfg(model, tag).get('interpolation') for tag in tags}
    return modes.pop() if len(modes) == 1 else None


def is_file_name(pretrained: str) -> bool:
    """Whether `pretrained` is the name of a file, not a tag."""
    return Path(pretrained).suffix != '' or '/' in pretrained


def channel_values(name: str, value: Any) -> tuple[float, ...]:
    """Check the mean or the standard deviation of pixels in [0, 1], and return it as three floats.

    Args:
        name: name of the value; the name of a mean ends in 'mean'.
        value: three numbers, of red, green and blue.

    Raises:
        ValueError: if these are not three numbers in [0, 1], or a standard deviation is 0.
    """
    numbers = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
    real = all(isinstance(number, Real) and not isinstance(number, bool) for number in numbers)
    if len(numbers) != 3 or not real:
        raise ValueError(f'{name}={value!r} must be three numbers, of red, green and blue')
    # A mean may be 0; a standard deviation is a divisor.
    if not all((number >= 0 if name.endswith('mean') else number > 0) and number <= 1 for number in numbers):
        bounds = 'in [0, 1]' if name.endswith('mean') else 'above 0 and at most 1'
        raise ValueError(
            f'{name}={value!r} must be {bounds}, of pixels in [0, 1]: divide numbers of pixels in 0..255, '
            "as OpenMMLab's are, by 255"
        )
    return tuple(map(float, numbers))


def uses_quick_gelu(model: str) -> bool:
    """Whether open_clip builds a model of this name with QuickGELU."""
    config: dict[str, Any] = open_clip.get_model_config(model) or {}
    return bool(config.get('quick_gelu', False))


def _training_of_tag(model: str, tag: str) -> TrainingSettings:
    config = open_clip.get_pretrained_cfg(model, tag)
    # For a tag without an activation (roberta-ViT-B-32's) open_clip uses the model's own.
    return TrainingSettings.of(config, config.get('quick_gelu', uses_quick_gelu(model)))


def _training_of_config(path: Path, model: str) -> TrainingSettings:
    config = read_folder_config(path)['model_cfg']
    difference = architecture_difference(config, open_clip.get_model_config(model))
    if difference is not None:
        raise ValueError(
            f'{path} has another architecture than the model {model}: {difference}. Name the '
            "weights' own model, or put their own config beside them"
        )
    return TrainingSettings.of_config(path)
