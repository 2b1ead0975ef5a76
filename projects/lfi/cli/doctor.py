"""Say what is installed, where data and teachers lie, and what is missing.

lfi doctor
lfi doctor my_resnet50.py
lfi doctor mmdet::rtmdet_tiny_8xb32-300e_coco --online

With a config it looks for the data and teachers of that alone, and says which of the checkpoints that it
begins with cannot be had, and what replaces them.
The exit status is 0 unless training cannot work.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lfi.config_files import ROOTS, configs_folder
from lfi.errors import UsageError
from lfi.ops import StandIn
from lfi.utils.matplotlib_settings import pass_over_matplotlibrc
from lfi.version import __version__

from .arguments import ArgumentParser

if TYPE_CHECKING:
    from mmengine.config import Config

# It says what is missing of the stack.
NEEDS_STACK = False
# How long a host may take to answer.
SECONDS = 5
State = Literal['ok', 'missing', 'wrong']
# What configs call a user's folder of images, and one of labelled ones beside it.
OWN_FOLDERS = {'images', 'labelled'}
# The section that a config narrows.
FOLDERS = 'Data and teachers'
FIRST_CONFIG = 'lfi_vit-128x6-p8_shapes'
"""A config whose data and teacher come with the package."""
COLOURS = {'ok': 'green', 'missing': 'yellow', 'wrong': 'bold red'}
STACKS = {
    'onedl': ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain', 'onedl-mmdetection'),
    'openmmlab': ('mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain', 'mmdet'),
}
"""The distributions of a stack, by the extra that installs it."""
REQUIRED = {
    'torch': ('torch',),
    'torchvision': ('torchvision',),
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    'mmpretrain': ('onedl-mmpretrain', 'mmpretrain'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'open_clip': ('open_clip_torch',),
    'timm': ('timm',),
}
"""What training needs: packages, and the distributions that may bring them."""
OPTIONAL = {
    'transformers': 'multimodal',
    'textblob': 'captions',
    'onnxruntime': 'export',
    'gradio': 'demo',
    'mmseg': 'segmentation',
}
"""What parts of LFI need: packages, and the extras that bring them."""


@dataclass(frozen=True)
class Finding:
    """A line of the report.

    Args:
        state: `wrong` where training cannot work, `missing` where a part of LFI cannot.
        name: of what was looked for.
        found: what was found.
        fix: what to type, or to do. Defaults to nothing.
    """

    state: State
    name: str
    found: str
    fix: str = ''


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        'config', nargs='?', help="a config to look into: a file, one of LFI's, or mmdet::NAME of a project's"
    )
    parser.add_argument(
        '--online', action='store_true', help="ask the hosts of the config's checkpoints, by a HEAD request"
    )
    parser.add_check(
        lambda args: (
            '--online asks about the checkpoints of a config: name one'
            if args.online and args.config is None
            else None
        )
    )


def run(args: Namespace) -> None:
    """Print all findings; the process ends with 1 where training cannot work, and with 0 otherwise."""
    pass_over_matplotlibrc()
    found = {title: list(look()) for title, look in SECTIONS.items()}
    if args.config is not None:
        found |= of_config(args.config, answer_of if args.online else not_asked)
    report(found, Console(), f'lfi train {args.config or FIRST_CONFIG}')
    sys.exit(any(finding.state == 'wrong' for findings in found.values() for finding in findings))


@cache
def version_of(*distributions: str) -> str | None:
    """The version of the first of some distributions that is installed, or None."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def stack() -> Iterator[Finding]:
    """The two stacks, the packages of the one that is there, and whether models can be imported."""
    there = [extra for extra, names in STACKS.items() if version_of(*names)]
    if len(there) > 1:
        yield Finding(
            'wrong',
            'stack',
            'both onedl and openmmlab: each overwrites files of the other',
            "make a new environment, and in it: pip install 'lfi[onedl]'",
        )
    else:
        # Packages may lie on PYTHONPATH, without a distribution.
        yield Finding('ok', 'stack', there[0] if there else 'of unknown distributions')
    yield Finding('ok', 'python', f'{sys.version.split()[0]} ({sys.executable})')
    yield Finding('ok', 'lfi', f'{__version__} ({Path(__file__).parents[1]})')
    extra = there[0] if there else 'onedl'
    for package, distributions in REQUIRED.items():
        if find_spec(package) is None:
            yield Finding('wrong', package, 'not installed', f"pip install 'lfi[{extra}]'")
        else:
            yield Finding('ok', package, version_of(*distributions) or 'of unknown version')
    for package, extra in OPTIONAL.items():
        if find_spec(package) is None:
            yield Finding('missing', package, 'not installed', f"pip install 'lfi[{extra}]'")
        else:
            yield Finding('ok', package, version_of(package, f'onedl-{package}') or 'of unknown version')
    yield models()


def models() -> Finding:
    """Whether students, teachers and detectors can be imported."""
    try:
        for module in ('lfi.models', 'lfi.datasets', 'mmdet.models'):
            import_module(module)
    except Exception as error:  # Whatever a broken installation raises is what is looked for.
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        fix = 'install what it names again'
        if version_of('mmpretrain') and find_spec('transformers') is not None:
            fix = 'pip uninstall transformers (mmpretrain 1.2 needs one before 4.50), or take the stack onedl'
        return Finding('wrong', 'models', f'cannot be imported: {reason}', fix)
    return Finding('ok', 'models', 'can be imported')


def devices() -> Iterator[Finding]:
    """The GPUs, or the threads of the CPU, and where mmcv's ops come from."""
    if find_spec('torch') is None or find_spec('mmcv') is None:
        return
    import torch

    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding('ok', f'cuda:{index}', f'{properties.name}, {properties.total_memory / 2**30:.0f} GiB')
    if not torch.cuda.is_available():
        build = f'built for CUDA {torch.version.cuda}' if torch.version.cuda else 'built without CUDA'
        yield Finding('ok', 'GPU', f'none that torch can use ({build})')
    yield Finding('ok', 'cpu', f'{torch.get_num_threads()} threads of {os.cpu_count()}')
    spec = find_spec('mmcv._ext')
    own = spec is not None and not isinstance(spec.loader, StandIn)
    yield Finding('ok', "mmcv's ops", 'compiled' if own else "lfi's stand-in by torchvision")


def roots() -> Iterator[Finding]:
    """The folders that configs name below the roots of data and of teachers."""
    configs = '\n'.join(path.read_text(encoding='utf-8') for path in configs_folder().rglob('*.py'))
    for variable in ROOTS:
        yield from below_root(variable, _named(configs, variable) - OWN_FOLDERS)
    yield Finding('ok', 'built-in', 'the data set Shapes and its teacher come with lfi')


def roots_of(cfg: Config) -> Iterator[Finding]:
    """The folders that one config names there."""
    # A teacher's file is no base: `lfi.teacher_config` reads it.
    teachers = (path.read_text(encoding='utf-8') for path in (configs_folder() / '_base_/teachers').iterdir())
    text = '\n'.join((cfg.text, *teachers))
    # A config may replace what its base names, and leave the base's variable `data_root` as it is.
    used = repr([value for value in cfg.to_dict().values() if not isinstance(value, str)])
    empty = True
    for variable, default in ROOTS.items():
        root = os.environ.get(variable, default)
        if names := {name for name in _named(text, variable) if f'{root}/{name}' in used}:
            yield from below_root(variable, names)
            empty = False
    if empty:
        yield Finding('ok', 'none', f'the config names no folder below {" or ".join(ROOTS)}')


def _named(text: str, variable: str) -> set[str]:
    """The folders that the text of configs names below the root of a variable."""
    return set(re.findall(rf'\{{\{{\${variable}:{ROOTS[variable]}\}}\}}/([\w.-]+)', text))


def below_root(variable: str, names: set[str]) -> Iterator[Finding]:
    """A root and folders below it.

    Args:
        variable: of the environment, which names the root.
        names: of the folders.
    """
    root = Path(os.environ.get(variable, ROOTS[variable]))
    origin = '' if variable in os.environ else ' (default)'
    fix = f'export {variable}=FOLDER'
    if root.is_dir():
        yield Finding('ok', variable, f'{root}{origin}')
    else:
        yield Finding('missing', variable, f'{root}{origin} is not a folder', fix)
    for name in sorted(names, key=str.lower):
        if (root / name).is_dir():
            yield Finding('ok', f'  {name}', str(root / name))
        else:
            yield Finding('missing', f'  {name}', f'not in {root}', f'{fix}, the one that holds {name}')


def hubs() -> Iterator[Finding]:
    """Where weights are kept that a hub has given, and whether hubs are asked."""
    if find_spec('huggingface_hub') is not None:
        from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE

        kept = [path.name for path in sorted(Path(HF_HUB_CACHE).glob('models--*'))]
        names = ', '.join(name.removeprefix('models--').replace('--', '/') for name in kept)
        yield _kept('Hugging Face', Path(HF_HUB_CACHE), names or 'no models', 'HF_HOME')
        offline = 'set: models that are not kept are not fetched' if HF_HUB_OFFLINE else 'not set'
        yield Finding('ok', 'HF_HUB_OFFLINE', offline)
    if find_spec('torch') is not None:
        import torch

        folder = Path(torch.hub.get_dir())
        kept = [path.name for path in sorted((folder / 'checkpoints').glob('*'))]
        yield _kept('torch hub', folder, ', '.join(kept) or 'no checkpoints', 'TORCH_HOME')


def _kept(hub: str, folder: Path, names: str, variable: str) -> Finding:
    """What is kept in a hub's folder, which downloads must be able to write."""
    there = next(part for part in (folder, *folder.parents) if part.exists())
    if there.is_dir() and os.access(there, os.W_OK):
        return Finding('ok', hub, f'{folder}: {names}')
    fix = f'export {variable}=FOLDER, one that can be written; else nothing is downloaded'
    return Finding('missing', hub, f'{folder} cannot be written: {names}', fix)


def of_config(config: str, ask: Callable[[str, str], Finding]) -> dict[str, list[Finding]]:
    """Findings of a config by section: folders below the roots, and checkpoints that it begins with.

    Args:
        config: as `locate_config` takes it.
        ask: as of `checkpoints`.
    """
    title = f'Checkpoints of {config}'
    try:
        from lfi.adaptation import locate_config
        from lfi.engine.config_loading import load_config

        cfg = load_config(str(locate_config(config)[1]))
        return {FOLDERS: list(roots_of(cfg)), title: list(checkpoints(cfg, ask))}
    except Exception as error:  # As of `models`; and a config may raise anything.
        return {title: [Finding('wrong', config, ' '.join(str(error).split()))]}


def checkpoints(cfg: Config, ask: Callable[[str, str], Finding]) -> Iterator[Finding]:
    """The checkpoints that a config begins with.

    Args:
        cfg: the config.
        ask: gives the finding for a key of the config and an address whose file is not kept.
    """
    from lfi.engine.checkpoints.addresses import named_checkpoints

    named = list(named_checkpoints(cfg))
    for key, checkpoint in named:
        yield checkpoint_at(key, checkpoint, ask)
    if not named:
        yield Finding('ok', 'none', 'the config begins with no checkpoint')


def checkpoint_at(key: str, checkpoint: str, ask: Callable[[str, str], Finding]) -> Finding:
    """The finding for one checkpoint; arguments as of `NamedCheckpoint` and `checkpoints`."""
    from lfi.engine.checkpoints.addresses import download_path, gone_host_message, resolve_checkpoint

    try:
        address = resolve_checkpoint(checkpoint)
    except UsageError as error:
        return Finding('wrong', key, str(error))
    if '://' not in address:
        path = Path(address).expanduser()
        # A student is a folder.
        if path.exists():
            return Finding('ok', key, address)
        return Finding('wrong', key, f'{address} is not there', f'{key}=FILE, or None to begin without')
    if not address.startswith(('http://', 'https://')):
        return Finding('ok', key, f'{address}, of which only a training knows whether it is there')
    if Path(download_path(address)).is_file():
        return Finding('ok', key, f'{address}, kept in {download_path(address)}')
    if gone := gone_host_message(address):
        return Finding('wrong', key, address, gone)
    return ask(key, address)


def not_asked(key: str, url: str) -> Finding:
    """The finding for an address whose host is not asked."""
    return Finding('ok', key, f'{url}, not asked whether it is there: --online does')


def answer_of(key: str, url: str) -> Finding:
    """The finding for an address whose host is asked by a HEAD request."""
    try:
        with urlopen(Request(url, method='HEAD'), timeout=SECONDS):
            return Finding('ok', key, f'{url}, its host has it')
    except HTTPError as error:
        return Finding('wrong', key, f'{url}: its host says {error.code} {error.reason}', f'{key}=FILE')
    except OSError as error:
        # The network may be there at the training.
        reason = getattr(error, 'reason', error)
        return Finding('missing', key, f'{url}: its host cannot be asked ({reason})', 'is there a network?')


SECTIONS: dict[str, Callable[[], Iterator[Finding]]] = {
    'Packages': stack,
    'Devices': devices,
    FOLDERS: roots,
    'Caches of hubs': hubs,
}


def report(found: dict[str, list[Finding]], console: Console, begin: str) -> None:
    """Print findings by section: tables for a terminal, or else a line of plain text for each.

    Args:
        found: the findings, by the title of their section.
        console: to print on.
        begin: the command that begins a training.
    """
    write = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    for title, findings in found.items():
        write(title, style='bold')
        if console.is_terminal:
            console.print(table_of(findings), '')
            continue
        for each in findings:
            write(f'  {each.state:<8} {each.name:<18} {each.found}{each.fix and f" -> {each.fix}"}')
    wrong = [each.name for findings in found.values() for each in findings if each.state == 'wrong']
    write(f'Training cannot work: {", ".join(wrong)}' if wrong else f'Training can work: {begin}')


def table_of(findings: list[Finding]) -> Table:
    """A table for a terminal."""
    table = Table('', '', 'found', 'what to do', box=None)
    for each in findings:
        table.add_row(Text(each.state, COLOURS[each.state]), each.name, Text(each.found), Text(each.fix))
    return table
