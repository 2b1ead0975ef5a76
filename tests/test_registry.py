"""Registries by kind."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest
from lfi.models import VLMAttentionTeacher
from lfi.registry import DATASETS, HOOKS, MODELS, TASK_TYPES, TEACHERS, VOCABULARIES
from mmengine.config import Config
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import WEIGHT_INITIALIZERS as MMENGINE_WEIGHT_INITIALIZERS
from mmengine.registry import DefaultScope, Registry

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


@pytest.mark.parametrize(
    ('registry', 'name', 'what_to_do'),
    [
        (MMENGINE_HOOKS, 'lfi.LossWeightHook', 'it is gone, and weights of the loss stay'),
        (HOOKS, 'lfi.engine.LossWeightHook', 'it is gone, and weights of the loss stay'),
        (HOOKS, 'lfi.engine.loss_weight_hook.LossWeightHook', 'it is gone, and weights of the loss stay'),
        (MMENGINE_MODELS, 'lfi.CachedTeacher', 'set model.teacher_cache'),
        (TEACHERS, 'lfi.CachedTeacher', 'set model.teacher_cache'),
        (MMENGINE_WEIGHT_INITIALIZERS, 'lfi.MimeticInit', 'it is gone: model.affinity_prior'),
    ],
)
@pytest.mark.parametrize('scope', ['mmengine', 'mmpretrain'])
def test_a_type_that_is_none_any_more_says_what_to_do(registry, name, what_to_do, scope):
    message = f'{name.rpartition(".")[2]} is no .* any more: {what_to_do}'
    with DefaultScope.overwrite_default_scope(scope), pytest.raises(KeyError, match=message):
        registry.build(dict(type=name))


def test_another_scope_may_have_a_type_of_an_old_name():
    other = Registry('hook', parent=MMENGINE_HOOKS, scope='other')
    try:

        @other.register_module()
        class LossWeightHook:
            pass

        assert HOOKS.get('other.LossWeightHook') is LossWeightHook
    finally:
        del MMENGINE_HOOKS.children['other']


def test_a_hook_of_ones_own_may_have_an_old_name():
    class LossWeightHook:
        pass

    MMENGINE_HOOKS.register_module(module=LossWeightHook)
    try:
        assert HOOKS.get('LossWeightHook') is LossWeightHook
    finally:
        del MMENGINE_HOOKS.module_dict['LossWeightHook']


@pytest.mark.parametrize(
    ('package', 'name', 'what_to_do'),
    [
        ('lfi.datasets', 'ImageNetNames', 'it is lfi.concepts.ImageNetNames now'),
        ('lfi.datasets', 'CaptionPhrases', 'it is lfi.concepts.CaptionPhrases now'),
        ('lfi.engine', 'ConceptCheckHook', 'it is lfi.concepts.ConceptCheckHook now'),
        ('lfi.engine', 'LossWeightHook', 'it is gone'),
        ('lfi.models.backbones', 'MimeticInit', 'it is gone: model.affinity_prior'),
    ],
)
def test_a_lazy_config_that_imports_an_old_type_says_what_to_do(package, name, what_to_do, tmp_path):
    config = tmp_path / 'lazy.py'
    config.write_text(f'from {package} import {name}\nvalue = dict(type={name})\n')
    with pytest.raises(ImportError, match=f'{package} has no {name} any more: {what_to_do}'):
        print(Config.fromfile(config).value.type)
    assert not hasattr(importlib.import_module(package), 'NeverWas')


def test_a_vocabulary_is_no_data_set():
    assert {'ImageNetNames', 'CaptionPhrases'} == set(VOCABULARIES.module_dict)


@pytest.mark.parametrize('module', sorted(set(TASK_TYPES.values())))
def test_every_model_of_a_task_is_known_before_its_module_is_imported(module):
    spec = importlib.util.find_spec(module)
    tree = ast.parse(Path(spec.origin).read_text())
    registered = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.decorator_list}
    assert registered == {name for name, where in TASK_TYPES.items() if where == module}
