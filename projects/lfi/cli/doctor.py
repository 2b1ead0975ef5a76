"""Check the installation, data folders, teachers and checkpoints.

lfi doctor
lfi doctor my_resnet50.py
lfi doctor mmdet::rtmdet_tiny_8xb32-300e_coco --online

With a config, checks only the data and teachers that it names, and reports initial checkpoints that cannot be
loaded, with replacements. The exit status is 0 unless training cannot work.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
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
from lfi.utils.matplotlib_settings import ignore_matplotlibrc
from lfi.utils.next_commands import print_next
from lfi.version import __version__

from .arguments import ArgumentParser

if TYPE_CHECKING:
    from mmengine.config import Config

# The command must run without torch and OpenMMLab, to report missing packages.
NEEDS_TORCH = False
# Timeout of a host in seconds.
SECONDS = 5
State = Literal['ok', 'missing', 'wrong']
# Placeholders in configs for a user's folders of images.
OWN_FOLDERS = {'images', 'labelled'}
# Title of the section that, with a config, lists only the folders of this config.
FOLDERS = 'Data and teachers'
FIRST_CONFIG = 'lfi_vit-128x6-p8_shapes'
"""Config whose data and teacher come with the package."""
COLOURS = {'ok': 'green', 'missing': 'yellow', 'wrong': 'bold red'}
STACKS = {
    'onedl': ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain', 'onedl-mmdetection'),
    'openmmlab': ('mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain', 'mmdet'),
}
"""Distributions of OpenMMLab's packages, by the extra that installs them."""
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
"""Packages that training needs, with the distributions that may install them."""
OPTIONAL = {
    'transformers': 'multimodal',
    'textblob': 'captions',
    'onnxruntime': 'export',
    'gradio': 'demo',
    'supervision': 'formats',
    'mmseg': 'segmentation',
}
"""Packages that parts of LFI need, with the extras that install them."""


@dataclass(frozen=True)
class Finding:
    """Line of the report.

    Args:
        state: `wrong` if training cannot work; `missing` if only an optional part of LFI cannot work.
        name: name of the checked item.
        detail: result of the check.
        fix: command or action that helps. Defaults to ''.
    """

    state: State
    name: str
    detail: str
    fix: str = ''


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        'config', nargs='?', help="config to check: a file, one of LFI's, or a project's as mmdet::NAME"
    )
    parser.add_argument(
        '--online', action='store_true', help="check the hosts of the config's checkpoints by a HEAD request"
    )
    parser.add_check(
        lambda args: (
            '--online checks the checkpoints of a config: give a config'
            if args.online and args.config is None
            else None
        )
    )


def run(args: Namespace) -> None:
    """Print all findings, and exit with status 1 if training cannot work, else 0."""
    ignore_matplotlibrc()
    with suppress(ImportError):
        from lfi.utils.debug_messages import drop_debug_messages

        drop_debug_messages()
    sections = {title: list(check()) for title, check in SECTIONS.items()}
    if args.config is not None:
        sections |= config_findings(args.config, check_host if args.online else skip_host)
    can_train = report(sections, Console())
    if can_train:
        print_next(['lfi', 'train', args.config or FIRST_CONFIG])
    sys.exit(not can_train)


@cache
def version_of(*distributions: str) -> str | None:
    """Return the version of the first distribution that is installed, or None."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def stack() -> Iterator[Finding]:
    """Check the installed stack, its packages, and the import of models."""
    installed = [extra for extra, names in STACKS.items() if version_of(*names)]
    if len(installed) > 1:
        yield Finding(
            'wrong',
            'stack',
            'both onedl and openmmlab: each overwrites files of the other',
            "make a new environment, and in it: pip install 'lfi[onedl]'",
        )
    else:
        # Packages on PYTHONPATH have no distribution.
        yield Finding('ok', 'stack', installed[0] if installed else 'of unknown distributions')
    yield Finding('ok', 'python', f'{sys.version.split()[0]} ({sys.executable})')
    yield Finding('ok', 'lfi', f'{__version__} ({Path(__file__).parents[1]})')
    extra = installed[0] if installed else 'onedl'
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
    """Check that students, teachers and detectors can be imported."""
    try:
        for module in ('lfi.models', 'lfi.datasets', 'mmdet.models'):
            import_module(module)
    except Exception as error:  # A broken installation raises errors of any type.
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        fix = 'reinstall the package that the error names'
        if version_of('mmpretrain') and find_spec('transformers') is not None:
            fix = 'pip uninstall transformers (mmpretrain 1.2 needs a version below 4.50), or use lfi[onedl]'
        return Finding('wrong', 'models', f'cannot be imported: {reason}', fix)
    return Finding('ok', 'models', 'can be imported')


def devices() -> Iterator[Finding]:
    """List the GPUs and CPU threads, and the source of mmcv's ops."""
    if find_spec('torch') is None or find_spec('mmcv') is None:
        return
    import torch

    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding('ok', f'cuda:{index}', f'{properties.name}, {properties.total_memory / 2**30:.0f} GiB')
    if torch.backends.mps.is_available():
        yield Finding('ok', 'mps', 'the GPU of this Mac, on which LFI is not tested')
    elif not torch.cuda.is_available():
        build = f'built for CUDA {torch.version.cuda}' if torch.version.cuda else 'built without CUDA'
        yield Finding('ok', 'GPU', f'none that torch can use ({build})')
    yield Finding('ok', 'cpu', f'{torch.get_num_threads()} threads of {os.cpu_count()}')
    spec = find_spec('mmcv._ext')
    compiled = spec is not None and not isinstance(spec.loader, StandIn)
    yield Finding('ok', "mmcv's ops", 'compiled' if compiled else "lfi's stand-in by torchvision")


def roots() -> Iterator[Finding]:
    """Check the folders below the roots of data and teachers that LFI's configs name."""
    configs = '\n'.join(path.read_text(encoding='utf-8') for path in configs_folder().rglob('*.py'))
    for variable in ROOTS:
        yield from below_root(variable, _named_folders(configs, variable) - OWN_FOLDERS)
    yield Finding('ok', 'built-in', 'the data set Shapes and its teacher come with lfi')


def config_roots(cfg: Config) -> Iterator[Finding]:
    """Check the folders below the roots of data and teachers that a config names."""
    # Configs do not inherit from the teachers' files: `lfi.teacher_config` reads these.
    files = (configs_folder() / '_base_/teachers').glob('*.py')
    teachers = (path.read_text(encoding='utf-8') for path in files)
    text = '\n'.join((cfg.text, *teachers))
    # The base's variable `data_root` remains in a config that overrides all values with it.
    used = repr([value for value in cfg.to_dict().values() if not isinstance(value, str)])
    empty = True
    for variable, default in ROOTS.items():
        root = os.environ.get(variable, default)
        if names := {name for name in _named_folders(text, variable) if f'{root}/{name}' in used}:
            yield from below_root(variable, names)
            empty = False
    if empty:
        yield Finding('ok', 'none', f'the config names no folder below {" or ".join(ROOTS)}')


def _named_folders(text: str, variable: str) -> set[str]:
    """Return the folders that the text of configs names below a root."""
    return set(re.findall(rf'\{{\{{\${variable}:{ROOTS[variable]}\}}\}}/([\w.-]+)', text))


def below_root(variable: str, names: set[str]) -> Iterator[Finding]:
    """Check a root and folders below it.

    Args:
        variable: environment variable that names the root.
        names: names of the folders.
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
    """Check the caches of hubs, and report whether downloads are allowed."""
    if find_spec('huggingface_hub') is not None:
        from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE

        cached = [path.name for path in sorted(Path(HF_HUB_CACHE).glob('models--*'))]
        names = ', '.join(name.removeprefix('models--').replace('--', '/') for name in cached)
        yield _hub_finding('Hugging Face', Path(HF_HUB_CACHE), names or 'no models', 'HF_HOME')
        offline = 'set: only cached models can be used' if HF_HUB_OFFLINE else 'not set'
        yield Finding('ok', 'HF_HUB_OFFLINE', offline)
    if find_spec('torch') is not None:
        import torch

        folder = Path(torch.hub.get_dir())
        cached = [path.name for path in sorted((folder / 'checkpoints').glob('*'))]
        yield _hub_finding('torch hub', folder, ', '.join(cached) or 'no checkpoints', 'TORCH_HOME')


def _hub_finding(hub: str, folder: Path, names: str, variable: str) -> Finding:
    """Check that the cache folder of a hub is writable, or can be made."""
    existing = next(part for part in (folder, *folder.parents) if part.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return Finding('ok', hub, f'{folder}: {names}')
    fix = f'export {variable}=FOLDER, with a writable folder: downloads need it'
    return Finding('missing', hub, f'{folder} is not writable: {names}', fix)


def config_findings(config: str, check: Callable[[str, str], Finding]) -> dict[str, list[Finding]]:
    """Check the folders and initial checkpoints that a config names, by title of the section.

    Args:
        config: name of the config, see `locate_config`.
        check: see `checkpoints`.
    """
    title = f'Checkpoints of {config}'
    try:
        from lfi.adaptation import locate_config
        from lfi.engine.config_loading import load_config

        cfg = load_config(str(locate_config(config)[1]))
        return {FOLDERS: list(config_roots(cfg)), title: list(checkpoints(cfg, check))}
    except Exception as error:  # Broken installations and configs raise errors of any type.
        return {title: [Finding('wrong', config, ' '.join(str(error).split()))]}


def checkpoints(cfg: Config, check: Callable[[str, str], Finding]) -> Iterator[Finding]:
    """Check the initial checkpoints of a config.

    Args:
        cfg: the config.
        check: function that checks an address that is not cached, from the config's key and the address.
    """
    from lfi.engine.checkpoints.addresses import named_checkpoints

    checkpoints_by_key = list(named_checkpoints(cfg))
    for key, checkpoint in checkpoints_by_key:
        yield checkpoint_finding(key, checkpoint, check)
    if not checkpoints_by_key:
        yield Finding('ok', 'none', 'the config has no initial checkpoint')


def checkpoint_finding(key: str, checkpoint: str, check: Callable[[str, str], Finding]) -> Finding:
    """Check the checkpoint at a key of a config; for `check`, see `checkpoints`."""
    from lfi.engine.checkpoints.addresses import download_path, gone_host_message, resolve_checkpoint

    try:
        address = resolve_checkpoint(checkpoint)
    except UsageError as error:
        return Finding('wrong', key, str(error))
    if '://' not in address:
        path = Path(address).expanduser()
        # A student's checkpoint is a folder.
        if path.exists():
            return Finding('ok', key, address)
        return Finding('wrong', key, f'{address} does not exist', f'{key}=FILE, or None to start without')
    if not address.startswith(('http://', 'https://')):
        return Finding('ok', key, f'{address}, which only a training can check')
    if Path(download_path(address)).is_file():
        return Finding('ok', key, f'{address}, cached as {download_path(address)}')
    if gone := gone_host_message(address):
        return Finding('wrong', key, address, gone)
    return check(key, address)


def skip_host(key: str, url: str) -> Finding:
    """Report an address without a check of its host."""
    return Finding('ok', key, f'{url}, not checked: use --online')


def check_host(key: str, url: str) -> Finding:
    """Check an address by a HEAD request."""
    try:
        with urlopen(Request(url, method='HEAD'), timeout=SECONDS):
            return Finding('ok', key, f'{url}, available')
    except HTTPError as error:
        return Finding('wrong', key, f'{url}: {error.code} {error.reason}', f'{key}=FILE')
    except OSError as error:
        # The network may be available when training runs.
        reason = getattr(error, 'reason', error)
        return Finding('missing', key, f'{url}: no connection ({reason})', 'check the network')


SECTIONS: dict[str, Callable[[], Iterator[Finding]]] = {
    'Packages': stack,
    'Devices': devices,
    FOLDERS: roots,
    'Caches of hubs': hubs,
}


def report(sections: dict[str, list[Finding]], console: Console) -> bool:
    """Print findings by section, as tables in a terminal or else as lines of plain text.

    Args:
        sections: findings by title of the section.
        console: console to print on.

    Returns:
        Whether training can work.
    """
    write = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    for title, findings in sections.items():
        write(title, style='bold')
        if console.is_terminal:
            console.print(findings_table(findings), '')
            continue
        for finding in findings:
            fix = finding.fix and f' -> {finding.fix}'
            write(f'  {finding.state:<8} {finding.name:<18} {finding.detail}{fix}')
    wrong = [
        finding.name for findings in sections.values() for finding in findings if finding.state == 'wrong'
    ]
    write(f'Training cannot work: {", ".join(wrong)}' if wrong else 'Training can work.')
    return not wrong


def findings_table(findings: list[Finding]) -> Table:
    """Return a table for a terminal."""
    table = Table('', '', 'found', 'what to do', box=None)
    for finding in findings:
        state = Text(finding.state, COLOURS[finding.state])
        table.add_row(state, finding.name, Text(finding.detail), Text(finding.fix))
    return table
