"""Which of Python's errors are mistakes of a config or a command line, and what to say of them."""

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

from lfi.errors import near_it, nearest

FILES = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
# A disk that is full, or not to be written.
DISKS = (errno.EDQUOT, errno.ENOSPC, errno.EROFS)
MISTAKES = (AssertionError, KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What may be a mistake: `said_of` knows."""
LFI = Path(__file__).parents[1]
FETCHES = ('mmengine/runner/checkpoint.py', 'torch/hub.py')
# Of MMEngine, for an `init_cfg` with a prefix.
LOADS_PREFIX = '_load_checkpoint_with_prefix'
BUILDS = 'mmengine/registry/build_functions.py'
RUNNER = 'mmengine/runner/runner.py'
OPTIMIZER = 'torch/optim/optimizer.py'
UNKNOWN = re.compile(r'(?P<type>\S+) is not in the \S+::(?P<kind>.+?) registry')
# A failure of the system, as Python words it.
SYSTEM = re.compile(r"\[Errno (?P<number>\d+)\] (?P<reason>.+?)(?:: (?P<name>'.+'|\".+\"))?")
ARGUMENTS = re.compile(r'__init__\(\) (got an unexpected keyword argument|missing \d+ required)')


def said_of(error: BaseException) -> str | None:
    """A mistake in one line, with what to write instead; None where an error is none that a user made.

    Args:
        error: that was raised.
    """
    worker = worker_error(error)
    if worker is not None:
        return _said_of_worker(worker, error)
    if isinstance(error, FILES):
        return f'{error.strerror}: {error.filename}' if error.filename else ' '.join(str(error).split())
    if isinstance(error, OSError) and error.errno in DISKS:
        return f'{error.strerror}{f": {error.filename}" if error.filename else ""}'
    if isinstance(error, NotImplementedError):
        return None
    if isinstance(error, AssertionError) and _last_frame(error).f_code.co_name == LOADS_PREFIX:
        asked = _last_frame(error).f_locals
        return (
            f'{asked["filename"]} has no weights whose names begin with {asked["prefix"]!r}: in the init_cfg '
            'that names it write prefix=None, or how its names begin'
        )
    if isinstance(error, URLError):
        # Images and annotations may have addresses too.
        if not any(frame.f_code.co_filename.endswith(FETCHES) for frame, _ in walk_tb(error.__traceback__)):
            return None
        return (
            f'{_asked_url(error)} cannot be fetched ({error.reason}): write a local file in its place, in '
            'load_from, a checkpoint of init_cfg or pretrained; or None, to begin without'
        )
    if isinstance(error, RuntimeError | TypeError | ValueError) and _is_lfis(error):
        return ' '.join(str(error).split())
    if isinstance(error, ValueError) and _last_frame(error).f_code.co_filename.endswith(OPTIMIZER):
        return (
            f'the checkpoint to resume is of another model or optimizer ({error}): give the config of its '
            'training; or begin with its weights alone, by --cfg-options load_from=FILE in place of --resume'
        )
    if isinstance(error, OSError | RuntimeError | ValueError):
        return None
    built = _built(error)
    if built is None:
        built = _built_by_runner(error)
    if built is None:
        return None
    unknown = UNKNOWN.search(str(error))
    if isinstance(error, KeyError) and unknown:
        name = unknown['type'].strip('\'"')
        types = _types(unknown['kind'])
        scoped = sorted({found for found in types if found.endswith(f'.{name}')})
        if scoped:
            return f'type={name!r} of the config lacks the name of its project: write {" or ".join(scoped)}'
        near = get_close_matches(name, types, n=3)
        return (
            f'type={name!r} of the config is registered in no project that is installed; '
            + (f'{near_it(near)}; or ' if near else '')
            + "import its module by custom_imports=dict(imports=['...'])"
        )
    if isinstance(error, TypeError) and ARGUMENTS.search(str(error)):
        return (
            f'type={_name(built)!r} of the config does not take its arguments: {error}{_near(error, built)}'
        )
    return None


def _said_of_worker(worker: WorkerError, error: BaseException) -> str | None:
    """The same of an error that a loader's worker has handed on."""
    system = SYSTEM.fullmatch(worker.message)
    if isinstance(error, FILES) and not system:
        return ' '.join(worker.message.split())
    if system and (isinstance(error, FILES) or int(system['number']) in DISKS):
        return f'{system["reason"]}{f": {literal_eval(name)}" if (name := system["name"]) else ""}'
    if isinstance(error, RuntimeError | TypeError | ValueError) and not isinstance(
        error, NotImplementedError
    ):
        return ' '.join(worker.message.split()) if _raises_in_lfi(worker.file, worker.line) else None
    return None


def _is_lfis(error: BaseException) -> bool:
    """Whether a line of LFI raised it: then its message says what to write. Errors of Python come without."""
    last = extract_tb(error.__traceback__)[-1]
    return _raises_in_lfi(last.filename, last.line or '')


def _raises_in_lfi(file: str, line: str) -> bool:
    return Path(file).is_relative_to(LFI) and line.startswith('raise ')


def _asked_url(error: BaseException) -> str:
    """The address that was given to what raised an error."""
    urls = (frame.f_locals.get('url') for frame, _ in walk_tb(error.__traceback__))
    return next((url for url in urls if isinstance(url, str)), 'an address of the config')


def _built(error: BaseException) -> Any:
    """What a registry was building when an error was raised, '' where it had not found it; None outside."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    building = [frame.f_locals for frame in frames if frame.f_code.co_filename.endswith(BUILDS)]
    return (building[-1].get('obj_cls') or '') if building else None


def _built_by_runner(error: BaseException) -> Any:
    """The class that MMEngine's Runner called itself, by its name in the message; None for others."""
    frame = _last_frame(error)
    if not frame.f_code.co_filename.endswith(RUNNER):
        return None
    return frame.f_globals.get(str(error).partition('.')[0])


def _last_frame(error: BaseException) -> FrameType:
    """Of what raised an error."""
    return [frame for frame, _ in walk_tb(error.__traceback__)][-1]


def _types(kind: str) -> list[str]:
    """All types of a kind, with their scopes."""
    roots = [root for root in vars(mmengine.registry).values() if isinstance(root, Registry)]
    return [name for root in roots if root.name == kind for name in _names(root)]


def _names(registry: Registry) -> list[str]:
    own = [f'{registry.scope}.{name}' for name in registry.module_dict]
    return (
        own + list(registry.module_dict) + [n for child in registry.children.values() for n in _names(child)]
    )


def _near(error: BaseException, built: Any) -> str:
    if 'Did you mean' in str(error):
        # Python 3.13 says it itself.
        return ''
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    kinds = inspect.getmro(built) if isinstance(built, type) else ()
    taken = {
        name
        for kind in kinds
        for name in inspect.signature(vars(kind).get('__init__', object.__init__)).parameters
    }
    near = nearest(found[1], sorted(taken)) if found else ''
    return f'; {near}' if near else ''


def _name(built: Any) -> str:
    return getattr(built, '__name__', str(built))


# torch raises the same class anew, or a RuntimeError, and its message is the whole traceback.
CAUGHT = re.compile(r'^Caught \w+ in .+\.\nOriginal Traceback ')
HEADER = 'Traceback (most recent call last):\n'
FRAME = re.compile(r'^  File "(?P<file>.+)", line \d+, in .+\n(?:    (?P<line>.+)\n)?', re.MULTILINE)


class WorkerError(NamedTuple):
    """An error of a loader's worker.

    Args:
        message: its words.
        file: in which it was raised.
        line: that raised it; '' where Python does not know.
    """

    message: str
    file: str
    line: str


def worker_error(error: BaseException) -> WorkerError | None:
    """What a worker raised, if an error was handed on from one; None if it was not.

    Args:
        error: as torch raises it in the process of the loader.
    """
    text = str(error)
    if not CAUGHT.match(text):
        return None
    # The last traceback is of what reached the loader; those of its causes stand before.
    trace = text.rpartition(HEADER)[2]
    frames = list(FRAME.finditer(trace))
    said = re.search(r'^\S.*', trace, re.MULTILINE | re.DOTALL)
    if not frames or said is None:
        return None
    # The name of its class stands before them.
    message = said[0].rstrip('\n').partition(': ')[2]
    return WorkerError(message, frames[-1]['file'], frames[-1]['line'] or '')


def words_of(error: BaseException) -> str:
    """The words of an error, wherever it was raised."""
    worker = worker_error(error)
    return str(error) if worker is None else worker.message
