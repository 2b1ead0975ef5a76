"""Every config under `configs/` parses, builds, reads its data and says how it is run."""

import ast
import json
import os
import re
import socket
from pathlib import Path

import lfi  # noqa: F401
import numpy as np
import open_clip
import pytest
import torch
from lfi.datasets import concept_names
from lfi.registry import EXTRACTORS
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'configs').rglob('*.py')
    if not any(part.startswith('_') for part in path.relative_to(ROOT).parts)
)
# What tools/eval_teacher.py reads: a teacher and images, and no student.
TEACHERS = [config for config in CONFIGS if config.startswith('configs/teachers/')]
CONFIGS = [config for config in CONFIGS if config not in TEACHERS]
LFI_CONFIGS = [config for config in CONFIGS if Path(config).name.startswith('lfi_')]
CLASSIFICATION = [config for config in LFI_CONFIGS if config.startswith('configs/classification/')]
CONTROLS = [config for config in CONFIGS if config.startswith('configs/controls/')]
TINY_IMAGENET = [config for config in CONFIGS if 'tiny-imagenet' in config]

COMMAND = re.compile(r'tools/(train\.py|dist_train\.sh) (\S+\.py)(?: (\d+))?(.*)')
CLASSES = {'n01': 'crane', 'n02': 'goldfish', 'n03': 'sock', 'n04': 'teapot', 'n05': 'bus'}
# What learning from interactions changes of a model; all else belongs to its control too.
LFI_KEYS = {'type', 'teacher', 'readout', 'interaction_loss', 'text_class_loss'}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def connect(self, address):
        raise AssertionError(f'a connection to {address} was asked for')

    monkeypatch.setattr(socket.socket, 'connect', connect)


@pytest.fixture
def empty_root(tmp_path, monkeypatch):
    """An `LFI_DATA_ROOT` without any data set."""
    root = tmp_path / 'no data'
    root.mkdir()
    monkeypatch.setenv('LFI_DATA_ROOT', str(root))
    return root


@pytest.fixture(scope='session')
def small_root(tmp_path_factory):
    """Tiny-ImageNet with five classes and ImageNet with five images, under one root."""
    root = tmp_path_factory.mktemp('data')

    def draw(path, seed):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, format='JPEG')

    wnids, tiny, imagenet = list(CLASSES), root / 'tiny-imagenet-200', root / 'imagenet'
    for label, wnid in enumerate(wnids):
        draw(tiny / f'train/{wnid}/images/{wnid}_0.JPEG', label)
        (tiny / f'train/{wnid}/{wnid}_boxes.txt').write_text(f'{wnid}_0.JPEG\t0\t0\t9\t9\n')
        draw(tiny / f'val/images/val_{label}.JPEG', 10 + label)
        for split in ('train', 'val'):
            draw(imagenet / f'{split}/{label}.JPEG', 20 + label)
    rows = [f'val_{label}.JPEG\t{wnid}\t0\t0\t9\t9\n' for label, wnid in enumerate(wnids)]
    (tiny / 'val/val_annotations.txt').write_text(''.join(rows))
    (tiny / 'wnids.txt').write_text('\n'.join(wnids))
    (tiny / 'words.txt').write_text(''.join(f'{wnid}\t{name}\n' for wnid, name in CLASSES.items()))
    (imagenet / 'meta').mkdir()
    for split in ('train', 'val'):
        (imagenet / f'meta/{split}.txt').write_text(''.join(f'{i}.JPEG {i}\n' for i in range(5)))
    return root


@pytest.fixture
def small_data(small_root, monkeypatch):
    monkeypatch.setenv('LFI_DATA_ROOT', str(small_root))
    return small_root


@pytest.fixture(scope='session')
def small_clip(tmp_path_factory):
    """A CLIP folder as narrow as can be, random, with the embedding width of ViT-B-16."""
    folder = tmp_path_factory.mktemp('teachers') / 'small-clip'
    folder.mkdir()
    towers = dict(
        embed_dim=512,
        vision_cfg=dict(image_size=224, layers=1, width=64, patch_size=16),
        text_cfg=dict(context_length=77, vocab_size=49408, width=16, heads=2, layers=1),
    )
    config = dict(model_cfg=towers, preprocess_cfg=dict(mean=[0.5] * 3, std=[0.5] * 3))
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    torch.manual_seed(0)
    torch.save(open_clip.CLIP(**towers).state_dict(), folder / 'open_clip_pytorch_model.bin')
    return folder


def read(config: str) -> Config:
    return Config.fromfile(str(ROOT / config))


def start(cfg: Config, work_dir: Path) -> Runner:
    """The config's Runner with a batch of two and no workers."""
    cfg.work_dir = str(work_dir)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    return Runner.from_cfg(cfg)


def header(config: str) -> str:
    """The comment lines before the code, without their marks; continued lines are joined."""
    lines = []
    for line in (ROOT / config).read_text().splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.removeprefix('#').strip())
    return '\n'.join(lines).replace('\\\n', '')


def bases(config: str) -> list[str]:
    """The configs of the repository from which a config inherits, its own base first."""
    tree = ast.parse((ROOT / config).read_text())
    assigned = [node.value for node in tree.body if isinstance(node, ast.Assign) and _name(node) == '_base_']
    direct = [ast.literal_eval(value) for value in assigned]
    direct = direct[0] if direct and isinstance(direct[0], list) else direct
    found = []
    for base in direct:
        if '::' not in base:
            path = (ROOT / config).parent.joinpath(base).resolve().relative_to(ROOT).as_posix()
            found += [path, *bases(path)]
    return found


def _name(node: ast.Assign) -> str:
    return getattr(node.targets[0], 'id', '')


def control_of(config: str) -> str:
    controls = [base for base in bases(config) if base in CONTROLS]
    assert controls, f'{config} inherits from no control'
    return controls[0]


def class_counts(cfg: Config) -> list[int]:
    """Each `num_classes` of a config, wherever it stands."""
    found = []

    def walk(node):
        if isinstance(node, dict):
            found.extend(value for key, value in node.items() if key == 'num_classes')
            node = list(node.values())
        if isinstance(node, list | tuple):
            for item in node:
                walk(item)

    walk(cfg.to_dict())
    return found


def test_configs_are_found():
    assert {'configs/classification', 'configs/controls'} <= {str(Path(config).parent) for config in CONFIGS}
    assert CLASSIFICATION
    assert CONTROLS
    assert TINY_IMAGENET
    assert TEACHERS


@pytest.mark.parametrize('config', TEACHERS)
def test_a_teachers_config_names_its_command_its_concepts_and_its_images(config, empty_root, monkeypatch):
    assert re.search(rf'tools/eval_teacher\.py {re.escape(config)}', header(config))
    monkeypatch.setenv('LFI_TEACHER_ROOT', '/teachers')
    cfg = read(config)
    assert cfg.model.teacher.model.startswith('/teachers/')
    assert EXTRACTORS.get(cfg.model.teacher.extractor.type)
    data = cfg.val_dataloader.dataset
    assert data.data_root.startswith(str(empty_root))
    coco = DATASETS.get(f'{cfg.default_scope}.{data.type}')
    assert concept_names(cfg.model.teacher.concepts) == list(coco.METAINFO['classes'])


@pytest.mark.parametrize('config', CONFIGS)
def test_header_holds_the_command_that_runs_it(config, empty_root):
    cfg = read(config)
    commands = COMMAND.findall(header(config))
    assert commands, f'{config}: no command in the header'
    for tool, path, processes, options in commands:
        assert path == config
        assert bool(processes) == (tool == 'dist_train.sh')
        if '--auto-scale-lr' in options:
            continue
        # Otherwise the command trains at the batch size for which the learning rate was chosen.
        given = re.search(r'train_dataloader\.batch_size=(\d+)', options)
        batch_size = int(given.group(1)) if given else cfg.train_dataloader.batch_size
        assert batch_size * int(processes or 1) == cfg.auto_scale_lr.base_batch_size


@pytest.mark.parametrize('config', CLASSIFICATION)
def test_differs_from_its_control_by_the_interactions_alone(config, empty_root):
    control = control_of(config)
    ours, theirs = read(config).to_dict(), read(control).to_dict()
    model, plain = ours.pop('model'), theirs.pop('model')
    assert ours == theirs
    assert {'type', *(model.keys() - plain.keys())} <= LFI_KEYS
    assert model['backbone'].pop('type') == 'lfi.InteractionQueryViT'
    assert plain['backbone'].pop('type') == 'VisionTransformer'
    rest = [{key: value for key, value in m.items() if key not in LFI_KEYS} for m in (model, plain)]
    assert rest[0] == rest[1]
    assert Path(config).name in header(control)


def test_every_control_has_its_lfi_config():
    assert {control_of(config) for config in CLASSIFICATION} == set(CONTROLS)


@pytest.mark.parametrize('config', TINY_IMAGENET)
def test_class_count_follows_the_data(config, empty_root, small_root, monkeypatch):
    assert set(class_counts(read(config))) == {200}
    monkeypatch.setenv('LFI_DATA_ROOT', str(small_root))
    cfg = read(config)
    assert set(class_counts(cfg)) == {5}
    assert cfg.model.head.num_classes == cfg.model.head.loss.num_classes == cfg.data_preprocessor.num_classes


@pytest.mark.parametrize('config', CONFIGS)
def test_builds_and_reads_its_data(config, small_data, tmp_path):
    cfg = read(config)
    runner = start(cfg, tmp_path)
    size, classes = cfg.model.backbone.img_size, cfg.model.head.num_classes
    assert not getattr(runner.model, '_teacher', None)

    dataset = Runner.build_dataloader(cfg.train_dataloader).dataset
    sample = dataset[0]
    assert sample['inputs'].shape == (3, size, size)
    assert len(dataset.metainfo['classes']) == classes
    assert sample['data_samples'].gt_label.item() < classes

    results = runner.model.val_step(next(iter(Runner.build_dataloader(cfg.val_dataloader))))
    assert [result.pred_score.shape for result in results] == [(classes,)] * 2
    evaluator = runner.build_evaluator(cfg.val_evaluator)
    evaluator.process(data_samples=results)
    assert 0 <= evaluator.evaluate(2)['accuracy/top1'] <= 100

    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    epoch_length = len(runner.train_loop.dataloader)
    schedulers = runner.build_param_scheduler(cfg.param_scheduler)
    spans = [
        (s.begin, s.end) if s.by_epoch else (s.begin / epoch_length, s.end / epoch_length) for s in schedulers
    ]
    assert spans[0][0] == 0
    assert spans[-1][1] == cfg.train_cfg.max_epochs
    assert all(before[1] == after[0] for before, after in zip(spans, spans[1:]))


@pytest.mark.parametrize('config', LFI_CONFIGS)
def test_decay_and_rates_of_the_queries(config, empty_root, tmp_path):
    cfg = read(config)
    runner = start(cfg, tmp_path)
    optimizer = runner.build_optim_wrapper(cfg.optim_wrapper)
    group_of = {id(group['params'][0]): group for group in optimizer.param_groups}
    trained = {name: p for name, p in runner.model.named_parameters() if p.requires_grad}
    groups = {name: group_of[id(parameter)] for name, parameter in trained.items()}

    def rate_and_decay(name):
        return groups[name]['lr'], groups[name]['weight_decay']

    backbone, base = runner.model.backbone, cfg.optim_wrapper.optimizer
    layer_decay = cfg.optim_wrapper.paramwise_cfg.get('layer_decay_rate', 1)
    first_rate = base.lr * layer_decay ** (backbone.num_layers + 1)
    assert rate_and_decay('backbone.interaction_queries') == rate_and_decay('backbone.pos_embed')
    assert rate_and_decay('backbone.interaction_queries') == pytest.approx((first_rate, 0))
    for layer in range(backbone.num_layers):
        gate = rate_and_decay(f'backbone.layers.{layer}.query_gate')
        assert gate == (groups[f'backbone.layers.{layer}.attn.qkv.weight']['lr'], 0)
    for name in ('readout.query_head.weight', 'readout.patch_head.weight', 'head.layers.head.weight'):
        assert rate_and_decay(name) == pytest.approx((base.lr, base.weight_decay))
    for name in ('readout.query_head.bias', 'readout.patch_norm.weight', 'readout.patch_norm.bias'):
        assert rate_and_decay(name) == pytest.approx((base.lr, 0)), name


def teacher_of(cfg: Config, small_clip: Path) -> dict:
    """The config's teacher where its weights are at hand, a small one of its kind for CLIP's.

    A folder that is not there skips the test.
    """
    teacher = cfg.model.teacher
    if teacher.get('pretrained') is not None:
        width = open_clip.get_model_config(teacher.model)['embed_dim']
        assert (teacher.model, teacher.pretrained) in open_clip.list_pretrained()
        assert width == cfg.model.readout.text_dims == 512
        teacher.update(model=str(small_clip), pretrained=None)
    elif '/' in teacher.model and not Path(teacher.model).is_dir():
        pytest.skip(f'there is no teacher in {teacher.model} (LFI_TEACHER_ROOT sets the folder)')
    return teacher


@pytest.mark.parametrize('config', CLASSIFICATION)
def test_learns_from_its_teacher(config, small_data, small_clip, tmp_path, monkeypatch):
    if 'LFI_TEACHER_ROOT' not in os.environ:
        monkeypatch.setenv('LFI_TEACHER_ROOT', str((ROOT / '../shared/teachers').resolve()))
    cfg = read(config)
    cfg.model.teacher = teacher_of(cfg, small_clip)
    model = start(cfg, tmp_path).model.train()
    bank = model.teacher.bank
    # The classes come first; other concepts, such as the background, may follow.
    assert len(bank) >= cfg.model.head.num_classes
    assert bank.embeddings.shape[1] == cfg.model.readout.text_dims

    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    data = model.data_preprocessor(batch, training=True)
    losses = model(**data, mode='loss')
    assert set(losses) == {'loss', 'loss_positions', 'loss_concepts', 'loss_text_class'}
    sum(losses.values()).backward()
    values = torch.stack([*losses.values()]).detach()
    assert values.isfinite().all()
    assert (values > 0).all()
    # DDP runs without a search for unused parameters.
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused
