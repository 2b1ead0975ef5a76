"""Registries by kind."""

import pytest
from lfi.models import VLMAttentionTeacher
from lfi.registry import DATASETS, MODELS, TEACHERS, VOCABULARIES
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope

TEACHER = dict(model='shapes-tiny', extractor=dict(type='dense'), concepts=['ring', 'star'])


@pytest.mark.parametrize('scope', ['mmengine', 'mmpretrain', 'mmdet', 'lfi'])
def test_a_teacher_is_built_whatever_the_default_scope_is(scope, caplog):
    with DefaultScope.overwrite_default_scope(scope):
        teacher = TEACHERS.build(dict(TEACHER, type='lfi.VLMAttentionTeacher'))
    assert isinstance(teacher, VLMAttentionTeacher)
    assert not [record for record in caplog.records if record.levelname == 'WARNING']


def test_a_teacher_is_built_by_its_class():
    assert isinstance(TEACHERS.build(dict(TEACHER, type=VLMAttentionTeacher)), VLMAttentionTeacher)


@pytest.mark.parametrize('config', [dict(TEACHER), dict(TEACHER, type='lfi.Oracle')])
def test_an_unknown_teacher_is_refused(config):
    with pytest.raises(ValueError, match=r'teacher\.type=.* is unknown; choose from .*VLMAttentionTeacher'):
        TEACHERS.build(config)


@pytest.mark.parametrize(
    ('registry', 'name', 'kind'),
    [
        (MODELS, 'lfi.VLMAttentionTeacher', 'TEACHERS'),
        (MMENGINE_MODELS, 'lfi.VLMAttentionTeacher', 'TEACHERS'),
        (DATASETS, 'ImageNetNames', 'VOCABULARIES'),
        (MMENGINE_DATASETS, 'lfi.CaptionPhrases', 'VOCABULARIES'),
    ],
)
def test_the_registry_that_once_held_a_type_names_the_one_that_does(registry, name, kind):
    with pytest.raises(KeyError, match=rf'{name.rpartition(".")[2]} is no .*: use lfi\.registry\.{kind}'):
        registry.get(name)


def test_a_vocabulary_is_no_data_set():
    assert {'ImageNetNames', 'CaptionPhrases'} == set(VOCABULARIES.module_dict)
