"""The arguments that the studies' commands share."""

import pytest
from lfi.cli.arguments import ArgumentParser

from research.commands.arguments import add_study_arguments


def test_the_options_of_a_study_stay_as_they_were_typed():
    parser = ArgumentParser()
    add_study_arguments(parser)
    assert parser.parse_args([]).cfg_options == []
    found = parser.parse_args(['--cfg-options', 'a=1', 'b=[1, "x y"]', '--cfg-options', 'a=3'])
    assert found.cfg_options == ['a=1', 'b=[1, "x y"]', 'a=3']


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['--cfg-options', 'a=1', 'foo'], '--cfg-options takes KEY=VALUE pairs, got a=1 foo'),
        (['--cfg-options', 'a=[1,2'], '--cfg-options takes KEY=VALUE pairs, got a=[1,2'),
        (['--seeds', '-1'], "argument --seeds: must be a whole number of 0 or more, got '-1'"),
    ],
)
def test_what_no_cell_of_a_study_can_take_is_refused(args, words, capsys):
    parser = ArgumentParser()
    add_study_arguments(parser, seeds=[0])
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args(args)
    assert words in capsys.readouterr().err
