"""What a model with a teacher asks of the pipelines of its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product, zip_longest

from mmengine.config import Config

from lfi.concepts import concept_names
from lfi.concepts.names import plain_name
from lfi.errors import UsageError
from lfi.structures import CACHE_KEYS
from lfi.utils.config_types import configs_in, dataset_configs, type_name
from lfi.utils.repositories import cache_folder

from .cache_labels import check_labels_of_cache

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# PadIfNeeded and LetterBox are Albumentations', inside mmdet's `Albu` or mmpretrain's `Albumentations`.
PADDING = ('Pad', 'PadIfNeeded', 'LetterBox')
TEACHER = 'VLMAttentionTeacher'
# mmpretrain's data sets whose images are RGB, and its steps that turn BGR to RGB, or back, by an option.
RGB = ('CIFAR10', 'CIFAR100')
TURNS = {'NumpyToPIL': 'to_rgb', 'PILToNumpy': 'to_bgr', 'ToPIL': 'to_rgb', 'ToNumpy': 'to_bgr'}
# How the names begin of what shows several images, with a record: lfi.RecordedMosaic.
MIXING = 'Recorded'
# The steps of OpenMMLab that pack, and the option for what else they shall pack.
PACKING = {'PackInputs': 'algorithm_keys', 'PackDetInputs': 'meta_keys', 'PackSegInputs': 'meta_keys'}
# Data sets around others, in which mmdet's hooks find no pipeline.
WITHOUT_PIPELINE = ('ConcatDataset', 'RepeatDataset', 'ClassBalancedDataset')
# The arguments by which hooks name a training pipeline: their own, and that of a recipe in a `schedule`.
SWITCHED, RECIPE = 'switch_pipeline', 'train_pipeline'


def check_pipelines(cfg: Config) -> None:
    """Refuse the steps of a config's pipelines from which nobody can tell what of a batch is image.

    Padding in a pipeline counts as image for the student's queries and the teacher; a data preprocessor says
    what it pads. A teacher takes images for BGR until the data preprocessor turns them. Where images are
    mixed (`lfi.RecordedCopyPaste` and its like) and their maps come from a cache, padding is where none of
    them shows. Pixels that a pipeline normalises are near-black to an online teacher. What a caption speaks
    of is an index among the teacher's concepts. A hook that switches the pipeline changes nothing in data
    sets that mmengine's `ConcatDataset` joins. A config passes if neither its model nor a model inside it has
    a teacher.

    Args:
        cfg: of the run.

    Raises:
        UsageError: if there is such a step; the message names it, its part of the config and the fix.
    """
    taught = _taught_models(cfg.get('model') or {})
    if not taught:
        return
    _check_switches(cfg)
    online = any(model['teacher'].get('cache') is None for model in taught)
    data: dict[str, object] = {loader: (cfg.get(loader) or {}).get('dataset') for loader in LOADERS}
    data['custom_hooks'] = [{'pipeline': steps} for steps in switched_pipelines(hooks_of(cfg))]
    for part, datasets in data.items():
        _check_colours(datasets, part, online)
        steps = list(_steps(datasets))
        _check_captions(steps, taught, part)
        mixes = not online and any(type_name(step).startswith(MIXING) for step in steps)
        if not mixes:
            refuse_padding(steps, part)
        for step in steps:
            if type_name(step) == 'Normalize' and online:
                raise UsageError(
                    f'{part}: its pipeline has the step Normalize, and the teacher would see near-black '
                    'images. Remove it, and give its mean and std to data_preprocessor'
                )


def _check_switches(cfg: Config) -> None:
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    kind, hooks = type_name(dataset) if dataset else '', hooks_of(cfg)
    switching = next((type_name(hook) for hook in hooks if SWITCHED in hook), None)
    changing = switching or leaving_out(hooks)
    if kind in WITHOUT_PIPELINE and changing:
        raise UsageError(
            f'custom_hooks: {changing} changes no pipeline in a {kind}. For images '
            "without labels beside those with labels use type='lfi.SemiSupervisedDataset', whose first data "
            'set it changes; else leave the hook out'
        )
    mixed = bool(dataset) and any(
        type_name(part) == 'MultiImageMixDataset' for part in dataset_configs(dataset)
    )
    if mixed and switching:
        raise UsageError(
            f'custom_hooks: {switching} gives a MultiImageMixDataset a pipeline whose last steps it leaves '
            'out: do without it, or mix inside the pipeline of the data set, by CachedMosaic and CachedMixUp'
        )


def refuse_padding(steps: Sequence[Mapping], part: str) -> None:
    """Refuse steps that pad.

    Args:
        steps: configs.
        part: of the config that has them, for the error.

    Raises:
        UsageError: if one does; the message names it and the fix.
    """
    for step in steps:
        name = type_name(step)
        if name in PADDING or (name == 'FixShapeResize' and step.get('keep_ratio')):
            raise UsageError(
                f'{part}: its pipeline pads by {name}, and padding would count as image. Leave it '
                'to data_preprocessor: by pad_size_divisor, or in detection by '
                "batch_augments=[dict(type='BatchFixedSizePad', size=...)]"
            )


def _check_captions(steps: Sequence[Mapping], taught: Sequence[Mapping], part: str) -> None:
    """Refuse captions that are read by other concepts than the teacher's: it would be asked about others."""
    lists = [step['concepts'] for step in steps if type_name(step) == 'LoadCaptionConcepts']
    own = [model['teacher']['concepts'] for model in taught if 'concepts' in model['teacher']]
    for concepts, theirs in product(lists, own):
        if concepts == theirs:
            continue
        for index, (name, known) in enumerate(zip_longest(concept_names(concepts), concept_names(theirs))):
            if name is None or known is None or plain_name(name) != plain_name(known):
                raise UsageError(
                    f'{part}: concept {index} of lfi.LoadCaptionConcepts is {name!r}, and of the teacher '
                    f'{known!r}, so that it would be asked about another. Give both the same: '
                    'concepts={{_base_.model.teacher.concepts}}, or one variable'
                )


def _check_colours(dataset: object, part: str, online: bool) -> None:
    """Refuse images that are RGB before the data preprocessor: a teacher would see red as blue."""
    for config in configs_in(dataset):
        if is_rgb(config):
            name = type_name(config)
            raise UsageError(
                f'{part}: {name} has RGB images, and the teacher would see red as blue. Write '
                f"dataset=dict(type='lfi.{name}', ...), which is the same in BGR, and let data_preprocessor "
                'turn it: to_rgb=True'
            )
        steps = list(_steps(config.get('pipeline')))
        turns = [
            (type_name(step), TURNS[type_name(step)])
            for step in steps
            if step.get(TURNS.get(type_name(step), ''))
        ]
        if online and len(turns) % 2:
            name, option = turns[-1]
            raise UsageError(
                f'{part}: its pipeline hands on RGB images by {name}({option}=True), and the teacher would '
                'see red as blue. Hand on BGR, NumpyToPIL(to_rgb=True) with PILToNumpy(to_bgr=True), and let '
                'data_preprocessor turn it: to_rgb=True'
            )


def is_rgb(dataset: Mapping) -> bool:
    """Whether a data set's config is one of mmpretrain's whose images are RGB."""
    kind = dataset.get('type', '')
    module = kind.rpartition('.')[0] if isinstance(kind, str) else kind.__module__
    return bool(kind) and type_name(dataset) in RGB and module.partition('.')[0] != 'lfi'


def set_teacher_cache(cfg: Config) -> None:
    """Let the training pipeline read the maps from the folder that `model.teacher.cache` names.

    Args:
        cfg: of the run, changed in place. A `lfi.LoadInteractionMaps` that names a folder itself keeps it.

    Raises:
        UsageError: if the pipeline, or one to which a hook switches, has no `lfi.LoadInteractionMaps`; if a
            hook leaves out steps by their names, as mmdet's `YOLOXModeSwitchHook` does; as
            `check_labels_of_cache` says; and if a cache on the Hub cannot be downloaded.
    """
    from lfi.models.students.config_facts import cache_of, reads_labels

    cache = cache_of(cfg.model)
    if cache is None:
        return
    # Downloaded once, and not by each worker.
    cache = cfg.model.teacher.cache = str(cache_folder(cache))
    steps = steps_that_read_maps(cfg, cache)
    check_labels_of_cache(cache, cfg.train_dataloader.dataset, reads_labels(cfg.model))
    for step in steps:
        if step.get('cache') is None:
            step['cache'] = cache


def steps_that_read_maps(cfg: Config, cache: str) -> list[dict]:
    """The `lfi.LoadInteractionMaps` of a config's training pipelines.

    Args:
        cfg: of the run.
        cache: the folder of the maps, for the error.

    Raises:
        UsageError: as `set_teacher_cache` says of pipelines and hooks.
    """
    hooks = hooks_of(cfg)
    switching = leaving_out(hooks)
    if switching:
        raise UsageError(
            f'{switching} leaves out steps of the pipeline by their names, and finds none inside '
            'lfi.RecordView: ask the teacher online, by teacher.cache=None'
        )
    for hook in hooks:
        if any('batch_augments' in recipe for recipe in hook.get('schedule') or ()):
            raise UsageError(
                f'custom_hooks: {type_name(hook)} changes batch_augments, and cached maps are mixed as the '
                'data_preprocessor was built: leave batch_augments out of the schedule, or ask the teacher '
                'online, by teacher.cache=None'
            )
    steps: list[dict] = []
    for part in (cfg.train_dataloader.dataset, *switched_pipelines(hooks)):
        reading = [step for step in _steps(part) if type_name(step) == 'LoadInteractionMaps']
        if not reading:
            raise UsageError(
                f'model.teacher.cache={cache!r} needs a training pipeline that reads it, also where a hook '
                "switches to another: put dict(type='lfi.LoadInteractionMaps') before its last step, and "
                'pack `view` and `interaction_maps`, as configs/_base_/datasets/ do'
            )
        if not any(type_name(step).startswith(('RecordView', MIXING)) for step in _steps(part)):
            raise UsageError(
                'train_dataloader: its pipeline records no view, into which cached maps are warped: put the '
                "steps that move pixels into dict(type='lfi.RecordView', transforms=[...])"
            )
        for step in _steps(part):
            _check_packing(step)
        steps += reading
    return steps


def _check_packing(step: Mapping) -> None:
    """Refuse a packing step of OpenMMLab that drops what a cached teacher reads."""
    name = type_name(step)
    if name not in PACKING:
        return
    option = PACKING[name]
    packed = {*step.get('algorithm_keys', ()), *step.get('meta_keys', ())}
    lacking = [key for key in CACHE_KEYS if key not in packed]
    if lacking:
        raise UsageError(
            f'train_dataloader: its pipeline packs by {name} and drops {lacking[0]!r}, which a cached '
            f'teacher reads: add {CACHE_KEYS} to its {option}'
        )


def hooks_of(cfg: Config) -> list[dict]:
    """The configs of a run's custom hooks.

    Raises:
        UsageError: if one is not a dict, as `--cfg-options custom_hooks=...` makes it.
    """
    hooks = list(cfg.get('custom_hooks') or ())
    for hook in hooks:
        if not isinstance(hook, dict):
            raise UsageError(
                f'custom_hooks: {hook!r} is not a dict. A command line cannot hold dicts in a list: write '
                'them into a config that inherits this one'
            )
    return hooks


def leaving_out(hooks: Sequence[dict]) -> str | None:
    """The name of the first hook that leaves out steps of a pipeline by their names, or None."""
    return next((type_name(hook) for hook in hooks if type_name(hook).endswith('ModeSwitchHook')), None)


def switched_pipelines(hooks: Sequence[dict]) -> list[list[dict]]:
    """The pipelines to which hooks switch: mmdet's `PipelineSwitchHook`, mmpretrain's `SwitchRecipeHook`.

    Args:
        hooks: configs.
    """
    recipes = [recipe for hook in hooks for recipe in hook.get('schedule') or ()]
    switched = [hook[SWITCHED] for hook in hooks if SWITCHED in hook]
    return switched + [recipe[RECIPE] for recipe in recipes if RECIPE in recipe]


def mixes_images(cfg: Config) -> bool:
    """Whether a training pipeline has a recorded step that shows several images, such as a mosaic."""
    parts = (cfg.train_dataloader.dataset, *switched_pipelines(hooks_of(cfg)))
    return any(type_name(step).startswith(MIXING) for part in parts for step in _steps(part))


def check_recorded_steps(cfg: Config) -> None:
    """Refuse the steps of a run's training pipelines that part images from a cache's maps.

    Raises:
        UsageError: as `refuse_unrecorded_steps` says.
    """
    # It imports mmpretrain.
    from lfi.datasets.transforms import refuse_unrecorded_steps

    switched = [{'pipeline': steps} for steps in switched_pipelines(hooks_of(cfg))]
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    refuse_unrecorded_steps([dataset, *switched], cfg.get('default_scope'))


def _taught_models(model: dict) -> list[dict]:
    """The config of a model with a teacher, and those inside it with one of ours."""
    having = [part for part in configs_in(model) if isinstance(part.get('teacher'), dict)]
    return [part for part in having if part is model or _is_ours(part['teacher'])]


def _is_ours(teacher: dict) -> bool:
    return 'type' in teacher and type_name(teacher).endswith(TEACHER)


def _steps(value: object) -> Iterator[dict]:
    """All configs with a type, at any depth."""
    return (config for config in configs_in(value) if 'type' in config)
