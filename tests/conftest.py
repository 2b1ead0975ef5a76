"""Shared fixtures."""

import gc
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cheap_configs import cheap_configs
from filelock import FileLock
from hypothesis import settings
from lfi.structures import InteractionMaps
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from warm_python import FOUNDATIONS, WarmPython

ROOT = Path(__file__).parents[1]
pytest_plugins = ['tool_fixtures']
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
# Chromium alone with the page: no sandbox for root, no GPU, no talk with its maker's servers.
BROWSER_FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
"""

# Trainings of tests write no page, unless the test is about it.
os.environ.setdefault('LFI_REPORT', '0')
# Several tests run at a time, and small models gain nothing by threads.
torch.set_num_threads(1)
cheap_configs()
# A property that is slow on a busy machine is no failure.
settings.register_profile('lfi', deadline=None)
settings.load_profile('lfi')


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    """What is logged as a warning, as it comes."""
    seen: list[str] = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'log', lambda level, text: level == logging.WARNING and seen.append(text))
    return seen


def pytest_collection_modifyitems(items):
    """Begin with the files that take long, so that all workers end together; skip what needs a GPU."""
    items.sort(key=lambda item: item.path.parent.name != 'test_tools')
    if not torch.cuda.is_available():
        for item in items:
            if 'cuda' in item.keywords:
                item.add_marker(pytest.mark.skip(reason='needs a CUDA GPU'))


@pytest.fixture(scope='module', autouse=True)
def quick_collections():
    """Spare the many collections that data sets ask for a look at what was there before this file."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_default_scope():
    """What a Runner or a config sets as OpenMMLab's default scope ends with the test."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture
def mmpretrain_scope(own_default_scope):
    """mmpretrain's is the default scope."""
    init_default_scope('mmpretrain')


@pytest.fixture
def mmdet_scope(own_default_scope):
    """mmdet's is the default scope."""
    init_default_scope('mmdet')


@pytest.fixture(scope='session')
def unlearnt():
    """`unlearnt(model)` names trained parameters without a gradient, for which DDP does not search."""

    def names(model: torch.nn.Module) -> list[str]:
        return [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]

    return names


@pytest.fixture(autouse=True)
def own_environment():
    """What a tool that runs in this process sets in its environment ends with the test."""
    before = dict(os.environ)
    yield
    for name in {*before, *os.environ}:
        if name not in before:
            del os.environ[name]
        elif os.environ.get(name) != before[name]:
            os.environ[name] = before[name]


@pytest.fixture(scope='session')
def data_root():
    """A real data set's folder by its name, `data_root('tiny-imagenet-200')`; skips where it is absent."""
    root = Path(os.environ.get('LFI_DATA_ROOT', ROOT / '../shared/data'))

    def find(name: str) -> Path:
        path = (root / name).resolve()
        if not path.is_dir():
            pytest.skip(f'{name} is not in {root} (LFI_DATA_ROOT sets it)')
        return path

    return find


@pytest.fixture(scope='session')
def teacher_root():
    """The folder that holds lit-effnet-lite0, a trained teacher; skips where it is absent."""
    root = Path(os.environ.get('LFI_TEACHER_ROOT', ROOT / '../shared/teachers')).resolve()
    if not (root / 'lit-effnet-lite0').is_dir():
        pytest.skip(f'lit-effnet-lite0 is not in {root} (LFI_TEACHER_ROOT sets it)')
    return root


@pytest.fixture(scope='session')
def tool_env() -> dict:
    """The environment of a tool: this Python's, with `lfi` in reach whether or not it is installed."""
    path = os.pathsep.join(filter(None, [str(ROOT / 'projects'), str(ROOT), os.environ.get('PYTHONPATH')]))
    settings = {
        'PYTHONPATH': path,
        'PYTHON': sys.executable,
        'OMP_NUM_THREADS': '1',
        # What is printed and what is an error come in their order.
        'PYTHONUNBUFFERED': '1',
        'CUDA_VISIBLE_DEVICES': '',
    }
    return {**os.environ, **settings}


@pytest.fixture(scope='session')
def warm_python(tool_env) -> Iterator[WarmPython]:
    """A Python in the environment of tools, with the OpenMMLab stack imported."""
    python = WarmPython(tool_env)
    yield python
    python.close()


@pytest.fixture(scope='session')
def new_python(tool_env, warm_python) -> Iterator[WarmPython]:
    """A Python that imports `lfi` and the packages of OpenMMLab for itself; torch is there.

    What it starts in turn is warm.
    """
    python = WarmPython(tool_env, FOUNDATIONS, warm_python)
    yield python
    python.close()


@pytest.fixture(scope='session')
def shared_folder(tmp_path_factory) -> Path:
    """A folder of this run of the tests, which all of its processes share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if 'PYTEST_XDIST_WORKER' in os.environ else folder


@pytest.fixture(scope='session')
def wheel_file(shared_folder) -> Path:
    """A wheel built as an installer builds it from a source archive, without network; once in a run."""
    if importlib.util.find_spec('setuptools') is None:
        pytest.skip('setuptools is not installed, and an isolated build would fetch it')
    with FileLock(shared_folder / 'wheel.lock'):
        built = next((shared_folder / 'wheel').glob('archives/*.whl'), None)
        return built or build_wheel(shared_folder / 'wheel')


def build_wheel(folder: Path) -> Path:
    """Build it in a new folder."""
    tree, archives, unpacked = folder / 'tree', folder / 'archives', folder / 'unpacked'
    tree.mkdir(parents=True)
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, tree)
    ignored = shutil.ignore_patterns('__pycache__', '*.egg-info', '.mim')
    for name in ('requirements', 'projects', 'configs', 'tools'):
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    shutil.rmtree(tree / 'projects/lfi/configs', ignore_errors=True)

    def build(kind: str, cwd: Path) -> Path:
        code = f'from setuptools.build_meta import build_{kind}; build_{kind}({str(archives)!r})'
        process = subprocess.run([sys.executable, '-c', code], cwd=cwd, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        return next(archives.glob({'sdist': '*.tar.gz', 'wheel': '*.whl'}[kind]))

    archives.mkdir()
    shutil.unpack_archive(build('sdist', tree), unpacked, filter='data')
    return build('wheel', next(unpacked.iterdir()))


@pytest.fixture(scope='module')
def browser():
    """A real headless Chromium; skips where there is none."""
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f'none of {", ".join(BROWSERS)} is on the PATH')
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=BROWSER_FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def make_maps():
    """Seeded `InteractionMaps` of B=2, L=2, M=3 on a 4 x 4 grid, any field replaced by hand."""

    def make(seed=0, shape=(2, 2, 3, 4, 4), **fields):
        generator = torch.Generator().manual_seed(seed)
        b, n_layers, m, h, w = shape
        maps = dict(
            logits=3 * torch.randn(*shape, generator=generator),
            presence=torch.rand(b, m, generator=generator),
            valid=torch.ones(b, h, w, dtype=torch.bool),
            layers=tuple(range(n_layers)),
        )
        return InteractionMaps(**{**maps, **fields})

    return make
