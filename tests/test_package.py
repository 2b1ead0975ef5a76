"""What `import lfi` does and does not do, and what a built package holds."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'projects/lfi'
TEACHERS = 'lfi/models/teachers/built_in'
# What a process that only wants `lfi.X` to resolve must not pay for.
HEAVY = [
    'lfi.datasets',
    'lfi.models',
    'matplotlib',
    'mmcv',
    'mmdet',
    'mmpretrain',
    'open_clip',
    'scipy',
    'timm',
    'torch',
    'torchvision',
    'transformers',
]
NO_NETWORK = """
import socket
def connect(self, address):
    raise AssertionError(f'a connection to {address} was asked for')
socket.socket.connect = socket.socket.connect_ex = connect
"""
HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {hidden}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Hide())
"""


CONFIGS = [path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').rglob('*.py')]
# What MIM and MMEngine look for in an installed package.
SHIPPED = [
    'model-index.yml',
    *CONFIGS,
    *(path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').rglob('*.yml')),
    *(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / 'tools').rglob('*')
        # Developers' tools are for a clone.
        if path.is_file() and path.suffix != '.pyc' and 'dev' not in path.parts
    ),
]


def run_python(code: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess:
    """Run code in a process of its own, with this tree's `lfi`."""
    start = f'import sys; sys.path.insert(0, {str(ROOT / "projects")!r})\n'
    command = [sys.executable, '-c', start + code]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0 or not check, process.stderr
    return process


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def test_import_is_light(tmp_path):
    code = f"""
import lfi
print(*sorted(set({HEAVY}) & set(sys.modules)))
print(lfi.__version__)
"""
    assert run_python(NO_NETWORK + code, tmp_path).stdout.splitlines() == ['', version()]


def test_all_public_names_are_listed_before_they_are_imported(tmp_path):
    code = """
import lfi
print(set(lfi.__all__) <= set(dir(lfi)), 'train' in dir(lfi), 'torch' in sys.modules)
from lfi import *
print(callable(train), callable(load), 'torch' in sys.modules)
"""
    first, *_, last = run_python(NO_NETWORK + code, tmp_path).stdout.splitlines()
    assert (first, last) == ('True True False', 'True True True')


def version() -> str:
    namespace = {}
    exec((PACKAGE / 'version.py').read_text(), namespace)
    return namespace['__version__']


@pytest.mark.parametrize('missing', ['mmengine', 'mmcv'])
def test_without_a_stack_the_import_says_what_to_install(missing, tmp_path):
    hide = HIDE.format(hidden={missing})
    process = run_python(hide + 'import lfi', tmp_path, check=False)
    assert process.returncode == 1
    last = process.stderr[process.stderr.rindex('ImportError: ') :]
    assert f'{missing!r} is not installed' in last
    assert "pip install 'lfi[onedl]'" in last
    assert "pip install 'lfi[openmmlab]'" in last


DEFINITIONS = """
import mmcv.transforms, mmengine.hub, mmengine.runner, sys, torch
from mmengine.runner import CheckpointLoader
def definitions():
    found = {('module', name): module for name, module in sys.modules.items()}
    found |= {('loader', prefix): loader for prefix, loader in CheckpointLoader._schemes.items()}
    for name, module in list(sys.modules.items()):
        if name.partition('.')[0] not in ('mmcv', 'mmengine', 'numpy', 'torch'):
            continue
        for key, value in list(vars(module).items()):
            found[name, key] = value
            if isinstance(value, type) or (isinstance(value, dict) and key.isupper()):
                inner = vars(value) if isinstance(value, type) else value
                found |= {(name, key, word): part for word, part in list(inner.items())}
    return found
"""


def test_import_changes_nothing_that_others_define(new_python, tmp_path):
    code = """
allowed = torch.serialization.get_safe_globals()
before = definitions()
import lfi
after = definitions()
changed = [key for key, value in before.items() if after.get(key) is not value]
# Python makes these when it is asked for them.
print([key for key in changed if key[-1] not in ('__annotations__', '__dict__', '__weakref__')])
assert torch.serialization.get_safe_globals() == allowed
import lfi.safe_loading
print(CheckpointLoader._schemes[''].__module__)
"""
    printed = new_python.run(['-c', DEFINITIONS + code], tmp_path).stdout.splitlines()
    assert printed[-2:] == ['[]', 'lfi.engine.checkpoints.reading']


def test_types_resolve_from_every_scope(new_python, tmp_path):
    code = """
import lfi, mmengine.registry, mmdet.registry, mmpretrain.registry
found = set()
for package in (mmengine, mmpretrain, mmdet):
    for scope in ('lfi', 'mmengine', 'mmpretrain', 'mmdet'):
        with mmengine.registry.DefaultScope.overwrite_default_scope(scope):
            found.add(package.registry.MODELS.get('lfi.InteractionQueryViT'))
            found.add(package.registry.DATASETS.get('lfi.Shapes'))
print()
print(*sorted(type.__module__ + '.' + type.__name__ for type in found))
"""
    printed = new_python.run(['-c', NO_NETWORK + code], tmp_path).stdout
    assert printed.splitlines()[-1].split() == [
        'lfi.datasets.shapes.Shapes',
        'lfi.models.backbones.interaction_query_vit.InteractionQueryViT',
    ]


@pytest.fixture(scope='module')
def wheel(wheel_file) -> zipfile.ZipFile:
    return zipfile.ZipFile(wheel_file)


def test_wheel_holds_every_module_and_its_data(wheel):
    held = {name for name in wheel.namelist() if name.startswith('lfi/')}
    sources = (path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob('*.py'))
    # What an editable install has put there is not the package's own.
    modules = {path.as_posix() for path in sources if path.parts[1] not in ('.mim', 'configs')}
    teachers = [path for path in (PACKAGE.parent / TEACHERS).rglob('*') if path.is_file()]
    data = {path.relative_to(PACKAGE.parent).as_posix() for path in teachers}
    data.add('lfi/py.typed')
    data |= {f'lfi/.mim/{path}' for path in SHIPPED}
    configs = [path for path in CONFIGS if not path.startswith('configs/_base_/')]
    lazy = {f'lfi/{path}'.replace('-', '_') for path in configs}
    assert held == modules | data | lazy
    assert not [name for name in held if '/tools/dev/' in name]
    top = {name.partition('/')[0] for name in wheel.namelist()}
    assert top == {'lfi', f'lfi-{version()}.dist-info'}


def test_wheel_requires_what_the_files_say(wheel):
    text = wheel.read(f'lfi-{version()}.dist-info/METADATA').decode()
    metadata = Parser().parsestr(text)
    by_extra = {}
    for line in metadata.get_all('Requires-Dist'):
        requirement, _, marker = line.partition(';')
        extra = marker.partition('==')[2].strip(' "\'')
        by_extra.setdefault(extra, set()).add(normal(requirement))
    extras = (
        *('onedl', 'openmmlab', 'multimodal', 'captions', 'export', 'coco', 'formats', 'shards', 'tests'),
        *('demo', 'segmentation', 'docs', 'research', 'scale'),
    )
    files = {name: {normal(line) for line in requirements(name)} for name in extras}
    # Exports and studies are tested too.
    files['tests'] |= files['export'] | files['research']
    assert by_extra == {
        '': {normal(line) for line in requirements('runtime')},
        **files,
        'all': set.union(
            *(
                files[name]
                for name in extras
                if name not in ('openmmlab', 'demo', 'segmentation', 'docs', 'scale')
            )
        ),
    }
    # Either stack's files would overwrite the other's: the package itself names none.
    assert not [name for name in by_extra[''] if 'mm' in name]
    assert metadata['Requires-Python'] == '>=3.10'


def normal(requirement: str) -> tuple[str, frozenset[str]]:
    """A requirement without the order of its bounds."""
    requirement = requirement.replace(' ', '')
    name = requirement[: min((requirement.find(c) for c in '<>=' if c in requirement), default=None)]
    return name, frozenset(requirement[len(name) :].split(','))
