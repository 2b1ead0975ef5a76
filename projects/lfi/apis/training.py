"""Training from Python, by MMEngine's Runner in this process."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from lfi.config_files import find_config
from lfi.engine.checkpoints.reading import safe_checkpoint_loading
from lfi.engine.config_loading import apply_options, load_config
from lfi.engine.launch import prepare_run, prepare_training, run_training
from lfi.engine.machine import keep_freed_memory
from lfi.engine.max_epochs_option import scale_epochs
from lfi.engine.processes import set_up_distributed
from lfi.engine.run_folder import best_checkpoint
from lfi.errors import UsageError
from lfi.new_config import NewConfig, Settings, init_config, init_pretraining_config
from lfi.structures.interaction_cache import CacheFolder
from lfi.unreadable import UnreadableImageError

from .caching import cache_teacher
from .loaded_model import Model
from .python_messages import python_messages
from .run_report import report_training

DEFAULT_TEACHER = 'clip-b16'
WRITTEN, CACHE = 'config', 'teacher_cache'
"""Folders of the work dir: the config that was written for a data set, and the teacher's cache."""


@python_messages
def train(
    data: str | Path | Config,
    model: str | None = None,
    teacher: str | None = None,
    labels_per_class: int | None = None,
    epochs: int | None = None,
    *,
    unlabelled: str | Path | None = None,
    out: str | Path | None = None,
    batch_size: int | None = None,
    input_size: int | None = None,
    weights: str | None = None,
    workers: int | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Model:
    """Train a student on a data set, or by a config, in this process.

    The teacher first runs once over the images, into `teacher_cache` of the work dir, unless the training
    pipeline or the teacher allow no cache. The config that ran lies in the work dir, with the checkpoints and
    the page `report.html`.

    Args:
        data: data set, see `init`; or a config: a file, the name of one of LFI's, or a `Config`. A config
            decides about model, teacher, labels and batches itself: for it, the arguments from `model` to
            `workers` are refused, except for `epochs` and `out`.
        model: model of mmpretrain, timm, mmdet or mmseg. Defaults to None: a small model for the task.
        teacher: name of the teacher, see `init`. Defaults to None: 'clip-b16'.
        labels_per_class: number of images of each class that keep their label. Defaults to None: all.
        epochs: number of epochs; the schedule of a config moves in proportion. Defaults to None: by the
            number of images, or that of the config.
        unlabelled: folder of images without labels to train on as well. Defaults to None.
        out: work dir, a new or empty folder. Defaults to None: `work_dirs/<name of the data>`, with a number
            if it exists; the config's own work dir if `data` is a config that has one.
        batch_size: images of a step. Defaults to None: by the number of images.
        input_size: side in pixels of the model's images. Defaults to None: by the size of the images.
        weights: initial weights of the backbone: a checkpoint, 'timm', or 'none'. Defaults to None: those of
            the model's own config.
        workers: processes that load images. Defaults to None: 2.
        cfg_options: changes of the config by dotted keys, such as `{'optim_wrapper.optimizer.lr': 1e-3}`.
            Defaults to none.

    Returns:
        The model of the best checkpoint by the validation, or of the last one without a validation.

    Raises:
        UsageError: if the data, the model or the teacher cannot be used, `out` holds files, or an option does
            not fit the config.

    Example:
        >>> model = lfi.train('photos', model='resnet18', teacher='lit-lite0', epochs=3)
        >>> model.ask('photo.jpg', ['goldfish']).show()
    """
    config = _as_config(data)
    if config is None:
        source = Path(str(data)).expanduser()
        if not source.exists():
            raise UsageError(
                f'data={str(data)!r} is neither a data set nor a config: the path does not exist'
            )
        processes = 2 if workers is None else workers
        settings = Settings(epochs, batch_size, input_size, labels_per_class, unlabelled, weights, processes)
        work_dir = _new_work_dir(out, source)
        file = _written_config(work_dir, source)
        new = init_config(source, model, teacher or DEFAULT_TEACHER, None, settings, file)
        return _train_new(new, work_dir, cfg_options)
    of_data = dict(
        model=model,
        teacher=teacher,
        labels_per_class=labels_per_class,
        unlabelled=unlabelled,
        batch_size=batch_size,
        input_size=input_size,
        weights=weights,
        workers=workers,
    )
    for name, value in of_data.items():
        if value is not None:
            raise UsageError(
                f'{name}={value!r} is for a data set, and data={_named(data)} is a config: set it there, or '
                'by cfg_options'
            )
    cfg = _loaded(config, cfg_options)
    if epochs is not None:
        scale_epochs(cfg, epochs)
    return _train(cfg, out)


@python_messages
def pretrain(
    folder: str | Path,
    model: str | None = None,
    teacher: str = 'clip-b16',
    epochs: int | None = None,
    *,
    concepts: str | Path | Sequence[str] | None = None,
    out: str | Path | None = None,
    batch_size: int | None = None,
    input_size: int | None = None,
    weights: str | None = None,
    workers: int = 2,
    cfg_options: Mapping[str, Any] | None = None,
) -> Model:
    """Pretrain a backbone on a folder of images without labels, in any layout.

    Args:
        folder: folder of images. Folders of classes are not read as labels.
        model: classifier of mmpretrain or timm whose backbone is pretrained. Defaults to None: 'resnet18'.
        teacher: name of the teacher, see `init`. Defaults to 'clip-b16'.
        epochs: number of epochs. Defaults to None: by the number of images.
        concepts: texts that the teacher is asked about, or a file with one a line. Defaults to None: the
            names of ImageNet.
        out: as in `train`.
        batch_size: as in `train`.
        input_size: as in `train`.
        weights: as in `train`.
        workers: as in `train`.
        cfg_options: as in `train`.

    Returns:
        The model of the last checkpoint, which answers texts. Its `checkpoint` starts a model of OpenMMLab by
        `init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')`.

    Raises:
        UsageError: if the folder has no image, or the model or the teacher cannot be used.

    Example:
        >>> model = lfi.pretrain('photos', teacher='lit-lite0', concepts=['barn', 'goldfish', 'red car'])
    """
    settings = Settings(epochs, batch_size, input_size, weights=weights, workers=workers)
    source = Path(folder).expanduser()
    work_dir = _new_work_dir(out, source)
    file = _written_config(work_dir, source)
    return _train_new(
        init_pretraining_config(source, model, teacher, concepts, settings, file), work_dir, cfg_options
    )


@python_messages
def cache(
    config: str | Path | Config,
    out: str | Path,
    *,
    batch_size: int = 64,
    workers: int = 2,
    views: int = 1,
    cfg_options: Mapping[str, Any] | None = None,
) -> CacheFolder:
    """Cache the teacher's maps of all training images of a config, as `lfi cache` does.

    Training reads the cache by `cfg_options={'model.teacher.cache': out}`. A stopped call continues with the
    same arguments.

    Args:
        config: config of the training: a file, the name of one of LFI's, or a `Config`.
        out: folder of the cache.
        batch_size: images in a batch. Defaults to 64.
        workers: processes that load images. Defaults to 2.
        views: views of each image: the complete image, the mirrored one, and draws of the pipeline, which
            training draws again. Defaults to 1.
        cfg_options: changes of the config by dotted keys. Defaults to none.

    Returns:
        The cache.

    Raises:
        UsageError: if the config has no teacher, or training cannot read its maps.

    Example:
        >>> lfi.cache('lfi_photos.py', 'maps')
    """
    found = _as_config(config)
    if found is None:
        raise UsageError(f'config={str(config)!r} is not a config: write one by lfi.init')
    cfg = _loaded(found, cfg_options)
    with (
        safe_checkpoint_loading(),
        DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')),
    ):
        return cache_teacher(cfg, str(out), batch_size, workers, views)


def _as_config(data: str | Path | Config) -> Config | str | None:
    """Return a config or its file; None for a data set."""
    if isinstance(data, Config):
        return data
    path = Path(data)
    if path.exists() and path.suffix != '.py':
        return None
    try:
        return find_config(str(data))
    except FileNotFoundError as error:
        if path.suffix == '.py':
            raise UsageError(str(error)) from error
        return None


def _named(data: str | Path | Config) -> str:
    return repr(data.filename if isinstance(data, Config) else str(data))


def _loaded(config: Config | str, options: Mapping[str, Any] | None) -> Config:
    if isinstance(config, str):
        return load_config(config, dict(options or {}))
    cfg = Config(config.to_dict(), filename=config.filename)
    apply_options(cfg, options or {}, _named(config))
    return cfg


def _new_work_dir(out: str | Path | None, source: Path) -> Path:
    """Return a work dir without files.

    Raises:
        UsageError: if `out` holds files.
    """
    if out is not None:
        if _is_used(Path(out)):
            raise UsageError(f'out={str(out)!r} holds files already: name a new folder, or remove it')
        return Path(out)
    base = Path('work_dirs') / source.resolve().stem
    numbered = (base.with_name(f'{base.name}_{number}') for number in count(2))
    return next(folder for folder in chain([base], numbered) if not _is_used(folder))


def _is_used(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _written_config(work_dir: Path, source: Path) -> Path:
    """Return the path of a new config. MMEngine writes it with its bases merged in into the work dir."""
    return work_dir / WRITTEN / f'lfi_{source.resolve().stem}.py'


def _train_new(new: NewConfig, work_dir: Path, options: Mapping[str, Any] | None) -> Model:
    print(new)
    try:
        return _train(load_config(str(new.path), dict(options or {})), work_dir)
    except BaseException:
        # Nothing has been trained or cached, so that the same call can be made again.
        if [path.name for path in work_dir.iterdir()] == [WRITTEN]:
            shutil.rmtree(work_dir)
        raise


def _train(cfg: Config, out: str | Path | None) -> Model:
    """Cache the teacher, train, and load the result."""
    name = Path(cfg.filename).stem if cfg.filename else 'lfi'
    cfg.work_dir = str(out or cfg.get('work_dir') or Path('work_dirs') / name)
    if get_device() == 'cpu':
        keep_freed_memory()
    with (
        safe_checkpoint_loading(),
        DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')),
    ):
        prepare_run(cfg)
        set_up_distributed(cfg, 'none', 0)
        _cache(cfg, str(Path(cfg.work_dir) / CACHE))
        prepare_training(cfg)
        run_training(cfg)
        # In one of several processes the page would wait for the others.
        if get_world_size() == 1:
            report_training(cfg)
    # The Runner, a reference cycle, holds the trained model.
    gc.collect()
    checkpoint = best_checkpoint(Path(cfg.work_dir))
    return Model(cfg, checkpoint)


def _cache(cfg: Config, folder: str) -> None:
    """Let training read a cache of its teacher, if it has a teacher without one and can read one."""
    teacher = cfg.model.get('teacher')
    if not teacher or teacher.get('cache'):
        return
    try:
        cache_teacher(cfg, folder)
    except UnreadableImageError:
        raise
    except UsageError as error:
        print_log(f'The teacher runs in each step of the training, without a cache: {error}', 'current')
        return
    cfg.model.teacher.cache = folder
