import json
from pathlib import Path

import pytest

import research.studies.zero_shot as module
from research.studies.zero_shot import zero_shot_metrics, zero_shot_table


@pytest.mark.parametrize(
    ('checkpoint', 'asked_for'),
    [
        ('hf://user/student', 'hf://user/student'),
        ('https://example.com/x.pth', 'https://example.com/x.pth'),
        ('~/x.pth', str(Path.home() / 'x.pth')),
        ('x.pth', str(Path.cwd() / 'x.pth')),
    ],
)
def test_a_checkpoint_lies_where_it_is_named(checkpoint, asked_for, monkeypatch, tmp_path):
    commands = []

    def tool_output(command, name, cwd):
        commands.append(command)
        (tmp_path / 'metrics.json').write_text(json.dumps({'accuracy/top1': 50.0}))
        return []

    monkeypatch.setattr(module, 'tool_output', tool_output)
    assert zero_shot_metrics('a.py', checkpoint, tmp_path)['metrics'] == {'accuracy/top1': 50.0}
    assert asked_for in commands[0]


def test_the_table_has_domains_or_else_what_there_is():
    plain = [dict(config='a.py', checkpoint='x', metrics={'accuracy/top1': 50.0})]
    assert zero_shot_table(plain).splitlines()[0::2] == [
        '| config | checkpoint | accuracy/top1 |',
        '| a | x | 50.0 |',
    ]
    domains = {'domain/photo': 1.0, 'domain/mean': 2.0, 'domain/worst': 1.0, 'accuracy/top1': 3.0}
    rows = zero_shot_table([dict(plain[0], metrics=domains)]).splitlines()
    assert (
        rows[0] == '| config | checkpoint | photo | mean | worst |'
        and rows[2] == '| a | x | 1.0 | 2.0 | 1.0 |'
    )
