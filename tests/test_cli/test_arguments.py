"""What the arguments that tools share take, and what they say of what they do not take."""

from argparse import ArgumentTypeError

import pytest
from lfi.cli.arguments import (
    ArgumentParser,
    add_config_arguments,
    add_run_arguments,
    add_training_arguments,
    not_negative,
    positive,
    whole,
)
from lfi.cli.main import parser_of
from lfi.config_files import config_path

CONFIG = 'classification/lfi_vit-128x6-p8_shapes.py'


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


@pytest.mark.parametrize('typed', ['--epochs 5', '--epochs=5'])
@pytest.mark.parametrize('order', ['{option} {config}', '{config} {option}'])
def test_an_option_of_other_trainers_is_answered_by_the_setting(typed, order, capsys):
    parser = ArgumentParser(prog='tool')
    add_config_arguments(parser)
    add_training_arguments(parser)
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args(order.format(option=typed, config=CONFIG).split())
    line = capsys.readouterr().err
    assert 'there is no --epochs' in line and '--cfg-options max_epochs=5' in line
    assert 'train_cfg.max_epochs=5' in line


@pytest.mark.parametrize(
    ('command', 'option', 'says'),
    [
        ('train', '--lr 0.1', '--cfg-options optim_wrapper.optimizer.lr=0.1'),
        ('train', '--batch-size 8', '--cfg-options train_dataloader.batch_size=8'),
        ('train', '--device', 'CUDA_VISIBLE_DEVICES='),
        ('test', '--batch-size 8', '--cfg-options test_dataloader.batch_size=8'),
        ('test', '--device cpu', 'CUDA_VISIBLE_DEVICES='),
        ('test', '--epochs 1', 'nothing'),
        ('cache', '--device cuda:1', 'CUDA_VISIBLE_DEVICES='),
        ('cache', '--lr 1', 'nothing'),
    ],
)
def test_commands_answer_options_of_other_trainers(command, option, says, capsys):
    with pytest.raises(SystemExit, match='2'):
        parser_of(command).parse_args([CONFIG, *option.split()])
    assert says in capsys.readouterr().err


def test_an_option_that_a_command_has_is_its_own():
    assert parser_of('cache').parse_args([CONFIG, '--out', 'x', '--batch-size', '8']).batch_size == 8


def test_an_unknown_config_ends_in_one_line_with_the_nearest_ones(refused):
    line = refused('lfi_vit-tny_shapes')
    assert 'argument config: there is no config lfi_vit-tny_shapes; similar names are ' in line
    assert CONFIG in line and line.count('\n') == 1


def test_a_config_is_named_as_find_config_takes_it(parser):
    assert parser.parse_args(['lfi_vit-128x6-p8_shapes']).config == config_path(CONFIG)


def test_the_folder_of_a_cache_stays_as_it_was_typed(parser):
    def cache(folder):
        options = parser.parse_args([CONFIG, '--cfg-options', f'model.teacher.cache={folder}']).cfg_options
        return options['model.teacher.cache']

    assert (cache('my maps, 2/1'), cache('None')) == ('my maps, 2/1', None)


def test_brackets_that_do_not_fit_end_in_one_line(refused):
    said = refused(CONFIG, '--cfg-options', 'a=[1, (2]')
    assert '--cfg-options takes KEY=VALUE pairs, got a=[1, (2]' in said


def test_options_add_up(parser):
    found = parser.parse_args([CONFIG, '--cfg-options', 'a=1', 'b=red circle', '--cfg-options', 'a=3'])
    assert found.cfg_options == {'a': 3, 'b': 'red circle'}


def test_pairs_without_a_value(capsys):
    parser = ArgumentParser()
    add_config_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([CONFIG, '--cfg-options', 'train_cfg.max_epochs'])
    assert '--cfg-options takes KEY=VALUE pairs, got train_cfg.max_epochs' in capsys.readouterr().err


def test_local_rank_of_older_launchers(parser):
    assert parser.parse_args([CONFIG, '--local-rank', '1']).local_rank == 1


def test_the_value_of_an_option_decides_which_arguments_follow(capsys):
    parser = ArgumentParser(prog='lfi tool')
    parser.add_variants(
        '--to',
        {
            'file': lambda parser: parser.add_argument('out'),
            'hub': lambda parser: parser.add_argument('name'),
        },
        choices=['file', 'hub'],
        default='file',
    )
    variants = dict(parser.variants)
    assert vars(parser.parse_args(['a'])) == dict(to='file', out='a')
    for words in (['a', '--to', 'hub'], ['--to=hub', 'a'], ['--t', 'hub', 'a']):
        parser = ArgumentParser(prog='lfi tool')
        parser.add_variants('--to', variants, choices=['file', 'hub'], default='file')
        assert vars(parser.parse_args(words)) == dict(to='hub', name='a')
    parser = ArgumentParser(prog='lfi tool')
    parser.add_variants('--to', variants, choices=['file', 'hub'], default='file')
    with pytest.raises(SystemExit):
        parser.parse_args(['a', '--to', 'hup'])
    assert "argument --to: invalid choice: 'hup'" in capsys.readouterr().err


def test_a_check_of_several_arguments_ends_the_process(capsys):
    parser = ArgumentParser(prog='lfi tool')
    parser.add_argument('--low', type=int, default=0)
    parser.add_argument('--high', type=int, default=1)
    parser.add_check(lambda args: f'--low {args.low} is above --high' if args.low > args.high else None)
    assert parser.parse_args(['--low', '1']).low == 1
    with pytest.raises(SystemExit) as end:
        parser.parse_args(['--low', '2'])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith('lfi tool: error: --low 2 is above --high (all arguments: ')


@pytest.mark.parametrize(
    ('kind', 'taken', 'refused'),
    [
        (positive, ['1', '12'], ['0', '-1', '1.5', 'a']),
        (whole, ['0', '12'], ['-1', '1.5', '']),
        (not_negative, ['0', '1.5', '1e3'], ['-5', 'nan', 'inf', '']),
    ],
)
def test_numbers_that_make_no_sense_are_refused(kind, taken, refused):
    assert [kind(text) for text in taken] == [float(text) for text in taken]
    for text in refused:
        with pytest.raises(ArgumentTypeError, match=f'must be a (whole )?number .*, got {text!r}'):
            kind(text)
