"""One option moves all paths of a config's data."""

from argparse import ArgumentParser

import pytest
from lfi.cli.arguments import add_config_arguments
from lfi.engine.config_loading import load_config
from lfi.engine.data_root_option import rebase_data_roots
from lfi.errors import UsageError
from mmengine.config import Config

CONFIG = """
data_root = 'data/coco/'
labelled_root = 'data/labelled'
train_dataloader = dict(dataset=[dict(data_root=data_root), dict(data_root='data/cocoa')])
val_dataloader = dict(dataset=dict(data_root=labelled_root))
val_evaluator = dict(ann_file=data_root + 'val.json', outputs=('data/coco', 3, None))
model = dict(teacher=dict(cache=None))
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / 'config.py').write_text(CONFIG)
    return str(tmp_path / 'config.py')


@pytest.mark.parametrize('root', ['/mine', '/mine/'])
def test_paths_at_the_folder_and_below_it_move_and_no_others(config, root):
    cfg = load_config(config, {'data_root': root})
    assert cfg.data_root.rstrip('/') == '/mine'
    first, second = cfg.train_dataloader.dataset
    assert first.data_root.rstrip('/') == '/mine' and second.data_root == 'data/cocoa'
    assert cfg.val_evaluator == dict(ann_file='/mine/val.json', outputs=('/mine', 3, None))
    assert cfg.val_dataloader.dataset.data_root == cfg.labelled_root == 'data/labelled'


def test_a_word_that_is_a_class_or_a_split_is_no_path():
    dataset = dict(data_root='balloon/', split='balloon', ann_file='balloon/train.json')
    cfg = Config(
        dict(
            data_root='./balloon',
            train_dataloader=dict(dataset=dict(dataset, metainfo=dict(classes=('balloon', 'cat')))),
            model=dict(teacher=dict(concepts=['balloon'], cache='balloon')),
        )
    )
    rebase_data_roots(cfg, dict(data_root='/mine'))
    assert cfg.train_dataloader.dataset == dict(
        data_root='/mine/',
        split='balloon',
        ann_file='/mine/train.json',
        metainfo=dict(classes=('balloon', 'cat')),
    )
    assert cfg.model.teacher == dict(concepts=['balloon'], cache='/mine')


@pytest.mark.parametrize('root', ['.', './'])
def test_below_the_folder_that_one_is_in_lies_what_says_so(root):
    dataset = dict(data_root=root, ann_file='./ann/x.json', data_prefix=dict(img=''), lists=['.hidden/x', ''])
    cfg = Config(dict(data_root=root, load_from='/home/x.pth', train_dataloader=dict(dataset=dataset)))
    rebase_data_roots(cfg, dict(data_root='/mine'))
    assert cfg.load_from == '/home/x.pth' and cfg.data_root.rstrip('/') == '/mine'
    assert cfg.train_dataloader.dataset == dict(
        data_root=f'/mine{root[1:]}',
        ann_file='/mine/ann/x.json',
        data_prefix=dict(img=''),
        lists=['.hidden/x', ''],
    )


def test_a_prefix_moves_with_its_annotations():
    dataset = dict(data_prefix='photos', ann_file='photos/a.txt')
    cfg = Config(dict(data_root='photos', train_dataloader=dict(dataset=dataset)))
    rebase_data_roots(cfg, dict(data_root='/mine'))
    assert cfg.train_dataloader.dataset == dict(data_prefix='/mine', ann_file='/mine/a.txt')


def test_a_folder_that_no_data_set_reads_is_refused():
    cfg = Config(dict(data_root='data/a', train_dataloader=dict(dataset=dict(data_root='data/b'))))
    with pytest.raises(UsageError, match="'/mine' in place of 'data/a' changes nothing"):
        rebase_data_roots(cfg, dict(data_root='/mine'))


def test_what_other_options_set_stays(config):
    options = {
        'labelled_root': 5,
        'data_root': '/mine',
        'model.teacher.cache': 'data/coco/cache',
        'val_dataloader.dataset.data_root': 'data/labelled/more',
    }
    cfg = load_config(config, options)
    assert cfg.model.teacher.cache == 'data/coco/cache'
    assert cfg.val_dataloader.dataset.data_root == 'data/labelled/more'
    del options['val_dataloader.dataset.data_root']
    assert load_config(config, options).val_dataloader.dataset.data_root == '5'


def test_two_folders_may_change_places(config):
    cfg = load_config(config, {'data_root': 'data/labelled', 'labelled_root': 'data/coco'})
    assert cfg.train_dataloader.dataset[0].data_root.rstrip('/') == 'data/labelled'
    assert cfg.val_dataloader.dataset.data_root == cfg.labelled_root == 'data/coco'


@pytest.mark.parametrize('folder', ['My photos, 2024', '007', 'a=b', '[x]', 'None'])
def test_a_folder_is_what_was_typed(folder):
    parser = ArgumentParser()
    add_config_arguments(parser)
    options = ['seed=007', f'data_root={folder}', 'model.data_root=1,2']
    args = parser.parse_args(['lfi_vit-128x6-p8_shapes', '--cfg-options', *options])
    assert args.cfg_options == {'seed': 7, 'data_root': folder, 'model.data_root': [1, 2]}


def test_a_config_without_it_and_an_empty_one_are_refused(config):
    with pytest.raises(UsageError, match="data_root='x' changes nothing.* such as train_dataloader.dataset"):
        rebase_data_roots(Config(dict(model={})), dict(data_root='x'))
    with pytest.raises(UsageError, match="data_root='' in place of 'data/coco/': both must name a folder"):
        load_config(config, {'data_root': ''})
