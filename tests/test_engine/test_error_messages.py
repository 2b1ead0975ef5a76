"""Which errors end a tool in one line."""

import errno
import os
import re
from urllib.error import URLError

import lfi  # noqa: F401
import pytest
import torch
from lfi.engine import launch
from lfi.engine.checkpoints.reading import load_from_local
from lfi.engine.hooks.non_finite import NonFiniteError
from lfi.errors import UsageError
from lfi.models import SupervisionPart
from lfi.structures.interaction_cache import CacheError
from lfi.utils.options import check_whole
from mmengine.config import Config
from mmengine.fileio import get
from mmengine.model import initialize
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader, Runner
from torch.utils.data import DataLoader, Dataset


def said(main):
    with pytest.raises(SystemExit) as ended:
        launch.run(main)
    message = str(ended.value)
    assert message.startswith('error: ') and '\n' not in message
    return message


def build(**config):
    with MODELS.switch_scope_and_registry('mmpretrain') as registry:
        registry.build(config)


def test_weights_that_cannot_be_fetched_are_named():
    address = 'https://weights.invalid/resnet.pth'
    message = said(lambda: CheckpointLoader.load_checkpoint(address))
    assert message.startswith(f'error: {address} cannot be fetched (') and 'init_cfg.checkpoint' in message


@pytest.mark.parametrize(
    ('option', 'config'),
    [
        ('load_from', dict(load_from='{}')),
        ('model.backbone.init_cfg', dict(init_cfg=dict(type='Pretrained', checkpoint='{}'))),
    ],
)
@pytest.mark.parametrize('file', ['gone.pth', 'https://weights.invalid/gone.pth'])
def test_the_option_of_a_checkpoint_that_is_not_there(option, config, file, tmp_path):
    def filled(value):
        return (
            {key: filled(item) for key, item in value.items()}
            if isinstance(value, dict)
            else value.format(file)
        )

    config = filled(config)
    backbone = dict(type='ResNet_CIFAR', depth=18, **({} if 'load_from' in config else config))
    cfg = dict(
        default_scope='mmpretrain',
        work_dir=str(tmp_path),
        load_from=config.get('load_from'),
        model=dict(type='ImageClassifier', backbone=backbone),
        train_dataloader=dict(batch_size=1, dataset=dict(type='lfi.Shapes', split='train', num_images=1)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    )
    message = said(lambda: Runner.from_cfg(Config(cfg)).train())
    assert file in message and f'--cfg-options {option}=None' in message


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_named(number):
    def write():
        raise OSError(number, os.strerror(number), 'work_dirs/log.json')

    assert said(write) == f'error: {os.strerror(number)}: work_dirs/log.json'


def test_an_image_that_cannot_be_fetched_is_no_checkpoint():
    with pytest.raises(URLError):
        launch.run(lambda: get('http://images.invalid/1.jpg'))


@pytest.mark.parametrize(
    ('config', 'says'),
    [
        (
            dict(type='lfi.Studnet'),
            "type='lfi.Studnet' .*similar names are lfi.Student",
        ),
        (
            dict(type='Student'),
            "type='Student' of the config lacks .* its project: write lfi.Student$",
        ),
        (
            dict(type='Zzzz'),
            "type='Zzzz' of the config is registered in no .*; import its module by custom_im",
        ),
        (dict(type='lfi.InteractionQueryViT', archh='deit-tiny'), r"'archh'\W+[Dd]id you mean '?arch'?\?"),
        (dict(type='LinearClsHead', num_classes=2), "'LinearClsHead' .* missing 1 required .*'in_channels'"),
        *(
            (dict(type=f'lfi.{loss}', **{name: value}), f'{name}={value!r} must be a number above 0')
            for loss, name, value in (
                ('LogitKD', 'temperature', 'two'),
                ('InteractionDistillLoss', 'spatial_temperature', 'auto'),
                ('InteractionDistillLoss', 'semantic_temperature', float('inf')),
            )
        ),
        *(
            (dict(type='lfi.InteractionReadout', embed_dims=8, **options), says)
            for options, says in (
                (dict(text_dims='96'), "text_dims='96' must be a whole number of 1 or more"),
                (dict(text_dims=96, contrast_weight='0.9'), r"contrast_weight='0.9' must lie in \[0, 1\]"),
                (dict(text_dims=96, contrast_weight=1.5), r'contrast_weight=1.5 must lie in \[0, 1\]'),
            )
        ),
        *(
            (dict(type='lfi.InteractionQueryViT', arch='deit-tiny', **options), says)
            for options, says in (
                (dict(num_queries='8'), "num_queries='8' must be a whole number of 0 or more"),
                (dict(persistent='no'), "persistent='no' must be True or False"),
                (dict(window_size=2.5), 'window_size=2.5 must be a whole number of 1 or more'),
                (dict(interaction_layers=1), 'interaction_layers=1 must be a list of block indices'),
                (dict(global_attn_layers='all'), "global_attn_layers='all' must be a list of block indices"),
                (dict(stem=True), r'stem=True must be a dict; dict\(\) takes the defaults'),
            )
        ),
        *(
            (dict(type=f'lfi.{loss}', loss_weight=-1), 'loss_weight=-1 must be a number of 0 or more')
            for loss in ('AffinityPrior', 'PairwiseAffinity', 'LogitKD')
        ),
        (
            dict(type='lfi.InteractionDistillLoss', semantic_weight='2'),
            "'2' must be a number of 0",
        ),
        (
            dict(
                type='lfi.Student',
                task='mmpretrain.ImageClassifier',
                backbone=dict(type='ResNet', depth=18),
                supervision=dict(prior=dict(type='lfi.AffinityPrior')),
            ),
            'StudentImageClassifier needs .* an lfi.InteractionQueryViT, or .*; got ResNet',
        ),
    ],
)
def test_a_typo_in_a_config(config, says):
    assert re.search(says, said(lambda: build(**config)))


def test_a_typo_in_what_the_runner_builds_itself():
    def loop():
        runner = Runner.__new__(Runner)
        runner._train_dataloader = None
        runner.build_train_loop(dict(by_epoch=True, max_epochss=4))

    assert re.search(r"'max_epochss'\W+[Dd]id you mean '?max_epochs'?\?", said(loop))
    data = dict(type='lfi.Shapes', split='train', num_images=4)
    loader = dict(dataset=data, sampler=dict(type='DefaultSampler'), batch_size=2, num_worker=0)
    assert re.search(
        r"'num_worker'\W+[Dd]id you mean '?num_workers'?\?", said(lambda: Runner.build_dataloader(loader))
    )


def test_what_is_not_implemented_keeps_its_traceback():
    with pytest.raises(NotImplementedError):
        launch.run(lambda: SupervisionPart()(None, None))


def test_a_checkpoint_of_another_model_to_resume():
    def resume():
        state = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), 0.1).state_dict()
        torch.optim.SGD(torch.nn.Linear(2, 2, bias=False).parameters(), 0.1).load_state_dict(state)

    assert 'to resume is of another model or optimizer' in said(resume)


def test_a_prefix_that_a_checkpoint_does_not_have(tmp_path):
    file = tmp_path / 'backbone.pth'
    torch.save({'conv1.weight': torch.zeros(1)}, file)
    init = dict(type='Pretrained', checkpoint=str(file), prefix='backbone')

    def begin():
        initialize(torch.nn.Linear(1, 1), init)

    line = said(begin)
    assert f"{file} has no weights whose names begin with 'backbone.'" in line and 'prefix=None' in line


def test_files_that_are_none(tmp_path):
    (tmp_path / 'file').write_text('mine')
    assert 'checkpoint gone.pth can not be found' in said(lambda: load_from_local('gone.pth'))
    assert 'is a folder: name a file in it' in said(lambda: load_from_local(str(tmp_path)))
    assert re.search('File exists: .*file', said((tmp_path / 'file').mkdir))
    assert re.search('Not a directory: .*file', said((tmp_path / 'file/below').mkdir))


class Raising(Dataset):
    """Raises an error for its item, while another one is handled."""

    def __init__(self, *error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, index):
        kind, *words = self.error
        try:
            raise KeyError('the cause')
        except KeyError as cause:
            raise kind(*words) from cause


def read(num_workers, *error):
    list(DataLoader(Raising(*error), num_workers=num_workers))


IN_A_WORKER_OR_NOT = pytest.mark.parametrize('num_workers', [0, 1])


@pytest.mark.parametrize(
    ('num_workers', 'kind'), [(0, UsageError), (0, CacheError), (0, NonFiniteError), (1, CacheError)]
)
def test_a_mistake_is_the_same_line_in_a_loader_s_worker(num_workers, kind):
    words = 'cache has no maps of a.jpg: Errors: it was written for other data'
    assert said(lambda: read(num_workers, kind, words)) == f'error: {words}'


@IN_A_WORKER_OR_NOT
def test_a_file_is_the_same_line_in_a_loader_s_worker(num_workers):
    def missing():
        read(num_workers, FileNotFoundError, errno.ENOENT, 'No such file or directory', "it's.jpg")

    assert said(missing) == "error: No such file or directory: it's.jpg"
    full = os.strerror(errno.ENOSPC)
    assert said(lambda: read(num_workers, OSError, errno.ENOSPC, full)) == f'error: {full}'
    assert said(lambda: read(num_workers, FileNotFoundError, 'no folder')) == 'error: no folder'


class Checking(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        check_whole(1, num_queries='8')


@IN_A_WORKER_OR_NOT
def test_what_lfi_refuses_is_the_same_line_in_a_loader_s_worker(num_workers):
    message = said(lambda: list(DataLoader(Checking(), num_workers=num_workers)))
    assert message == "error: num_queries='8' must be a whole number of 1 or more"


@pytest.mark.parametrize(
    ('num_workers', 'error'),
    [
        (0, (KeyError, 'loss')),
        (0, (ValueError, 'not enough values')),
        (0, (OSError, errno.EIO, 'I/O')),
        (1, (ValueError, 'not enough values')),
        (1, (OSError, errno.EIO, 'I/O')),
    ],
)
def test_a_bug_in_a_loader_s_worker_keeps_its_traceback(num_workers, error):
    with pytest.raises(error[0], match=str(error[-1])):
        launch.run(lambda: read(num_workers, *error))
