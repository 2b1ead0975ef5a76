"""Another project inherits from an installed `lfi`, in every way that its README names."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.utils import get_installed_path
from warm_python import FOUNDATIONS, WarmPython

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / 'tests/sample_project'
CONFIGS = sorted(path.stem for path in (SAMPLE / 'configs').glob('*.py'))
FEW_STEPS = [
    'train_cfg.max_epochs=1',
    'train_dataloader.batch_size=4',
    'train_dataloader.dataset.num_images=12',
    'val_dataloader.dataset.num_images=4',
    'default_hooks.logger.interval=1',
    *(
        f'{loader}_dataloader.{key}'
        for loader in ('train', 'val')
        for key in ('num_workers=0', 'persistent_workers=False')
    ),
]


@pytest.fixture(scope='module')
def site(wheel_file, tmp_path_factory) -> Path:
    """A folder that holds the wheel's content, as an installation does."""
    folder = tmp_path_factory.mktemp('site')
    zipfile.ZipFile(wheel_file).extractall(folder)
    return folder


@pytest.fixture
def project(tmp_path) -> Path:
    """The sample project, outside of the repository."""
    return shutil.copytree(SAMPLE, tmp_path / 'project')


@pytest.fixture(scope='module')
def warm_site(site) -> Iterator[WarmPython]:
    """A Python without the wheel's `lfi`: who forgets to import it must fail here too."""
    settings = {'PYTHONPATH': str(site), 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    python = WarmPython({**os.environ, **settings}, FOUNDATIONS)
    yield python
    python.close()


@pytest.fixture
def run(site, project, warm_site):
    """Run Python in the project with the wheel's `lfi` before the repository's.

    It imports `lfi` and the packages of OpenMMLab for itself; `new` is a process that imports all.
    """

    def run(*args, code: int = 0, new: bool = False) -> str:
        process = subprocess.run(
            [sys.executable if new else warm_site.executable, *map(str, args)],
            cwd=project,
            env={**warm_site.env, 'PYTHONPATH': os.pathsep.join((str(project / 'projects'), str(site)))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert process.returncode == code, process.stdout
        return process.stdout

    return run


def test_forks_do_not_have_lfi_before_a_config_imports_it(warm_site, project):
    done = warm_site.run(
        ['-c', 'import sys; print("mmengine" in sys.modules, "lfi" in sys.modules)'], project
    )
    assert done.stdout.split() == ['True', 'False']


def tool_of(package: str, site: Path) -> Path:
    folder = site / 'lfi' if package == 'lfi' else Path(get_installed_path(package))
    return folder / '.mim/tools/train.py'


@pytest.mark.parametrize('config', CONFIGS)
def test_a_config_of_the_project_trains_by_the_tool_of_its_project(run, site, config):
    package = {'lfi-scope': 'lfi', 'mmdet-overlay': 'mmdet'}.get(config, 'mmpretrain')
    tool = tool_of(package, site)
    if not tool.exists():
        pytest.skip(f'{package} is installed without its tools')
    out = run(tool, f'configs/{config}.py', '--work-dir', 'run', '--cfg-options', *FEW_STEPS)
    assert re.search(r'Epoch\(train\) +\[1\]\[3/3\].* loss_spatial: [\d.]+.* loss_semantic: [\d.]+', out)
    assert re.search(r'Epoch\(val\) +\[1\]', out)


def test_the_ways_to_inherit_give_one_config(run):
    code = """
import lfi
from mmengine.config import Config
assert '.mim' in lfi.config_path('classification/lfi_vit-128x6-p8_shapes.py'), lfi.__file__
def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k != '_scope_'}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value
names = 'lfi-scope', 'config-path', 'lazy'
found = [plain(Config.fromfile(f'configs/{name}.py').to_dict()) for name in names]
for other in found[1:]:
    for key in found[0]:
        assert other[key] == found[0][key], key
print('the same')
"""
    assert run('-c', code, new=True).splitlines()[-1] == 'the same'


def test_mmengines_hub_finds_configs_and_models(run):
    code = """
import lfi
from mmengine.hub import get_config, get_model
cfg = get_config('lfi::detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py')
assert cfg.model.task == 'mmdet.MaskRCNN'
names = ('classification/lfi_vit-128x6-p8_shapes.py', 'detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py')
print(*[type(get_model(f'lfi::{name}')).__name__ for name in names])
"""
    assert run('-c', code).splitlines()[-1] == 'StudentImageClassifier StudentMaskRCNN'


def test_mim_trains_and_tests(run):
    pytest.importorskip('mim')
    name = 'classification/lfi_vit-128x6-p8_shapes.py'
    run('-m', 'mim', 'train', 'lfi', name, '--gpus', 0, '--work-dir', 'run', '--cfg-options', *FEW_STEPS)
    options = ['--cfg-options', 'test_dataloader.dataset.num_images=4']
    out = run('-m', 'mim', 'test', 'lfi', name, '--checkpoint', 'run/epoch_1.pth', '--gpus', 0, *options)
    assert 'accuracy/top1' in out
