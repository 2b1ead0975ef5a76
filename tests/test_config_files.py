"""Where configs are."""

import runpy
from pathlib import Path

import lfi
import pytest
import setuptools
from lfi.config_files import configs_folder, find_config, tools_root

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def packaging(monkeypatch) -> dict:
    """The functions of `setup.py`, which packages nothing here."""
    monkeypatch.setattr(setuptools, 'setup', lambda **_: None)
    return runpy.run_path(str(ROOT / 'setup.py'))


def test_configs_and_tools_lie_side_by_side():
    assert (tools_root() / 'tools/train.py').is_file()
    assert configs_folder().resolve() == tools_root() / 'configs'


SHAPES = 'classification/lfi_vit-128x6-p8_shapes.py'


@pytest.mark.parametrize(
    'name',
    [
        'lfi_vit-128x6-p8_shapes',
        'lfi_vit-128x6-p8_shapes.py',
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
        ('lfi_vit-tiny_shape', f'similar names are .*{SHAPES}'),
        ('configs/classification/lfi_vit-tiny_shape.py', f'similar names are {SHAPES}'),
        # What is inherited is not a config that can be run.
        ('tiny-imagenet-20', 'similar names are'),
        ('zzz', 'no name is similar'),
    ],
)
def test_a_config_that_is_not_there(name, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=says):
        find_config(name)


def test_links_of_an_editable_install_lead_to_its_clone(packaging, tmp_path):
    packaging['fill_mim'](tmp_path / '.mim', packaging['link'])
    for name in ('configs', 'tools', 'model-index.yml'):
        assert (tmp_path / '.mim' / name).resolve() == ROOT / name


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
    with pytest.raises(FileNotFoundError, match='similar names are _base_/teachers/clip-b16.py'):
        lfi.teacher_config('clip-b17')
