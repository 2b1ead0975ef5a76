"""All that a day with a GPU runs, small and on the CPU."""

import importlib
import os
import re
import sys
from pathlib import Path

import pytest

SCRIPT = '../benchmarks/gpu_day.sh'


@pytest.fixture
def import_benchmark(monkeypatch):
    """`import_benchmark('gpu_day')` is a file of `benchmarks/` as a module."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / 'benchmarks'))
    yield importlib.import_module
    for name in ('gpu_day', 'photos'):
        sys.modules.pop(name, None)


@pytest.fixture
def gpu_day(import_benchmark):
    return import_benchmark('gpu_day')


def test_every_part_passes_and_stands_in_the_report(run_tool, tmp_path):
    printed = run_tool(SCRIPT, tmp_path / 'out', '--small', LFI_DATA_ROOT=str(tmp_path))
    report = (tmp_path / 'out/report.md').read_text()
    rows = re.findall(r'^\| ([\w -]+) \| ([a-z ]+) \| \d+ \| \d+ \|$', report, re.M)
    assert dict(rows) == {
        'machine': 'passed',
        'tests': 'passed',
        'step of the studies': 'passed',
        'step of Mask R-CNN': 'passed',
        'caching': 'passed',
        'extractors': 'passed',
        'forward pass': 'passed',
        'training on photos': 'left out',
    }, printed
    assert f'tiny-imagenet-200 is not in LFI_DATA_ROOT={tmp_path}' in report
    assert re.search(r'^[1-9]\d* passed, .* in ', report, re.M)
    for row in (
        r'LFI step / \(same student, dense features\) \|( [\d.]+ \|){3} [\d.]+ to [\d.]+ \| [\d.,]+ \|',
        r'LFI, cached teacher \| \d+ \|',
        r'LFI step, cached teacher / baseline \|',
        r'teacher asked about a batch, maps written / teacher forward alone \|',
        r'dense, RN50 \|',
        r'forward, asked \|',
    ):
        assert re.search(rf'^\| {row}', report, re.M), row


def test_the_training_of_photos_runs(run_tool, data_root, teacher_root, tmp_path):
    photos = data_root('tiny-imagenet-200')
    roots = dict(LFI_DATA_ROOT=str(photos.parent), LFI_TEACHER_ROOT=str(teacher_root))
    options = ('--out', tmp_path, '--small', '--arms', 'task-loss')
    printed = run_tool('../benchmarks/photos.py', *options, **roots)
    assert re.search(r'^\| task-loss \| [\d.]+ \(n=1\) \| [\d.]+ ± [\d.]+ \(n=5\) \|', printed, re.M)


@pytest.mark.parametrize(
    ('code', 'minutes', 'result', 'said'),
    [
        ('print("# done")', 1, 'passed', '# done'),
        ('raise ValueError("too wide")', 1, 'failed', 'ValueError: too wide'),
        ('import time; time.sleep(600)', 0.01, 'out of time', ''),
    ],
)
def test_a_part_ends_by_itself_or_is_stopped(gpu_day, tmp_path, code, minutes, result, said):
    outcome = gpu_day.run(gpu_day.Part('part', minutes, ('-c', code)), tmp_path, os.environ)
    assert outcome.result == result and outcome.is_good is (result == 'passed')
    assert outcome.seconds < 30
    report = gpu_day.report([outcome], small=False)
    assert said in report and f'| part | {result} |' in report


def test_all_of_it_is_over_in_40_minutes_and_names_files_that_are_there(gpu_day, tmp_path):
    parts = gpu_day.gpu_parts(tmp_path)
    assert sum(part.minutes for part in parts) <= 40
    words = [word for part in parts for word in part.command if word.endswith('.py') or word == 'tests']
    assert len(words) > len(parts) - 2 and all((gpu_day.ROOT / word).exists() for word in words)


def test_it_says_what_it_does_and_that_there_is_no_gpu(run_tool, tmp_path):
    assert run_tool(SCRIPT, '--help').startswith('usage: gpu_day.sh [-h] [--small] OUT')
    assert 'error: this torch finds no CUDA GPU; --small' in run_tool(SCRIPT, tmp_path, code=1)


def test_a_mean_is_near_another_within_three_standard_errors(import_benchmark):
    photos = import_benchmark('photos')
    published = [40.0, 41.0, 42.0, 43.0, 44.0]
    # The standard deviation is 1.58, the standard error of a difference of five and one 1.73.
    assert photos.is_near([47.1], published) and not photos.is_near([47.3], published)
    assert photos.is_near([39.1, 39.1], published) and not photos.is_near([38.0] * 5, published)
