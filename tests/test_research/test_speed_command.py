"""Times of students of several sizes in one file, and their figure."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from lfi.errors import UsageError

from research.commands import speed

ROOT = Path(__file__).resolve().parents[2]
STEP = '../benchmarks/step.py'
STUDENT = ('--arch', 'vit-128x6', '--img-size', 64, '--patch-size', 8, '--num-classes', 4)
FEW = ('--teacher', 'shapes-tiny', '--extractor', 'dense', '--batch-size', 2, '--rounds', 2)


@pytest.fixture
def step(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    spec = importlib.util.spec_from_file_location('step_benchmark', ROOT / 'benchmarks/step.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_student_replaces_its_own_rows_alone(run_tool, step, tmp_path):
    file = tmp_path / 'speed.csv'
    other = dict.fromkeys(step.COLUMNS, '1') | dict(arch='base', machine='a CPU, 2 threads')
    own = dict.fromkeys(step.COLUMNS, '1') | dict(arch='vit-128x6', image_size='64', patch_size='8')
    with file.open('w', newline='') as out:
        writer = csv.DictWriter(out, step.COLUMNS)
        writer.writeheader()
        writer.writerows([own, other])
    printed = run_tool(STEP, *STUDENT, *FEW, '--csv', file, OMP_NUM_THREADS='1')
    assert 'peak memory' not in printed and 'logit KD' not in printed
    with file.open(newline='') as rows:
        kept, cached, online = csv.DictReader(rows)
    assert kept == other
    assert (cached['step'], online['step']) == ('cached', 'online')
    assert cached['arch'] == 'vit-128x6' and cached['concepts'] == '4' and cached['teacher'] == 'shapes-tiny'
    assert int(cached['parameters']) == pytest.approx(828_288)
    for row in (cached, online):
        assert 0 < float(row['low']) <= float(row['ratio']) <= float(row['high'])
        assert f'| {row["ours_ms"]} | {row["peer_ms"]} | {row["ratio"]} |' in printed


def test_each_student_is_timed_by_arguments_that_the_benchmark_has(step, tmp_path, monkeypatch):
    commands, csv_file = [], tmp_path / 'speed.csv'

    def run(command, check):
        commands.append(command)
        csv_file.write_text(f'{",".join(step.COLUMNS)}\n')

    monkeypatch.setattr(subprocess, 'run', run)
    arguments = ['speed', '--csv', str(csv_file), '--figure', str(tmp_path / 'images/speed.png')]
    monkeypatch.setattr(sys, 'argv', arguments)
    speed.main(speed.parse_args())
    assert (tmp_path / 'images/speed.png').is_file()
    for arch, (_, tool, *words) in zip(speed.STUDENTS, commands, strict=True):
        monkeypatch.setattr(sys, 'argv', [tool, *words])
        args = step.parse_args()
        assert Path(tool).is_file() and args.arch == arch and args.csv == csv_file
        assert args.extractor == ('dense' if args.img_size == 64 else 'clearclip')


def test_nothing_is_drawn_of_a_file_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['speed', '--draw', '--csv', str(tmp_path / 'none.csv')])
    with pytest.raises(UsageError, match='leave out --draw to write it'):
        speed.main(speed.parse_args())
