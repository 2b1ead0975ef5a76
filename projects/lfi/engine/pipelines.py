"""Checks of data pipelines for models with a teacher."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product, zip_longest

from mmengine.config import Config

from lfi.concepts import concept_names
from lfi.concepts.names import plain_name
from lfi.errors import UsageError
from lfi.utils.config_types import configs_in, dataset_configs, type_name

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# PadIfNeeded and LetterBox are Albumentations' steps, for mmdet's `Albu` or mmpretrain's `Albumentations`.
PADDING = ('Pad', 'PadIfNeeded', 'LetterBox')
TEACHER = 'VLMAttentionTeacher'
# RGB data sets of mmpretrain, and its steps with the option that swaps BGR and RGB.
RGB_DATASETS = ('CIFAR10', 'CIFAR100')
SWAP_OPTIONS = {'NumpyToPIL': 'to_rgb', 'PILToNumpy': 'to_bgr', 'ToPIL': 'to_rgb', 'ToNumpy': 'to_bgr'}
# Name prefix of steps that mix images and record the place of each, such as lfi.RecordedMosaic.
MIXING_PREFIX = 'Recorded'
# Wrappers of data sets whose pipeline mmdet's hooks cannot change.
WITHOUT_PIPELINE = ('ConcatDataset', 'RepeatDataset', 'ClassBalancedDataset')
# Keys under which a hook holds another training pipeline: in the hook, and in each recipe of its `schedule`.
HOOK_PIPELINE, RECIPE_PIPELINE = 'switch_pipeline', 'train_pipeline'


def check_pipelines(cfg: Config) -> None:
    """Check that the pipelines of a config give images that student and teacher read correctly.

    - Padding: only a data preprocessor may pad, since it records the padding. Padding of a pipeline would
      count as image. Exception: with a cache, a pipeline with `lfi.Recorded*` steps may pad, since these
      steps record what each image covers.
    - Channels: images must stay BGR until the data preprocessor converts them.
    - Pixels: with an online teacher no step may normalise, because the teacher would see near-black images.
    - Captions: `lfi.LoadCaptionConcepts` and the teacher must have the same list of concepts, because
      captions refer to concepts by index.
    - Hooks: a hook that switches the pipeline has no effect on mmengine's `ConcatDataset`.

    Args:
        cfg: config of the run. It passes if no model in it has a teacher.

    Raises:
        UsageError: if a check fails. The message names the step, its part of the config and the fix.
    """
    models = _models_with_teacher(cfg.get('model') or {})
    if not models:
        return
    _check_switch_hooks(cfg)
    online = any(model['teacher'].get('cache') is None for model in models)
    data: dict[str, object] = {loader: (cfg.get(loader) or {}).get('dataset') for loader in LOADERS}
    data['custom_hooks'] = [{'pipeline': steps} for steps in switched_pipelines(hooks_of(cfg))]
    for part, datasets in data.items():
        _check_colours(datasets, part, online)
        steps = list(typed_configs(datasets))
        _check_captions(steps, models, part)
        mixes = not online and any(type_name(step).startswith(MIXING_PREFIX) for step in steps)
        if not mixes:
            refuse_padding(steps, part)
        if online:
            refuse_normalised(steps, part)


def refuse_normalised(steps: Iterable[Mapping], part: str) -> None:
    """Refuse images that a step normalises before the teacher sees them.

    Args:
        steps: configs of the steps.
        part: part of the config that has the steps, for the error.

    Raises:
        UsageError: if a step normalises.
    """
    if any(type_name(step) == 'Normalize' for step in steps):
        raise UsageError(
            f'{part}: its pipeline has the step Normalize, and the teacher would see near-black images. '
            'Remove it, and give its mean and std to data_preprocessor'
        )


def _check_switch_hooks(cfg: Config) -> None:
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    kind, hooks = type_name(dataset) if dataset else '', hooks_of(cfg)
    switching_hook = next((type_name(hook) for hook in hooks if HOOK_PIPELINE in hook), None)
    changing_hook = switching_hook or step_skipping_hook(hooks)
    if kind in WITHOUT_PIPELINE and changing_hook:
        raise UsageError(
            f'custom_hooks: {changing_hook} changes no pipeline in a {kind}. For labelled and unlabelled '
            "images, use type='lfi.SemiSupervisedDataset': there the hook changes the pipeline of the "
            'first data set. Otherwise remove the hook'
        )
    mixed = bool(dataset) and any(
        type_name(part) == 'MultiImageMixDataset' for part in dataset_configs(dataset)
    )
    if mixed and switching_hook:
        raise UsageError(
            f'custom_hooks: {switching_hook} gives a new pipeline to a MultiImageMixDataset, but this data '
            'set would skip the last steps of the new pipeline: remove the hook, or mix inside the pipeline '
            'by CachedMosaic and CachedMixUp'
        )


def refuse_padding(steps: Sequence[Mapping], part: str) -> None:
    """Refuse steps that pad.

    Args:
        steps: configs of the steps.
        part: part of the config that has the steps, for the error.

    Raises:
        UsageError: if a step pads. The message names the step and the fix.
    """
    for step in steps:
        name = type_name(step)
        if name in PADDING or (name == 'FixShapeResize' and step.get('keep_ratio')):
            raise UsageError(
                f'{part}: its pipeline pads by {name}, and padding would count as image. Pad in '
                'data_preprocessor: by pad_size_divisor, or in detection by '
                "batch_augments=[dict(type='BatchFixedSizePad', size=...)]"
            )


def _check_captions(steps: Sequence[Mapping], models: Sequence[Mapping], part: str) -> None:
    """Refuse captions with another list of concepts than the teacher: indices would mean other concepts."""
    caption_lists = [step['concepts'] for step in steps if type_name(step) == 'LoadCaptionConcepts']
    teacher_lists = [model['teacher']['concepts'] for model in models if 'concepts' in model['teacher']]
    for caption_concepts, teacher_concepts in product(caption_lists, teacher_lists):
        if caption_concepts == teacher_concepts:
            continue
        pairs = zip_longest(concept_names(caption_concepts), concept_names(teacher_concepts))
        for index, (name, expected) in enumerate(pairs):
            if name is None or expected is None or plain_name(name) != plain_name(expected):
                raise UsageError(
                    f'{part}: concept {index} is {name!r} in lfi.LoadCaptionConcepts and {expected!r} in the '
                    'teacher. Give both the same list: write '
                    'concepts={{_base_.model.teacher.concepts}}, or use one variable in both'
                )


def _check_colours(dataset: object, part: str, online: bool) -> None:
    """Refuse images that are RGB before the data preprocessor: a teacher would see red as blue."""
    for config in configs_in(dataset):
        if is_rgb(config):
            name = type_name(config)
            raise UsageError(
                f'{part}: {name} has RGB images, and the teacher would see red as blue. Use '
                f"dataset=dict(type='lfi.{name}', ...), the same data set in BGR, and set to_rgb=True in "
                'data_preprocessor'
            )
        swaps = [
            (type_name(step), SWAP_OPTIONS[type_name(step)])
            for step in typed_configs(config.get('pipeline'))
            if step.get(SWAP_OPTIONS.get(type_name(step), ''))
        ]
        if online and len(swaps) % 2:
            name, option = swaps[-1]
            raise UsageError(
                f'{part}: its pipeline returns RGB images by {name}({option}=True), and the teacher would '
                'see red as blue. Return BGR images, by NumpyToPIL(to_rgb=True) with '
                'PILToNumpy(to_bgr=True), and set to_rgb=True in data_preprocessor'
            )


def is_rgb(dataset: Mapping) -> bool:
    """Whether a config is of a data set of mmpretrain with RGB images."""
    kind = dataset.get('type', '')
    module = kind.rpartition('.')[0] if isinstance(kind, str) else kind.__module__
    return bool(kind) and type_name(dataset) in RGB_DATASETS and module.partition('.')[0] != 'lfi'


def hooks_of(cfg: Config) -> list[dict]:
    """Return the configs of a run's custom hooks.

    Raises:
        UsageError: if a hook is not a dict, as after `--cfg-options custom_hooks=...`.
    """
    hooks = list(cfg.get('custom_hooks') or ())
    for hook in hooks:
        if not isinstance(hook, dict):
            raise UsageError(
                f'custom_hooks: {hook!r} is not a dict. A command line cannot hold dicts in a list: write '
                'the hooks into a config that inherits this one'
            )
    return hooks


def step_skipping_hook(hooks: Sequence[dict]) -> str | None:
    """Return the name of the first hook that skips steps of a pipeline by name, or None."""
    return next((type_name(hook) for hook in hooks if type_name(hook).endswith('ModeSwitchHook')), None)


def switched_pipelines(hooks: Sequence[dict]) -> list[list[dict]]:
    """Return the pipelines to which mmdet's `PipelineSwitchHook` and mmpretrain's `SwitchRecipeHook` switch.

    Args:
        hooks: configs of hooks.
    """
    switched = [hook[HOOK_PIPELINE] for hook in hooks if HOOK_PIPELINE in hook]
    return switched + [recipe[RECIPE_PIPELINE] for recipe in recipes_of(hooks) if RECIPE_PIPELINE in recipe]


def recipes_of(hooks: Sequence[dict]) -> list[dict]:
    """Return the changes that mmpretrain's `SwitchRecipeHook` makes during training."""
    return [recipe for hook in hooks for recipe in hook.get('schedule') or ()]


def mixes_images(cfg: Config) -> bool:
    """Whether a training pipeline has a recorded step that shows several images, such as a mosaic."""
    parts = (cfg.train_dataloader.dataset, *switched_pipelines(hooks_of(cfg)))
    return any(type_name(step).startswith(MIXING_PREFIX) for part in parts for step in typed_configs(part))


def check_unrecorded_steps(cfg: Config) -> None:
    """Refuse steps of the training pipelines that move pixels without a record, which cached maps need.

    Raises:
        UsageError: if `refuse_unrecorded_steps` refuses a step.
    """
    # Imported here because it imports mmpretrain.
    from lfi.datasets.transforms import refuse_unrecorded_steps

    switched = [{'pipeline': steps} for steps in switched_pipelines(hooks_of(cfg))]
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    refuse_unrecorded_steps([dataset, *switched], cfg.get('default_scope'))


def _models_with_teacher(model: dict) -> list[dict]:
    """Return the configs with a teacher: the model, and models inside the model whose teacher is LFI's."""
    configs = [part for part in configs_in(model) if isinstance(part.get('teacher'), dict)]
    return [part for part in configs if part is model or _is_lfi_teacher(part['teacher'])]


def _is_lfi_teacher(teacher: dict) -> bool:
    return 'type' in teacher and type_name(teacher).endswith(TEACHER)


def typed_configs(value: object) -> Iterator[dict]:
    """Yield all configs with a type, at any depth."""
    return (config for config in configs_in(value) if 'type' in config)
