"""Reading a config, and changing it by `--cfg-options`."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from lfi.config_files import find_config
from lfi.errors import UsageError, as_usage_error, nearest
from lfi.utils.options import check_whole
from lfi.utils.repositories import is_student, local_folder

from .data_root_option import rebase_data_roots
from .few_labels_option import set_few_labels
from .pipelines import LOADERS

FIND_MODULE = (
    'Correct the name, or let PYTHONPATH name the folder in which the module lies: PYTHONPATH=. lfi ...'
)
# Options of MMEngine and torch that are a number or a word: 'dynamic'.
NUMBER_OR_TEXT = ('loss_scale',)
# What MMEngine and our tools read beside the Runner's own arguments.
FURTHER_SETTINGS = (
    'auto_scale_lr',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'init_weights_for_test_or_val',
    'loggers',
    'max_unreadable',
    'model_wrapper_cfg',
    'runner_type',
    'strategy',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
    'vis_backends',
)


def load_config(path: str, options: dict | None = None) -> Config:
    """Read a config and change it by ``--cfg-options``.

    ``data_root`` reaches all data, and ``train_dataloader.few_labels`` is filled in.

    Args:
        path: The config file, or the name of one of LFI's as `find_config` takes it; or a student's
            folder or repository on the Hugging Face Hub, as ``lfi.save_pretrained`` wrote it.
        options: Dotted keys and their new values. Defaults to None.

    Raises:
        UsageError: There is no such file, it cannot be read, or an option does not fit the config, as
            `set_few_labels` and `rebase_data_roots` say of theirs.
    """
    cfg = _read_config(path)
    rebase_data_roots(cfg, options or {})
    _check_settings(cfg, options or {})
    _check_numbers(cfg, options or {})
    try:
        cfg.merge_from_dict(options or {})
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError) as error:
        raise UsageError(f'--cfg-options {options} does not fit {path}: {error}') from error
    if any(key.split('.')[0] == 'custom_imports' for key in options or {}) and cfg.custom_imports:
        _import_modules(cfg)
    set_few_labels(cfg)
    _check_counts(cfg)
    return cfg


def _check_settings(cfg: Config, options: Mapping) -> None:
    """Refuse options of a setting that neither the config has nor the Runner reads: they change nothing."""
    known = {*cfg, *inspect.signature(Runner.__init__).parameters, *FURTHER_SETTINGS}
    for key, value in options.items():
        name = key.split('.')[0]
        if name not in known:
            hint = nearest(name, known) or 'write it into the config, if a part of yours reads it'
            raise UsageError(f'--cfg-options {key}={value}: the config has no {name!r}; {hint}')


def _check_numbers(cfg: Config, options: Mapping) -> None:
    """Refuse options that put a text in the place of a number: what reads it would name no option."""
    for key, value in options.items():
        before: Any = cfg
        for name in key.split('.'):
            before = before.get(name) if isinstance(before, Config | dict) else None
        if key.split('.')[-1] in NUMBER_OR_TEXT:
            continue
        if isinstance(value, str) and isinstance(before, int | float) and not isinstance(before, bool):
            raise UsageError(f'--cfg-options {key}={value}: the config has the number {before!r} there')


def _check_counts(cfg: Config) -> None:
    """Refuse batches and schedules of nothing."""
    counts = {
        f'{part}.{name}': value
        for part in (*LOADERS, 'train_cfg')
        for name in ('batch_size', 'max_epochs', 'max_iters')
        if isinstance(cfg.get(part), dict) and (value := cfg[part].get(name)) is not None
    }
    with as_usage_error(ValueError):
        check_whole(1, **counts)


def _import_modules(cfg: Config) -> None:
    """Import what `--cfg-options` add to custom_imports; MMEngine imports what the file names alone."""
    named = cfg.custom_imports
    try:
        import_modules_from_strings(**named)
    except (ImportError, TypeError) as error:
        raise UsageError(f'--cfg-options custom_imports={named!r}: {error}. {FIND_MODULE}') from error


def _read_config(path: str) -> Config:
    if is_student(path):
        from lfi.student_folder import read_config

        return read_config(local_folder(path))
    with as_usage_error(FileNotFoundError):
        file = find_config(path)
    try:
        return Config.fromfile(file)
    except (FileNotFoundError, ConfigParsingError) as error:
        raise UsageError(f'config {path}: {error}') from error
    except UsageError:
        raise
    # A config is code, which may raise anything.
    except Exception as error:
        raise UsageError(f'config {path} {_why_unread(error)}') from error


def _why_unread(error: Exception) -> str:
    """What a config that raised says, in one line."""
    first = ' '.join(str(error).split())
    if not isinstance(error, ImportError) or error.__cause__ is None:
        return f'cannot be read as an OpenMMLab config: {type(error).__name__}: {first}{_line_of(error)}'
    # MMEngine tells the whole sys.path.
    failed = error.__cause__
    reason = failed.__cause__ or failed.__context__ or failed
    return f'names custom_imports that fail: {failed} ({type(reason).__name__}: {reason}). {FIND_MODULE}'


def _line_of(error: Exception) -> str:
    """Where an error was raised, unless it says so itself."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, SyntaxError) or 'mmengine' in last.filename:
        return ''
    return f' ({last.filename or "the config"}, line {last.lineno})'
