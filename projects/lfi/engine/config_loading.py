"""Loading of configs, with changes by `--cfg-options`."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from lfi.config_files import find_config
from lfi.errors import UsageError, as_usage_error, did_you_mean
from lfi.registry import MODELS
from lfi.utils.config_types import type_name
from lfi.utils.options import check_whole, is_root_option
from lfi.utils.repositories import is_student, local_folder

from .data_root_option import rebase_data_roots
from .few_labels_option import set_few_labels
from .max_epochs_option import set_max_epochs
from .pipelines import LOADERS

IMPORT_ADVICE = 'Correct the name, or set PYTHONPATH to the folder of the module: PYTHONPATH=. lfi ...'
BACKBONE = 'model.backbone.'
# Options that take a number or a word, such as 'dynamic'.
NUMBER_OR_TEXT = ('loss_scale',)
# Settings that MMEngine and LFI's tools read beside the arguments of the Runner.
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
READ = {*inspect.signature(Runner.__init__).parameters, *FURTHER_SETTINGS}


def load_config(path: str, options: dict | None = None) -> Config:
    """Load a config and apply ``--cfg-options``.

    The option ``data_root`` moves all data sets, ``max_epochs`` scales the schedule with the training, and
    ``train_dataloader.few_labels`` is expanded.

    Args:
        path: Config file, or name of a config of LFI, see `find_config`; or a student's folder or
            repository on the Hugging Face Hub that ``lfi.save_pretrained`` wrote.
        options: Dotted keys and new values. Defaults to None.

    Raises:
        UsageError: If the file does not exist or cannot be read, or an option does not fit the config; see
            also `set_few_labels`, `set_max_epochs` and `rebase_data_roots`.
    """
    cfg = _read_config(path)
    apply_options(cfg, options or {}, path)
    return cfg


def apply_options(cfg: Config, options: Mapping[str, Any], name: str) -> None:
    """Apply ``--cfg-options`` to a config, in place. See `load_config` for the options and errors.

    Args:
        cfg: Config.
        options: Dotted keys and new values.
        name: Name of the config, for messages.
    """
    rebase_data_roots(cfg, options)
    set_max_epochs(cfg, options)
    _check_settings(cfg, options)
    _check_variables(cfg, options)
    _check_adapted_backbone(cfg, options)
    _check_numbers(cfg, options)
    try:
        cfg.merge_from_dict(dict(options))
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError) as error:
        raise UsageError(f'--cfg-options {dict(options)} does not fit {name}: {error}') from error
    if any(key.split('.')[0] == 'custom_imports' for key in options) and cfg.custom_imports:
        _import_modules(cfg)
    set_few_labels(cfg)
    _check_counts(cfg)


def _check_settings(cfg: Config, options: Mapping) -> None:
    """Refuse options whose setting is neither in the config nor read by the Runner."""
    settings = {*cfg, *READ}
    for key, value in options.items():
        name = key.split('.')[0]
        if name not in settings:
            hint = did_you_mean(name, settings) or 'write it into the config if your code reads it'
            raise UsageError(f'--cfg-options {key}={value}: the config has no {name!r}; {hint}')


def _check_variables(cfg: Config, options: Mapping) -> None:
    """Refuse options of a variable, such as `num_classes`, whose value settings hold already.

    If none does, there is a warning: settings may be computed from it, or the user's own code may read it.
    """
    for key, value in options.items():
        name = key.split('.')[0]
        if name in READ or name == 'max_epochs' or is_root_option(name):
            continue
        option = f'--cfg-options {key}={value}: {name} is a variable'
        holders = list(_holders(cfg, name))
        kept = [path for path in holders if path not in options]
        if kept:
            raise UsageError(f'{option}; settings that hold its value keep it: set {" and ".join(kept)}')
        if not holders:
            message = f'{option}; settings that are computed from it keep their values'
            print_log(message, 'current', logging.WARNING)


def _holders(cfg: Config, variable: str) -> Iterator[str]:
    """Yield the dotted keys of settings that hold the value of a variable.

    A number may be there by chance, so it counts only under the variable's own name.
    """
    wanted = cfg[variable]
    if not wanted or isinstance(wanted, bool):
        return
    stack: list[tuple[str, Any]] = [(name, cfg[name]) for name in cfg if name in READ]
    while stack:
        path, value = stack.pop(0)
        same_name = path.split('.')[-1] == variable
        counts = same_name or not isinstance(value, int | float)
        if counts and type(value) is type(wanted) and value == wanted:
            yield path
        elif isinstance(value, dict):
            stack += [(f'{path}.{name}', part) for name, part in value.items()]
        elif isinstance(value, list | tuple):
            stack += [(f'{path}.{index}', part) for index, part in enumerate(value)]


def _check_adapted_backbone(cfg: Config, options: Mapping) -> None:
    """Refuse options of a backbone that is inside an adapter, written as for the backbone alone."""
    backbone: Any = (cfg.get('model') or {}).get('backbone') or {}
    if type_name(backbone) != 'InteractionQueryAdapter':
        return
    adapter: Any = MODELS.get('InteractionQueryAdapter')
    arguments = {*inspect.signature(adapter).parameters, 'type', '_delete_'}
    for key, value in options.items():
        name = key.removeprefix(BACKBONE)
        if name != key and name.split('.')[0] not in arguments:
            raise UsageError(
                f'--cfg-options {key}={value}: the backbone is inside an adapter, write '
                f'{BACKBONE}backbone.{name}={value}'
            )


def _check_numbers(cfg: Config, options: Mapping) -> None:
    """Refuse options that replace a number by a text: later errors would not name the option."""
    for key, value in options.items():
        before: Any = cfg
        for name in key.split('.'):
            before = before.get(name) if isinstance(before, Config | dict) else None
        if key.split('.')[-1] in NUMBER_OR_TEXT:
            continue
        if isinstance(value, str) and isinstance(before, int | float) and not isinstance(before, bool):
            raise UsageError(f'--cfg-options {key}={value}: the config has the number {before!r} there')


def _check_counts(cfg: Config) -> None:
    """Refuse batch sizes and schedule lengths below 1."""
    counts = {
        f'{part}.{name}': value
        for part in (*LOADERS, 'train_cfg')
        for name in ('batch_size', 'max_epochs', 'max_iters')
        if isinstance(cfg.get(part), dict) and (value := cfg[part].get(name)) is not None
    }
    with as_usage_error(ValueError):
        check_whole(1, **counts)


def _import_modules(cfg: Config) -> None:
    """Import `custom_imports` that `--cfg-options` changed. MMEngine imports only what the file lists."""
    imports = cfg.custom_imports
    try:
        import_modules_from_strings(**imports)
    except (ImportError, TypeError) as error:
        raise UsageError(f'--cfg-options custom_imports={imports!r}: {error}. {IMPORT_ADVICE}') from error


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
    # A config is code and may raise anything.
    except Exception as error:
        raise UsageError(f'config {path} {_reading_error(error)}') from error


def _reading_error(error: Exception) -> str:
    """Return the error of a config as a single line."""
    text = ' '.join(str(error).split())
    if not isinstance(error, ImportError) or error.__cause__ is None:
        return f'cannot be read as an OpenMMLab config: {type(error).__name__}: {text}{_location(error)}'
    # The message of MMEngine holds the whole sys.path.
    cause = error.__cause__
    reason = cause.__cause__ or cause.__context__ or cause
    return f'names custom_imports that fail: {cause} ({type(reason).__name__}: {reason}). {IMPORT_ADVICE}'


def _location(error: Exception) -> str:
    """Return the file and line of an error, or '' if the message has them or MMEngine raised the error."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, SyntaxError) or 'mmengine' in last.filename:
        return ''
    return f' ({last.filename or "the config"}, line {last.lineno})'
