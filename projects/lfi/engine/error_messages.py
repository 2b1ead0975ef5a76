"""Messages for errors that the user of a config or a command line can fix."""

from __future__ import annotations

import errno
import inspect
import re
from ast import literal_eval
from difflib import get_close_matches
from pathlib import Path
from traceback import extract_tb, walk_tb
from types import FrameType
from typing import Any, NamedTuple
from urllib.error import URLError

import mmengine.registry
from mmengine.registry import Registry

from lfi.errors import did_you_mean, similar_names

from .checkpoint_option import advice_on_checkpoint

FILE_ERRORS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
# Error numbers of a disk that is full or read-only.
DISK_ERRNOS = (errno.EDQUOT, errno.ENOSPC, errno.EROFS)
POSSIBLE_USER_ERRORS = (AssertionError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError)
"""Types of errors for which `user_error_message` may return a message."""
LFI_FOLDER = Path(__file__).parents[1]
DOWNLOAD_FILES = ('mmengine/runner/checkpoint.py', 'torch/hub.py')
# MMEngine's function that loads an `init_cfg` with a prefix.
PREFIX_LOADER = '_load_checkpoint_with_prefix'
BUILD_FILE = 'mmengine/registry/build_functions.py'
RUNNER_FILE = 'mmengine/runner/runner.py'
CLASSES_FILE = 'mmpretrain/engine/hooks/class_num_check_hook.py'
INCOMPLETE = 'should be either all None or not None'
"""Part of the message of MMEngine's Runner for a config without a part of the training."""
OPTIMIZER_FILE = 'torch/optim/optimizer.py'
UNKNOWN_TYPE = re.compile(r'(?P<type>\S+) is not in the \S+::(?P<kind>.+?) registry')
# Message of an OSError.
SYSTEM_ERROR = re.compile(r"\[Errno (?P<number>\d+)\] (?P<reason>.+?)(?:: (?P<name>'.+'|\".+\"))?")
WRONG_ARGUMENTS = re.compile(r'__init__\(\) (got an unexpected keyword argument|missing \d+ required)')


def user_error_message(error: BaseException) -> str | None:
    """Return a message of one line that says how to fix an error, or None if the user cannot fix it.

    Args:
        error: error that ended a tool.
    """
    worker = worker_error(error)
    if worker is not None:
        return _worker_error_message(worker, error)
    if isinstance(error, FILE_ERRORS):
        text = f'{error.strerror}: {error.filename}' if error.filename else ' '.join(str(error).split())
        return f'{text.rstrip(".")}{advice}' if (advice := advice_on_checkpoint(error)) else text
    if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
        return f'{error.strerror}{f": {error.filename}" if error.filename else ""}'
    if isinstance(error, NotImplementedError):
        return None
    if isinstance(error, AssertionError) and _last_frame(error).f_code.co_name == PREFIX_LOADER:
        arguments = _last_frame(error).f_locals
        return (
            f'{arguments["filename"]} has no weights whose names begin with {arguments["prefix"]!r}: in its '
            'init_cfg set prefix=None, or the prefix of its weights'
        )
    if isinstance(error, URLError):
        # Other URLs belong to images or annotations.
        if not any(
            frame.f_code.co_filename.endswith(DOWNLOAD_FILES) for frame, _ in walk_tb(error.__traceback__)
        ):
            return None
        advice = advice_on_checkpoint(error) or (
            ': set load_from, init_cfg.checkpoint or pretrained to a local file, or to None to train without '
            'it'
        )
        return f'{_requested_url(error)} cannot be fetched ({error.reason}){advice}'
    if isinstance(error, ImportError | RuntimeError | TypeError | ValueError) and _is_raised_by_lfi(error):
        return ' '.join(str(error).split())
    if isinstance(error, ValueError) and _last_frame(error).f_code.co_filename.endswith(OPTIMIZER_FILE):
        return (
            f'the checkpoint to resume is of another model or optimizer ({error}): give the config of its '
            'training; or begin with its weights only, by --cfg-options load_from=FILE in place of --resume'
        )
    if isinstance(error, AssertionError) and _last_frame(error).f_code.co_filename.endswith(CLASSES_FILE):
        return (
            f'{" ".join(str(error).split())}: set num_classes of the head to the number of classes, or take '
            'your own data if these are inherited from another config'
        )
    if isinstance(error, ValueError) and INCOMPLETE in str(error):
        names = ' '.join(str(error).split()).partition(', but got')[0]
        return f'{names}: the config lacks one, or misspells it'
    if isinstance(error, ImportError | OSError | RuntimeError | ValueError):
        return None
    built_type = _type_being_built(error)
    if built_type is None:
        built_type = _type_called_by_runner(error)
    if built_type is None:
        return None
    unknown = UNKNOWN_TYPE.search(str(error))
    if isinstance(error, KeyError) and unknown:
        name = unknown['type'].strip('\'"')
        types = _registered_types(unknown['kind'])
        scoped = sorted({kind for kind in types if kind.endswith(f'.{name}')})
        if scoped:
            return f'type={name!r} of the config lacks the name of its project: write {" or ".join(scoped)}'
        similar = get_close_matches(name, types, n=3)
        return (
            f'type={name!r} of the config is registered in no installed project; '
            + (f'{similar_names(similar)}; or ' if similar else '')
            + "import its module by custom_imports=dict(imports=['...'])"
        )
    if isinstance(error, TypeError) and WRONG_ARGUMENTS.search(str(error)):
        return (
            f'type={_type_name(built_type)!r} of the config does not take its arguments: {error}'
            f'{_argument_hint(error, built_type)}'
        )
    return None


def _worker_error_message(worker: WorkerError, error: BaseException) -> str | None:
    """Return `user_error_message` for an error that a data-loader worker raised."""
    system = SYSTEM_ERROR.fullmatch(worker.message)
    if isinstance(error, FILE_ERRORS) and not system:
        return ' '.join(worker.message.split())
    if system and (isinstance(error, FILE_ERRORS) or int(system['number']) in DISK_ERRNOS):
        return f'{system["reason"]}{f": {literal_eval(name)}" if (name := system["name"]) else ""}'
    if isinstance(error, RuntimeError | TypeError | ValueError) and not isinstance(
        error, NotImplementedError
    ):
        return ' '.join(worker.message.split()) if _raises_in_lfi(worker.file, worker.line) else None
    return None


def _is_raised_by_lfi(error: BaseException) -> bool:
    """Whether a `raise` of LFI raised the error, whose message then says how to fix it."""
    last = extract_tb(error.__traceback__)[-1]
    return _raises_in_lfi(last.filename, last.line or '')


def _raises_in_lfi(file: str, line: str) -> bool:
    return Path(file).is_relative_to(LFI_FOLDER) and line.startswith('raise ')


def _requested_url(error: BaseException) -> str:
    """Return the `url` of the outermost function of a traceback that has this variable."""
    urls = (frame.f_locals.get('url') for frame, _ in walk_tb(error.__traceback__))
    return next((url for url in urls if isinstance(url, str)), 'an address of the config')


def _type_being_built(error: BaseException) -> Any:
    """Return the type that a registry was building; '' if it found no type; None outside registries."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    build_locals = [frame.f_locals for frame in frames if frame.f_code.co_filename.endswith(BUILD_FILE)]
    return (build_locals[-1].get('obj_cls') or '') if build_locals else None


def _type_called_by_runner(error: BaseException) -> Any:
    """Return the class in the message of an error that MMEngine's Runner raised, or None."""
    frame = _last_frame(error)
    if not frame.f_code.co_filename.endswith(RUNNER_FILE):
        return None
    return frame.f_globals.get(str(error).partition('.')[0])


def _last_frame(error: BaseException) -> FrameType:
    """Return the frame that raised an error."""
    return [frame for frame, _ in walk_tb(error.__traceback__)][-1]


def _registered_types(kind: str) -> list[str]:
    """Return the names of all types in the registries of a kind, with and without scope."""
    roots = [root for root in vars(mmengine.registry).values() if isinstance(root, Registry)]
    return [name for root in roots if root.name == kind for name in _registered_names(root)]


def _registered_names(registry: Registry) -> list[str]:
    scoped = [f'{registry.scope}.{name}' for name in registry.module_dict]
    inherited = [name for child in registry.children.values() for name in _registered_names(child)]
    return scoped + list(registry.module_dict) + inherited


def _argument_hint(error: BaseException, built_type: Any) -> str:
    if 'Did you mean' in str(error):
        # Python 3.13 adds its own hint.
        return ''
    match = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    kinds = inspect.getmro(built_type) if isinstance(built_type, type) else ()
    arguments = {
        name
        for kind in kinds
        for name in inspect.signature(vars(kind).get('__init__', object.__init__)).parameters
    }
    hint = did_you_mean(match[1], sorted(arguments)) if match else ''
    return f'; {hint}' if hint else ''


def _type_name(built_type: Any) -> str:
    return getattr(built_type, '__name__', str(built_type))


# For a worker's error, torch raises an error of its class or a RuntimeError, with its traceback as message.
WORKER_TRACEBACK = re.compile(r'^Caught \w+ in .+\.\nOriginal Traceback ')
HEADER = 'Traceback (most recent call last):\n'
FRAME = re.compile(r'^  File "(?P<file>.+)", line \d+, in .+\n(?:    (?P<line>.+)\n)?', re.MULTILINE)


class WorkerError(NamedTuple):
    """An error that a data-loader worker raised.

    Args:
        message: message of the error.
        file: source file that raised it.
        line: source line that raised it, or '' if Python does not know it.
    """

    message: str
    file: str
    line: str


def worker_error(error: BaseException) -> WorkerError | None:
    """Return the error of a worker from the error that torch raised in the main process, or None.

    Args:
        error: error in the main process, which a worker may have caused.
    """
    text = str(error)
    if not WORKER_TRACEBACK.match(text):
        return None
    # The last traceback is the one that reached the loader. Its causes come before it.
    trace = text.rpartition(HEADER)[2]
    frames = list(FRAME.finditer(trace))
    final = re.search(r'^\S.*', trace, re.MULTILINE | re.DOTALL)
    if not frames or final is None:
        return None
    # Remove the name of the class.
    message = final[0].rstrip('\n').partition(': ')[2]
    return WorkerError(message, frames[-1]['file'], frames[-1]['line'] or '')


def error_text(error: BaseException) -> str:
    """Return the message of an error, without the traceback of a worker."""
    worker = worker_error(error)
    return str(error) if worker is None else worker.message
