"""What the arguments that tools share take, and what they say of what they do not take."""

from argparse import ArgumentTypeError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfi.arguments import (
    ArgumentParser,
    add_config_arguments,
    add_run_arguments,
    nearest,
    option_of,
    positive,
    value_of,
    whole,
)
from lfi.config_files import config_path
from mmengine.config import DictAction

CONFIG = 'classification/lfi_vit-tiny_shapes.py'


@pytest.fixture
def parser():
    parser = ArgumentParser(prog='tool')
    add_config_arguments(parser)
    add_run_arguments(parser)
    return parser


@pytest.fixture
def refused(parser, capsys):
    """What is said of a command line that is refused."""

    def parse(*args):
        with pytest.raises(SystemExit, match='2'):
            parser.parse_args(args)
        return capsys.readouterr().err

    return parse


def test_an_unknown_option_ends_in_one_line_with_the_nearest_one(refused):
    assert refused(CONFIG, '--work-dri=x', '--launch-er', 'none') == (
        'tool: error: unrecognized arguments: --work-dri=x --launch-er none; did you mean --work-dir? '
        'did you mean --launcher? (all arguments: tool --help)\n'
    )
    assert refused(CONFIG, '--zzzz') == (
        'tool: error: unrecognized arguments: --zzzz (all arguments: tool --help)\n'
    )
    # What is not in the help is not recommended.
    assert 'did you mean' not in refused(CONFIG, '--local_rnak', '3')


def test_an_unknown_option_of_a_sub_command(capsys):
    parser = ArgumentParser(prog='tool')
    inner = parser.add_subparsers(dest='command').add_parser('part')
    inner.add_argument('--images', type=int)
    assert parser.parse_args(['part', '--images', '3']).images == 3
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args(['part', '--imgaes', '3'])
    assert capsys.readouterr().err == (
        'tool part: error: unrecognized arguments: --imgaes 3; did you mean --images? '
        '(all arguments: tool part --help)\n'
    )


def test_an_unknown_config_ends_in_one_line_with_the_nearest_ones(refused):
    line = refused('lfi_vit-tny_shapes')
    assert 'argument config: there is no config lfi_vit-tny_shapes; near it are ' in line
    assert CONFIG in line and line.count('\n') == 1


def test_a_config_is_named_as_find_config_takes_it(parser):
    assert parser.parse_args(['lfi_vit-tiny_shapes']).config == config_path(CONFIG)


def test_the_folder_of_a_cache_stays_as_it_was_typed(parser):
    def cache(folder):
        options = parser.parse_args([CONFIG, '--cfg-options', f'model.teacher_cache={folder}']).cfg_options
        return options['model.teacher_cache']

    assert (cache('my maps, 2/1'), cache('None')) == ('my maps, 2/1', None)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('a drawing', 'a drawing'),
        ("'a drawing of {}'", 'a drawing of {}'),
        ("['a drawing of a {}','{}']", ['a drawing of a {}', '{}']),
        ('["red, or blue", "(a [b"]', ['red, or blue', '(a [b']),
        ('[red circle, star]', ['red circle', 'star']),
        ("['red circle', star]", ['red circle', 'star']),
        ("[['a b'], ('1', 'None')]", [['a b'], (1, None)]),
        ('red circle, star', ['red circle', 'star']),
        ('[ 3, 7 ]', [3, 7]),
        ('( 100 , 150 )', (100, 150)),
        ('(3)', (3,)),
        ('[]', []),
        ("{'a': 1}", "{'a': 1}"),
        ('"red, or blue"', 'red, or blue'),
        ("'it's'", "it's"),
        ("'[3,7]'", [3, 7]),
        ("'3'", 3),
        ('"a","b"', ['a', 'b']),
        ("('layer4')", ('layer4',)),
        ('[ ]', []),
        ('[1, ]', [1]),
        ('(1, )', (1,)),
        ('[1,2],[3,4]', [[1, 2], [3, 4]]),
        ('a photo (of a, b)', 'a photo (of a, b)'),
        ('dict(a=1,b=2)', 'dict(a=1,b=2)'),
        ('a photo (of', 'a photo (of'),
        ("it's, what's", ["it's", "what's"]),
        (r"'\bfoo'", r'\bfoo'),
        (r"['a\nb']", [r'a\nb']),
        ('""', ''),
    ],
)
def test_texts_keep_their_spaces(parser, text, value):
    found = parser.parse_args([CONFIG, '--cfg-options', f'a.b={text}']).cfg_options
    assert found == {'a.b': value} and type(found['a.b']) is type(value)


WORDS = st.sampled_from(
    ['a', 'best-location', '3', '-1', '2.5', '1e-3', 'true', 'False', 'None', '{}', 'x=y']
)


@given(
    st.recursive(
        WORDS,
        lambda inner: st.tuples(st.sampled_from(['[]', '()']), st.lists(inner, max_size=3)).map(
            lambda found: f'{found[0][0]}{",".join(found[1])}{found[0][1]}'
        ),
    )
)
def test_values_are_those_of_mmengine(text):
    value = DictAction._parse_iterable(text)
    assert value_of(text) == value and repr(value_of(text)) == repr(value)


@pytest.mark.parametrize('text', ['[1, (2]', 'a(b, c', '[(])', '[' * 5000])
def test_brackets_that_do_not_fit(refused, text):
    said = refused(CONFIG, '--cfg-options', f'a={text}')
    assert f'--cfg-options takes KEY=VALUE pairs, got a={text}' in said


@pytest.mark.parametrize(
    'value',
    ['two, words', 'a', '3.5x', ['a drawing of a {}', 'a, b'], ("it's",), [[1, 2.5], [None, True]], 7],
)
def test_a_printed_option_means_the_same(parser, value):
    pair = option_of('a.b', value)
    assert parser.parse_args([CONFIG, '--cfg-options', pair]).cfg_options == {'a.b': value}


@pytest.mark.parametrize('key', ['data_root', 'model.teacher_cache'])
def test_a_printed_folder_stays_as_it_is(parser, key):
    pair = option_of(key, 'my maps, 2/[1]')
    assert parser.parse_args([CONFIG, '--cfg-options', pair]).cfg_options == {key: 'my maps, 2/[1]'}


def test_options_add_up(parser):
    found = parser.parse_args([CONFIG, '--cfg-options', 'a=1', 'b=2', '--cfg-options', 'a=3'])
    assert found.cfg_options == {'a': 3, 'b': 2}


def test_pairs_without_a_value(capsys):
    parser = ArgumentParser()
    add_config_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([CONFIG, '--cfg-options', 'train_cfg.max_epochs'])
    assert '--cfg-options takes KEY=VALUE pairs, got train_cfg.max_epochs' in capsys.readouterr().err


def test_local_rank_of_older_launchers(parser):
    assert parser.parse_args([CONFIG, '--local-rank', '1']).local_rank == 1


def test_the_nearest_word_is_named_and_none_where_none_is_near():
    assert nearest('trian', ['test', 'train']) == 'did you mean train?'
    assert nearest('xyz', ['test', 'train']) == ''


def test_help_names_what_was_typed(monkeypatch):
    monkeypatch.setattr(ArgumentParser, 'typed_as', 'lfi tool')
    parser = ArgumentParser()
    inner = parser.add_subparsers().add_parser('part')
    assert (parser.prog, inner.prog) == ('lfi tool', 'lfi tool part')


@pytest.mark.parametrize(
    ('kind', 'taken', 'refused'),
    [(positive, ['1', '12'], ['0', '-1', '1.5', 'a']), (whole, ['0', '12'], ['-1', '1.5', ''])],
)
def test_numbers_that_make_no_sense_are_refused(kind, taken, refused):
    assert [kind(text) for text in taken] == [int(text) for text in taken]
    for text in refused:
        with pytest.raises(ArgumentTypeError, match=f'must be a whole number .*, got {text!r}'):
            kind(text)
