"""What is written into a config file is read again as it was."""

import ast

import pytest
from lfi.adaptation.source import Call, Expression, assignments, source
from lfi.errors import UsageError
from mmengine.config import Config

VALUES = {
    'numbers': [1, 0.5, -2, 1e-6, True, None, float('inf'), -float('inf')],
    'one': (1,),
    'empty': [(), [], {}],
    'texts': ["it's", 'a "b"', 'über\n'],
    'deep': dict(type='A', steps=[dict(type=f'lfi.Step{i}', sizes=(i, i + 1)) for i in range(12)]),
    'keys': {'.gate': dict(decay_mult=0.0), 'plain': 1},
    'keywords': {'class': 0, 'lambda': 1},
}


def test_plain_data_are_read_again(tmp_path):
    text = assignments(VALUES)
    assert max(map(len, text.splitlines())) <= 100
    (tmp_path / 'config.py').write_text(text)
    assert Config.fromfile(tmp_path / 'config.py').to_dict() == VALUES


def test_expressions_and_calls_stand_as_they_are():
    value = dict(backbone=Expression('{{_base_.model.backbone}}'), teacher=Call('f', ('x',), dict(n=[1])))
    assert source(value) == "dict(backbone={{_base_.model.backbone}}, teacher=f('x', n=[1]))"
    long = source(Call('f', ('x' * 60,), dict(name='y' * 60)))
    assert long.splitlines()[0] == 'f(' and long.endswith(',\n)')
    ast.parse(long)


def test_what_is_no_data_is_refused():
    with pytest.raises(UsageError, match="<class 'int'>, which cannot be written"):
        source(dict(type=int))
