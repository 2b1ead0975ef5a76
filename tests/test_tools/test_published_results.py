"""Published numbers are of today's configs: who changes one runs its studies again, or removes its cells."""

import csv
import json
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ['shapes', 'shapes-tuning', 'tiny-small', 'tiny-small-tuning', 'tiny-small-variants']
STUDIES += ['shapes-local', 'tiny-small-local']


def identities(rows):
    return {(row['arm'], int(row['seed'])): row['identity'] for row in rows if row['identity']}


@pytest.mark.parametrize('study', STUDIES)
def test_studies(import_tool, tmp_path, study):
    tool, preset = import_tool('reproduce.py'), import_module('lfi.studies.presets').PRESETS[study]
    with open(ROOT / f'docs/results/{study}.csv', newline='') as file:
        published = identities(csv.DictReader(file))
    jobs = tool.plan(preset, preset.seeds, [], tmp_path)
    assert published
    assert published.items() <= {(job.arm.name, job.seed): job.identity for job in jobs}.items()


# The domains of VLCS and the classes of zero-shot are those of the data that is there.
def test_domain_generalisation(import_tool, monkeypatch):
    tool, configs = (
        import_tool('benchmark_dg.py'),
        import_module('lfi.studies.presets').DOMAIN_STUDIES['pacs'],
    )
    monkeypatch.chdir(ROOT)
    settings = Namespace(epochs=None, cfg_options=[], cache_teacher=True)
    arms = [tool.read_arm(config, settings)[0] for config in configs]
    cells = json.loads((ROOT / 'docs/results/dg-pacs.json').read_text())['cells']
    assert {(cell['arm'], cell['identity']) for cell in cells} == {(arm.name, arm.identity) for arm in arms}
