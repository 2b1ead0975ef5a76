import re

from small_runs import SMALL


def test_quickstart_trains_both_arms_and_writes_table_and_picture(run_tool, tmp_path):
    out = run_tool('quickstart.py', '--work-dir', tmp_path, '--epochs', '2', '--cfg-options', *SMALL)
    assert re.search(r'^\| task-loss \| [\d.]+ \|', out, re.M)
    assert re.search(r'^\| lfi \| [\d.]+ \|', out, re.M)
    assert (tmp_path / 'report.png').read_bytes().startswith(b'\x89PNG')
    # Where it looks stands beside its teacher and a map of the centre.
    for row in ('lfi', r'\*teacher\*', r'\*centre map\*'):
        assert re.search(rf'^\| {row} \| 1 \| [\d.]+ \|', out, re.M), row
    page = (tmp_path / 'report.html').read_text()
    assert page.count('<table>') == 2 and 'data:image/png;base64,' in page
    assert f'lfi infer {tmp_path}/lfi/lfi_vit-128x6-p8_shapes.py {tmp_path}/lfi/epoch_2.pth photos' in page
    assert not re.search(r'(src|href)="(?!data:)', page)

    # A run that goes on would keep its seed and its schedule, whatever is asked for.
    out = run_tool('quickstart.py', '--work-dir', tmp_path, '--epochs', '2', '--seed', '1', code=1)
    assert f'{tmp_path} was started with other settings: remove it, or choose another folder' in out
