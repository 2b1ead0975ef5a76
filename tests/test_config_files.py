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


@pytest.mark.parametrize('typed', ['lfi_my_birds.py', 'lfi_my_brids', 'lfi_mybirds.yp', 'runs/lfi_mybird.py'])
def test_a_mistyped_file_is_found_beside_it_and_in_the_current_folder(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(typed).parent
    folder.mkdir(exist_ok=True)
    (folder / 'lfi_mybirds.py').touch()
    with pytest.raises(FileNotFoundError, match=f'did you mean {folder / "lfi_mybirds.py"}\\?'):
        find_config(typed)


@pytest.mark.parametrize(
    ('data', 'content'),
    [
        ('photos', None),
        ('labels.csv', 'path,label\n'),
        ('labels.TSV', 'path\tlabel\n'),
        ('data.yaml', 'train: images\nnames: [barn]\n'),
        ('instances.json', '{"images": [], "annotations": [], "categories": []}'),
    ],
)
def test_data_in_place_of_a_config_is_recognised(data, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(data)
    path.mkdir() if content is None else path.write_text(content)
    with pytest.raises(FileNotFoundError, match=f'{data} is data .*lfi init {data} writes one'):
        find_config(data)


def test_a_config_may_be_yaml_or_json_and_a_folder_may_have_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (('my.yaml', 'model:\n  type: ImageClassifier\n'), ('my.json', '{"model": {}}')):
        Path(name).write_text(text)
        assert find_config(name) == name
    Path('lfi_vit-128x6-p8_shapes').mkdir()
    assert find_config('lfi_vit-128x6-p8_shapes') == lfi.config_path(SHAPES)


def test_a_folder_with_configs_names_them(tmp_path):
    (tmp_path / 'my.py').touch()
    with pytest.raises(FileNotFoundError, match=r'give a file in it, such as .*my\.py'):
        find_config(str(tmp_path))


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
