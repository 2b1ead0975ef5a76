"""A toy task on disk, and the tools run as a user runs them."""

import importlib.util
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from lfi.cli.main import module_of, parser_of
from lfi.engine import safe_checkpoint_loading
from lfi.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
# Tools that begin a pool of processes.
POOLS = ('dev/peer_tests.py',)

TOY_CONFIG = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
        img_size=16,
        patch_size=8,
    ),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=16, topk=(1,)),
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, num_classes=2),
)
pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type='CustomDataset', data_root={data}, data_prefix='train', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(type='CustomDataset', data_root={data}, data_prefix='val', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=2)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.01))
param_scheduler = dict(type='CosineAnnealingLR', T_max=4, by_epoch=True)
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1),
    logger=dict(type='LoggerHook', interval=1),
    visualization=dict(type='VisualizationHook'),
)
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
randomness = dict(seed=0)
work_dir = {work_dir}
"""


@pytest.fixture(scope='session')
def toy_data(tmp_path_factory) -> Path:
    """Dark and light noise, two classes, as image folders."""
    root = tmp_path_factory.mktemp('toy_data')
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('val', 4)):
        for name, low in (('dark', 0), ('light', 56)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(low, low + 200, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'{name}_{index}.png')
    return root


@pytest.fixture
def toy_config(tmp_path, toy_data) -> Path:
    """A classifier that trains two epochs of four steps in well under a second; its work dir is `work`."""
    config = tmp_path / 'toy.py'
    text = TOY_CONFIG.replace('{data}', repr(str(toy_data)))
    config.write_text(text.replace('{work_dir}', repr(str(tmp_path / 'work'))))
    return config


@pytest.fixture(scope='session')
def tool_command() -> Callable[..., list[str]]:
    """The command line of a script (`train.py`), a command (`infer`) or a study (`research study`)."""

    def command(tool: str, *args) -> list[str]:
        if tool.endswith(('.py', '.sh')):
            interpreter = 'bash' if tool.endswith('.sh') else sys.executable
            return [interpreter, str(ROOT / 'tools' / tool), *map(str, args)]
        words = tool.split() if tool.startswith('research ') else ['lfi', *tool.split()]
        return [sys.executable, '-m', *words, *map(str, args)]

    return command


@pytest.fixture(scope='session')
def config_path() -> Callable[[str], Path]:
    """`config_path('classification/x.py')` is a config of the repository."""
    return lambda name: ROOT / 'configs' / name


@pytest.fixture
def import_tool(monkeypatch) -> Callable[[str], ModuleType]:
    """`import_tool('dev/x.py')`, or of a study, is a tool as a module, for what no output shows."""

    def load(tool: str) -> ModuleType:
        if tool.startswith('research '):
            return import_module(f'research.commands.{tool.split()[1].replace("-", "_")}')
        path = ROOT / 'tools' / tool
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        # Where dataclasses look for it; and a tool may import what lies beside it.
        monkeypatch.setitem(sys.modules, spec.name, module)
        monkeypatch.syspath_prepend(str(path.parent))
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def tool_arguments(import_tool, monkeypatch) -> Callable[..., Namespace]:
    """`tool_arguments('infer', *args)` is what a command or a study reads from its command line."""

    def parse(tool: str, *args) -> Namespace:
        name, *words = [*tool.split(), *map(str, args)]
        if name == 'research':
            monkeypatch.setattr('sys.argv', words)
            return import_tool(tool).parse_args()
        return parser_of(name).parse_args(words)

    return parse


@pytest.fixture
def call_tool(import_tool, tool_arguments, monkeypatch, tmp_path) -> Callable[..., str]:
    """`call_tool('infer', *args)` runs a command or a study in `tmp_path`, and gives what it printed.

    It runs in this process, since another one takes seconds to start, and its errors are raised. `folder`
    takes the place of `tmp_path`.
    """

    def call(tool: str, *args, folder: Path = tmp_path) -> str:
        monkeypatch.chdir(folder)
        printed = StringIO()
        try:
            with redirect_stdout(printed), safe_checkpoint_loading():
                arguments = tool_arguments(tool, *args)
                if tool.startswith('research '):
                    import_tool(tool).main(arguments)
                else:
                    module_of(tool.split()[0]).run(arguments)
        finally:
            # Also what a tool printed that ended by an error.
            print(printed.getvalue(), end='')
        return printed.getvalue()

    return call


@pytest.fixture(scope='session')
def is_first_run(shared_folder) -> Callable[[str], bool]:
    """`is_first_run('train.py')` is whether a tool has not run yet, in any of the processes that test."""

    def find(tool: str) -> bool:
        try:
            (shared_folder / f'{tool.replace("/", "-")} has run').touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    return find


@pytest.fixture(scope='session')
def run_tool_in(tool_env, tool_command, warm_python, new_python, is_first_run) -> Callable[..., str]:
    """`run_tool_in(folder, 'train.py', *args, code=0, **variables)` runs a tool and gives what it printed.

    The first run of a tool imports for itself, as a user's does. The others, and the tools that a tool runs,
    are forks of a warm Python, which saves the seconds of their imports. A tool that begins a pool of
    processes is none: below a fork the pool may wait for ever.
    """

    def run(folder: Path, tool: str, *args, code: int = 0, **variables: str) -> str:
        command = tool_command(tool, *args)
        if tool.endswith('.sh'):
            variables = {'PYTHON': warm_python.executable, **variables}
        elif tool not in POOLS:
            python = new_python if is_first_run(tool) else warm_python
            command = python.command(*command[1:])
        process = subprocess.run(
            command,
            cwd=folder,
            env={**tool_env, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert process.returncode == code, process.stdout
        return process.stdout

    return run


@pytest.fixture
def run_tool(run_tool_in, tmp_path) -> Callable[..., str]:
    """`run_tool('train.py', *args, code=0, **variables)` runs a tool in `tmp_path`; see `run_tool_in`."""
    return partial(run_tool_in, tmp_path)


@pytest.fixture
def small_training(tmp_path, config_path) -> Callable[..., tuple[Path, Path]]:
    """`small_training(config, **backbone)` writes a config and a checkpoint as a training of it leaves them.

    `config` is one of the repository's classifiers on Shapes, by default LFI's own. The student is 16 wide
    with 2 blocks, and its weights are random.
    """

    def write(name: str = 'classification/lfi_vit-128x6-p8_shapes.py', **backbone) -> tuple[Path, Path]:
        cfg = Config.fromfile(config_path(name))
        arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
        cfg.merge_from_dict(dict(model=dict(backbone=dict(arch=arch, **backbone), head=dict(in_channels=16))))
        cfg.dump(tmp_path / 'training.py')
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        student = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model})
        for parameter in student.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        checkpoint = dict(
            meta=dict(epoch=1, dataset_meta=dict(classes=tuple('abcdefghijklmnopqrst'))),
            state_dict=student.state_dict(),
            optimizer=dict(state={}),
        )
        torch.save(checkpoint, tmp_path / 'training.pth')
        return tmp_path / 'training.py', tmp_path / 'training.pth'

    return write
