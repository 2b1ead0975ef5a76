"""All parts, pairs of parts and losses train in two processes without a search for unused parameters."""

import json
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
from small_students import PARTS

SCRIPT = Path(__file__).with_name('two_processes.py')


@pytest.fixture(scope='module')
def found(warm_python, tmp_path_factory):
    """What came of each student, by each process."""
    meeting = tmp_path_factory.mktemp('gloo') / 'meeting'
    processes = [
        subprocess.Popen(
            warm_python.command(SCRIPT, meeting),
            env={**warm_python.env, 'RANK': str(rank)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    return [json.loads(text.splitlines()[-1]) for text in printed]


@pytest.mark.parametrize('backbone', ['vit', 'adapter'])
def test_every_pair_of_parts_is_tried(found, backbone):
    names = ['+'.join(names) for n in (1, 2) for names in combinations(PARTS, n)]
    assert {f'{name} ({backbone})' for name in names} <= found[0].keys() == found[1].keys()


def test_all_of_them_train(found):
    for process in found:
        failed = {name: text for name, text in process.items() if text and 'nothing reads' not in name}
        assert not failed


@pytest.mark.parametrize('backbone', ['vit', 'adapter'])
def test_what_gets_no_gradient_is_found(found, backbone):
    for process in found:
        assert (
            'Expected to have finished reduction' in process[f'a parameter that nothing reads ({backbone})']
        )
