"""`TextTower`: the texts of a teacher's config are the teacher's own."""

import pytest
import torch
from lfi.datasets.rendering import CLASS_NAMES
from lfi.models.teachers import VLMAttentionTeacher
from lfi.models.teachers import text_tower as module
from lfi.models.teachers.loading.weights import load_vlm
from lfi.models.teachers.text_tower import TextTower

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
