"""Where configs are, and what became of those that moved."""

import os
import runpy
from pathlib import Path

import lfi
import pytest
import setuptools
from lfi.config_files import configs_folder, find_config, tools_root, what_became_of
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def packaging(monkeypatch) -> dict:
    """The functions of `setup.py`, which packages nothing here."""
    monkeypatch.setattr(setuptools, 'setup', lambda **_: None)
    return runpy.run_path(str(ROOT / 'setup.py'))


def test_configs_and_tools_lie_side_by_side():
    assert (tools_root() / 'tools/train.py').is_file()
    assert configs_folder().resolve() == tools_root() / 'configs'


SHAPES = 'classification/lfi_vit-tiny_shapes.py'


@pytest.mark.parametrize(
    'name',
    [
        'lfi_vit-tiny_shapes',
        'lfi_vit-tiny_shapes.py',
        SHAPES,
        SHAPES.removesuffix('.py'),
        f'lfi::{SHAPES}',
        f'configs/{SHAPES}',
    ],
)
def test_a_config_is_found_by_its_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == lfi.config_path(SHAPES)


def test_no_two_configs_have_one_name():
    paths = [path for path in configs_folder().rglob('*.py') if '_base_' not in path.parts]
    assert len({path.name for path in paths}) == len(paths) > 50


def test_a_file_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f'configs/{SHAPES}'
    file.parent.mkdir(parents=True)
    file.touch()
    assert find_config(f'configs/{SHAPES}') == f'configs/{SHAPES}'


@pytest.mark.parametrize(
    ('name', 'says'),
    [
        ('lfi_vit-tiny_shape', f'near it are .*{SHAPES}'),
        ('configs/classification/lfi_vit-tiny_shape.py', f'near it are {SHAPES}'),
        (
            'configs/controls/task-loss_vit-tiny_shapes.py',
            "it is 'baselines/task-loss_vit-tiny_shapes.py' now",
        ),
        # What is inherited is not a config that can be run.
        ('tiny-imagenet-20', 'near it are'),
        ('zzz', 'none has a name near it'),
    ],
)
def test_a_config_that_is_not_there(name, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=says):
        find_config(name)


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('task-loss_vit-tiny_shapes', r"it is 'baselines/task-loss_vit-tiny_shapes.py' now"),
        (
            'attention-transfer_vit-tiny_shapes',
            r"it is 'baselines/attention-transfer_vit-tiny_shapes.py' now",
        ),
        (
            'lfi-positions_vit-tiny_shapes',
            r"it is 'classification/lfi_vit-tiny_shapes.py' now .* arm 'lfi-positions'",
        ),
        ('shuffled-attention_vit-tiny_shapes', r"'baselines/attention-transfer_vit-tiny_shapes.py' now with"),
        (
            'lfi-index_vit-tiny_shapes',
            r"'lfi-index' is of a student that recalls concepts, which lfi 0.1 has; .*lfi_vit-tiny_sh",
        ),
        ('lfi-no-write-back_vit-tiny_shapes', r"it is 'classification/lfi_vit-tiny_shapes.py' now$"),
    ],
)
def test_an_old_name_says_what_became_of_it(old, new, tmp_path):
    with pytest.raises(FileNotFoundError, match=new):
        lfi.config_path(f'controls/{old}.py')
    child = tmp_path / 'mine.py'
    child.write_text(f"_base_ = 'lfi::controls/{old}.py'\n")
    for config in (child, f'configs/controls/{old}.py'):
        with pytest.raises(UsageError, match=new):
            load_config(str(config))


@pytest.mark.parametrize('data', ['pacs', 'vlcs'])
def test_a_student_that_is_smaller_now_says_so(data):
    name = 'domain_generalization/lfi_vit-{}_lit-lite0_' + data + '.py'
    with pytest.raises(FileNotFoundError, match=f"it is '{name.format('128x6-p8')}' now, of a smaller"):
        lfi.config_path(name.format('tiny-p8'))
    assert lfi.config_path(name.format('128x6-p8'))


def test_an_editable_install_names_the_config_to_inherit_in_place_of_an_old_one(packaging, tmp_path):
    mim = tmp_path / '.mim'
    packaging['fill_mim'](mim, packaging['link'])
    name = 'task-loss_vit-tiny_shapes.py'
    child = tmp_path / 'mine.py'
    child.write_text(f"_base_ = '.mim/configs/baselines/{name}'\n")
    inherited = Config.fromfile(child).to_dict()
    assert inherited == Config.fromfile(ROOT / 'configs/baselines' / name).to_dict()
    child.write_text(f"_base_ = '.mim/configs/controls/{name}'\n")
    with pytest.raises(FileNotFoundError, match=f"it is 'baselines/{name}' now"):
        Config.fromfile(child)
    with pytest.raises(UsageError) as refused:
        load_config(str(child))
    assert str(refused.value).count(f"it is 'baselines/{name}' now") == 1
    assert not (ROOT / 'configs/controls').exists()


def test_links_of_an_editable_install_lead_to_its_clone(packaging, tmp_path):
    before = sorted((ROOT / 'configs').rglob('*'))
    packaging['fill_mim'](tmp_path / '.mim', packaging['link'])
    # What stands in for an old config is not written through a link.
    assert sorted((ROOT / 'configs').rglob('*')) == before
    for name in ('tools', 'model-index.yml', *(f'configs/{name}' for name in os.listdir(ROOT / 'configs'))):
        assert (tmp_path / '.mim' / name).resolve() == ROOT / name


def test_a_lazy_config_of_an_old_name_says_what_became_of_it(packaging, tmp_path):
    packaging['write_lazy_configs'](tmp_path / 'configs')
    child = tmp_path / 'mine.py'
    child.write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from .configs.controls.lfi_positions_vit_tiny_shapes import *\n'
    )
    with pytest.raises(FileNotFoundError, match=r"lfi_vit-tiny_shapes.py' now .* arm 'lfi-positions'"):
        Config.fromfile(child)


@pytest.mark.parametrize('name', ['task-loss_vit-tiny_shapes', 'task_loss_vit_tiny_shapes'])
def test_a_message_that_names_an_old_config_gets_the_new_one(name):
    message = f'/site/lfi/configs/controls/{name}.py not found! It means that it is not there.'
    assert what_became_of(message) == "it is 'baselines/task-loss_vit-tiny_shapes.py' now"
    assert what_became_of('/home/controls/mine.py does not exist') is None


def test_a_teacher_is_asked_about_what_the_config_says():
    teacher = lfi.teacher_config('clip-b16', concepts=['cat'], max_concepts=1)
    assert teacher == dict(
        type='lfi.VLMAttentionTeacher',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        extractor=dict(type='clearclip'),
        concepts=['cat'],
        max_concepts=1,
    )
    with pytest.raises(FileNotFoundError, match='near it are _base_/teachers/clip-b16.py'):
        lfi.teacher_config('clip-b17')


def test_a_name_that_never_was_gets_its_neighbours():
    with pytest.raises(FileNotFoundError, match=r"no config 'controls/magic_vit.py'; near it are"):
        lfi.config_path('controls/magic_vit.py')
