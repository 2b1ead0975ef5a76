"""`TextTower`: embeddings of texts are the teacher's own, computed or stored with a student."""

import shutil
from unittest.mock import Mock

import pytest
import torch
from lfi.datasets.rendering import CLASS_NAMES
from lfi.models.teachers import VLMAttentionTeacher
from lfi.models.teachers import text_tower as module
from lfi.models.teachers.loading.weights import BUILT_IN, load_vlm
from lfi.models.teachers.stored_tower import write_text_tower
from lfi.models.teachers.text_tower import TextTower
from safetensors.torch import load_file, save_file

CONFIG = dict(
    type='lfi.VLMAttentionTeacher',
    model='shapes-tiny',
    extractor=dict(type='dense'),
    concepts=dict(type='lfi.Shapes', extra=['red star']),
    background=['sky'],
    templates=['a {}.', 'many {}s'],
)


def test_names_prompts_and_embeddings_are_the_teachers_own():
    tower = TextTower(CONFIG)
    bank = VLMAttentionTeacher(**{key: value for key, value in CONFIG.items() if key != 'type'}).bank
    assert (*tower.concepts, *tower.background) == bank.names
    assert tower.templates == bank.templates
    torch.testing.assert_close(tower.embed(bank.names), bank.embeddings)
    assert tower.bank().names == bank.names[:-1]
    torch.testing.assert_close(tower.bank().embeddings, bank.embeddings[:-1])


def test_what_is_added_to_the_classes_is_no_class():
    assert TextTower(CONFIG).classes == tuple(CLASS_NAMES)
    assert TextTower({**CONFIG, 'concepts': ['ring', 'star']}).classes == ('ring', 'star')


def test_defaults_are_those_of_the_teachers_class():
    config = {key: value for key, value in CONFIG.items() if key not in ('type', 'templates', 'background')}
    tower = TextTower(config)
    assert (tower.templates, tower.background) == (('a photo of a {}.',), ())
    assert (
        TextTower(config, templates='simple').templates
        == TextTower({**config, 'templates': 'simple'}).templates
    )


def test_each_text_is_embedded_once_without_the_image_tower(monkeypatch):
    embedded = []

    def load_watched(*args):
        vlm, tokenizer = load_vlm(*args)
        monkeypatch.setattr(type(vlm.visual), 'forward', lambda *args: pytest.fail('an image was embedded'))
        return vlm, lambda texts: embedded.extend(texts) or tokenizer(texts)

    monkeypatch.setattr(module, 'load_vlm', load_watched)
    tower = TextTower(CONFIG, templates=['{}'])
    assert not embedded
    first = tower.embed(['ring', 'star', 'ring'])
    assert torch.equal(first[0], first[2])
    tower.embed(['star', 'kite'])
    assert embedded == ['ring', 'star', 'kite']


def test_a_config_that_no_teacher_has_is_refused():
    with pytest.raises(ValueError, match=r"teacher\.type='lfi\.Oracle' is unknown"):
        _ = TextTower({**CONFIG, 'type': 'lfi.Oracle'}).concepts
    with pytest.raises(TypeError, match="unexpected keyword argument 'sharpness'"):
        _ = TextTower({**CONFIG, 'sharpness': 1}).concepts


@pytest.fixture
def text_folder(tmp_path):
    """Folder with the embeddings of `CONFIG`'s texts, as a saved student has it."""
    (tmp_path / 'texts.safetensors').write_bytes(TextTower(CONFIG).texts_to_store().to_bytes())
    return tmp_path


def stored(text_folder, **changes):
    return TextTower({**CONFIG, 'text_folder': str(text_folder), **changes})


@pytest.fixture
def no_teacher(monkeypatch):
    """A machine without the teacher."""
    monkeypatch.setattr(module, 'load_vlm', Mock(side_effect=FileNotFoundError('no such teacher')))


def test_stored_texts_need_no_teacher(text_folder, no_teacher):
    names = [*TextTower(CONFIG).concepts, 'sky']
    expected = VLMAttentionTeacher(**{key: value for key, value in CONFIG.items() if key != 'type'}).bank
    assert torch.equal(stored(text_folder).embed(names[::-1]), expected.embeddings.flip(0))
    assert torch.equal(stored(text_folder).bank().embeddings, expected.embeddings[:-1])


def test_without_the_teacher_another_text_or_prompt_names_three_ways(text_folder, no_teacher):
    ways = (
        'its 22 training texts alone: circle .* --with-text-tower.* LFI_TEACHER_ROOT; or let open_clip fetch'
    )
    for tower in (stored(text_folder), TextTower(stored(text_folder).teacher, templates=['{}'])):
        with pytest.raises(RuntimeError, match=ways):
            tower.embed(['barn' if tower.templates == ('a {}.', 'many {}s') else 'ring'])


def test_beside_the_teacher_other_texts_are_embedded_too(text_folder):
    texts = ['ring', 'barn']
    torch.testing.assert_close(stored(text_folder).embed(texts), TextTower(CONFIG).embed(texts))


def test_a_teacher_below_the_root_is_found_by_its_name(text_folder, tmp_path, monkeypatch):
    shutil.copytree(BUILT_IN / 'shapes-tiny', tmp_path / 'teachers/mine')
    monkeypatch.setenv('LFI_TEACHER_ROOT', str(tmp_path / 'teachers'))
    torch.testing.assert_close(
        stored(text_folder, model='mine').embed(['barn']), TextTower(CONFIG).embed(['barn'])
    )


def test_another_teacher_of_the_same_name_is_refused(text_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(BUILT_IN / 'shapes-tiny', tmp_path / 'teachers/mine')
    weights = next(folder.glob('*.safetensors'))
    state = load_file(weights)
    state = {
        name: value + 0.3 * torch.rand_like(value) if value.ndim > 1 else value
        for name, value in state.items()
    }
    save_file(state, weights)
    monkeypatch.setenv('LFI_TEACHER_ROOT', str(tmp_path / 'teachers'))
    with pytest.raises(
        ValueError, match="'mine' on this machine is not that of the training: .* a cosine of"
    ):
        stored(text_folder, model='mine').embed(['barn'])


def test_a_stored_text_tower_replaces_the_teacher(text_folder, monkeypatch):
    expected = TextTower(CONFIG).embed(['barn'])
    (text_folder / 'text_tower').mkdir()
    write_text_tower(text_folder / 'text_tower', CONFIG['model'], None)
    monkeypatch.setattr(module, 'load_vlm', lambda *args: pytest.fail('the teacher was loaded'))
    assert torch.equal(stored(text_folder).embed(['barn']), expected)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda file: file.unlink(), 'is missing: copy the whole folder'),
        (lambda file: file.write_bytes(b'mine'), 'is corrupted'),
        (lambda file: save_file({'embeddings': torch.eye(2)}, file), 'is corrupted'),
        (lambda file: save_texts(file, torch.eye(3)), '2 texts with embeddings of shape'),
        (lambda file: save_texts(file, torch.ones(2, 3)), 'has not the length 1'),
        (lambda file: save_texts(file, torch.full((2, 3), torch.nan)), 'has not the length 1'),
    ],
)
def test_corrupted_embeddings_are_refused(text_folder, change, message):
    change(text_folder / 'texts.safetensors')
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        stored(text_folder).embed(['ring'])


def save_texts(file, embeddings):
    save_file(
        {'embeddings': embeddings}, file, metadata=dict(texts='{"names": ["a", "b"], "templates": ["{}"]}')
    )
