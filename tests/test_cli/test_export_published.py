"""The publishing of checkpoints, run as a user runs it."""

import hashlib
import re

import torch
from lfi.export.published import serialise
from safetensors.torch import load_file

TOOL = 'export --to published'


def write_checkpoint(path, **more):
    """As the Runner writes it; EMAHook puts the averages into `state_dict`."""
    state = {'backbone.weight': torch.ones(2)}
    torch.save(dict(meta=dict(epoch=3), state_dict=state, optimizer={}, message_hub={}, **more), path)
    return path


def published(output, folder):
    """The file that a run named."""
    (name,) = re.findall(r'Wrote (\S+)', output)
    path = folder / name
    digest = re.fullmatch(r'model-([0-9a-f]{8})', path.stem).group(1)
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest)
    return path


def test_training_state_is_removed_and_the_name_tells_the_content(run_tool, tmp_path):
    source = write_checkpoint(tmp_path / 'epoch_3.pth', param_schedulers=[])
    output = run_tool(TOOL, source, tmp_path / 'model.pth')
    assert 'Removed optimizer, message_hub, param_schedulers' in output
    path = published(output, tmp_path)
    found = torch.load(path)
    assert found.keys() == {'meta', 'state_dict'} and found['meta'] == dict(epoch=3)
    assert torch.equal(found['state_dict']['backbone.weight'], torch.ones(2))


def test_averaged_or_trained_weights(run_tool, tmp_path):
    average = {'steps': torch.tensor(5), 'module.backbone.weight': torch.zeros(2)}
    source = write_checkpoint(tmp_path / 'epoch_3.pth', ema_state_dict=average)
    for flags, expected in (([], torch.ones(2)), (['--no-ema'], torch.zeros(2))):
        path = published(run_tool(TOOL, source, tmp_path / 'model.safetensors', *flags), tmp_path)
        assert torch.equal(load_file(path)['backbone.weight'], expected)


def test_trained_weights_that_are_not_there(run_tool, tmp_path):
    source = write_checkpoint(tmp_path / 'epoch_3.pth')
    assert 'has no ema_state_dict' in run_tool(TOOL, source, tmp_path / 'model.pth', '--no-ema', code=1)


def test_code_in_a_checkpoint_is_not_run(run_tool, tmp_path):
    class Harmful:
        def __reduce__(self):
            return print, ('the code was run',)

    torch.save(dict(state_dict={}, meta=Harmful()), tmp_path / 'bad.pth')
    output = run_tool(TOOL, tmp_path / 'bad.pth', tmp_path / 'model.pth', code=1)
    assert 'was refused, and no code of it was run' in output
    assert 'the code was run' not in output
    assert not list(tmp_path.glob('model*'))


def test_the_name_is_no_part_of_the_content():
    checkpoint = dict(meta={}, state_dict={'backbone.weight': torch.ones(2)})
    for suffix in ('.pth', '.safetensors'):
        assert serialise(checkpoint, suffix) == serialise(checkpoint, suffix)
