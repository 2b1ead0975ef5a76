"""Registries by kind."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest
from lfi.models import VLMAttentionTeacher
from lfi.registry import DATASETS, TASK_TYPES, TEACHERS, VOCABULARIES
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


def test_a_vocabulary_is_no_data_set():
    assert VOCABULARIES.module_dict and not VOCABULARIES.module_dict.keys() & DATASETS.module_dict.keys()


@pytest.mark.parametrize('module', sorted(set(TASK_TYPES.values())))
def test_every_model_of_a_task_is_known_before_its_module_is_imported(module):
    spec = importlib.util.find_spec(module)
    tree = ast.parse(Path(spec.origin).read_text())
    registered = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.decorator_list}
    assert registered == {name for name, where in TASK_TYPES.items() if where == module}
