import json
import re
from functools import partial

import pytest
from lfi.errors import UsageError
from small_runs import SMALL

BASELINE = 'task-loss_vit-128x6-p8_shapes-domains'
METHOD = 'lfi_vit-128x6-p8_shapes-domains'
ZERO_SHOT = """
_base_ = {base!r}
model = dict(
    head=None,
    predict_by=dict(
        type='lfi.ByTexts', concepts=dict(type='lfi.Shapes'), templates=['a drawing of a {{}}.']
    ),
)
test_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(num_images=40, domains=['photo', 'sketch'])
)
"""


@pytest.fixture
def configs(config_path):
    return [config_path(f'baselines/{BASELINE}.py'), config_path(f'domain_generalization/{METHOD}.py')]


@pytest.fixture
def main(call_tool, monkeypatch):
    # The tool sets it for each cell.
    monkeypatch.delenv('LFI_TARGET_DOMAIN', raising=False)
    return partial(call_tool, 'research benchmark-dg')


def arguments(work_dir):
    return '--work-dir', work_dir, '--domains', 'cartoon', '--epochs', '2', '--cache-teacher'


def test_a_domain_is_left_out_and_what_is_finished_stays(run_tool, main, configs, tmp_path):
    options = (*arguments(tmp_path), '--jobs', '2', '--seeds', '0', '--cfg-options', *SMALL)
    out = run_tool('research benchmark-dg', configs[1], *options)
    assert '0 of 1 cells are finished' in out
    assert re.search(rf'^{METHOD}, cartoon left out, seed 0, test images: .*domain/cartoon [\d.]+', out, re.M)
    assert re.search(r'^\| cartoon \| [\d.]+ \|$', out, re.M)
    folder = tmp_path / METHOD / 'cartoon/seed-0'
    cell = json.loads((folder / 'cell.json').read_text())
    # The epoch that is tested is the best on the domains of training.
    scalars = next(folder.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    validation = [row['domain/mean'] for row in rows if 'domain/mean' in row]
    assert cell['epoch'] == validation.index(max(validation)) + 1
    assert not any('domain/cartoon' in row for row in rows)
    assert (folder / 'cache/manifest.json').exists()

    out = main(configs[1], *arguments(tmp_path), '--seeds', 0, '--cfg-options', *SMALL)
    assert '1 of 1 cells are finished' in out
    content = json.loads((tmp_path / 'results.json').read_text())
    assert [row['domain'] for row in content['leave_one_out']] == ['cartoon', 'mean', 'worst']
    # With the digits that a table of values keeps.
    assert content['cells'][0]['accuracy'] == round(cell['test']['domain/cartoon'], 3)
    assert content['cells'][0]['curve'] == [round(value, 3) for value in validation]

    config = tmp_path / 'zero_shot.py'
    config.write_text(ZERO_SHOT.format(base=str(configs[1])))
    checkpoint = next(folder.glob('best_*.pth'))
    zero_shot = ('--zero-shot', config, checkpoint, '--work-dir', tmp_path / 'zero-shot')
    out = run_tool('research benchmark-dg', *zero_shot)
    assert 'Zero-shot prompts: a drawing of a {}.; classes: ' in out
    assert '| config | checkpoint | photo | sketch | mean | worst |' in out
    assert re.search(rf'^\| zero_shot \| {re.escape(str(checkpoint))} \|( [\d.]+ \|){{4}}$', out, re.M)


def test_a_cell_of_other_settings_is_refused(main, configs, tmp_path):
    folder = tmp_path / BASELINE / 'cartoon/seed-0'
    folder.mkdir(parents=True)
    (folder / 'cell.json').write_text(json.dumps(dict(identity='other', test={})))
    with pytest.raises(UsageError, match=f'{folder} was started with other settings'):
        main(configs[0], *arguments(tmp_path))


def test_mistakes_are_named_at_once(main, configs, config_path, tmp_path, capsys):
    options = ('--work-dir', tmp_path)
    with pytest.raises(UsageError, match='--domains woodcut: there are cartoon, painting, photo, sketch'):
        main(*configs, '--domains', 'woodcut', *options)
    with pytest.raises(UsageError, match='has no target_domain: it must read LFI_TARGET_DOMAIN'):
        main(config_path('baselines/task-loss_vit-128x6-p8_shapes.py'), *options)
    for args, message in (
        ([], 'give the CONFIGs of a baseline and a method, or use --zero-shot'),
        ([configs[0]] * 2, 'the CONFIGs must have different file names'),
        ([*configs, '--epochs', '1'], '--epochs 1: give 2 or more'),
        ([*configs, '--seeds', '-1'], "--seeds: must be a whole number of 0 or more, got '-1'"),
        ([*configs, '--cfg-options', 'foo'], '--cfg-options takes KEY=VALUE pairs, got foo'),
        ([*configs, '--jobs', '0'], "--jobs: must be a whole number above 0, got '0'"),
    ):
        with pytest.raises(SystemExit):
            main(*args)
        assert message in capsys.readouterr().err
