"""The export of graphs, run as a user runs it."""

import errno
import os
import re
from types import SimpleNamespace

import pytest
import torch
from lfi.errors import UsageError
from lfi.export import FLOAT32, model_config, onnx_export, relative_difference
from lfi.registry import MODELS
from mmengine.config import Config
from mmengine.runner import load_checkpoint

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

TOOL = 'export --to onnx'


def images(batch, height=64, width=64):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def trained(config, checkpoint):
    student = MODELS.build(model_config(Config.fromfile(config))).eval()
    load_checkpoint(student, str(checkpoint), strict=True)
    return student


@torch.no_grad()
def test_a_gated_student_in_both_formats(run_tool, small_training, tmp_path):
    config, checkpoint = small_training(num_queries=8, write_back='gated')
    onnx, pt2 = tmp_path / 'export/student.onnx', tmp_path / 'export/student.pt2'
    output = run_tool(TOOL, config, checkpoint, onnx, '--opset', 18)
    output += run_tool('export --to torch-export', config, checkpoint, pt2)
    assert 'opset 18' in output
    assert 'Images: RGB, 64 x 64, values 0 to 255, minus (127.5, 127.5, 127.5), divided by (64, 64' in output
    differences = re.findall(r'(\S+), logits \((\d), 20\): largest difference (\S+) of', output)
    assert [found[:2] for found in differences] == [
        (path.name, batch) for path in (onnx, pt2) for batch in '13'
    ]
    assert all(float(found[2]) < 1e-5 for found in differences)

    student = trained(config, checkpoint)
    session = onnxruntime.InferenceSession(onnx, providers=['CPUExecutionProvider'])
    (logits,) = session.run(['logits'], {'images': images(5).numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), student(images(5)), atol=1e-5, rtol=1e-4)


def test_a_backbone_for_another_size(run_tool, small_training, tmp_path):
    config, checkpoint = small_training(out_type='featmap', out_indices=[0, 1])
    out = tmp_path / 'student.onnx'
    output = run_tool(TOOL, config, checkpoint, out, '--part', 'backbone', '--shape', 32, 48)
    assert 'feature_map_0 (1, 16, 4, 6)' in output and 'feature_map_1 (3, 16, 4, 6)' in output


@torch.no_grad()
def test_half_precision_of_one_batch_size_on_ones_own_images(run_tool, small_training, toy_data, tmp_path):
    config, checkpoint = small_training()
    half = tmp_path / 'half.onnx'
    output = run_tool(TOOL, config, checkpoint, half, '--fp16', '--batch', 2, '--images', toy_data)
    assert re.search(r'half.onnx, logits \(2, 20\): largest difference \S+e-0[3-9]', output)
    session = onnxruntime.InferenceSession(half, providers=['CPUExecutionProvider'])
    (given,) = session.get_inputs()
    assert (given.type, given.shape) == ('tensor(float)', [2, 3, 64, 64])
    (logits,) = session.run(None, {'images': images(2).numpy()})
    expected = trained(config, checkpoint)(images(2))
    # It rounds, and no more.
    assert 1e-5 < relative_difference(torch.from_numpy(logits), expected) < 0.02


class Constant(torch.nn.Module):
    """A layer whose code makes a constant in float32."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Linear(3, 2)

    def forward(self, images):
        return (self.mix(images.to(self.mix.weight.dtype).mean((2, 3)) + torch.ones(3)),)


def test_a_module_that_stays_in_float32_is_named():
    graph = Constant()
    assert onnx_export.export_program(graph, (8, 8)) is not None
    with pytest.raises(UsageError, match=r'^mix \(Linear\) cannot compute in float16 .*--fp16') as raised:
        onnx_export.export_half_program(graph, (8, 8))
    assert '\n' not in str(raised.value)


def test_a_part_that_a_student_does_not_have(call_tool, small_training, tmp_path):
    message = "part='detector' needs a detector of mmdet, got a ImageClassifier; or use part='backbone'"
    with pytest.raises(ValueError, match=message):
        call_tool(TOOL, *small_training(), tmp_path / 'x.onnx', '--part', 'detector')


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['x.onnx', '--batch', '0'], "argument --batch: must be a whole number above 0, got '0'"),
        (['x.pt'], 'out takes a .onnx file, got x.pt'),
        (['x.onnx', '--opset', '17'], '--opset 17 must be at least 18'),
    ],
)
def test_wrong_arguments(tool_arguments, capsys, arguments, words):
    with pytest.raises(SystemExit):
        tool_arguments(TOOL, 'lfi_vit-128x6-p8_shapes', 'x.pth', *arguments)
    assert words in capsys.readouterr().err


class Full:
    """Stands for what ONNX writes where the disk is full."""

    model = SimpleNamespace(opset_imports={'': 18})

    def save(self, path):
        path.write_bytes(b'half')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_older_export_stays_where_the_disk_is_full(tmp_path, monkeypatch):
    older = tmp_path / 'student.onnx'
    older.write_bytes(b'whole')
    monkeypatch.setattr(onnx_export, 'to_onnx', lambda *args: Full())
    with pytest.raises(OSError, match='No space left'), onnx_export.replace_on_success(older) as path:
        onnx_export.write_onnx(None, ['logits'], None, path)
    assert [path.name for path in tmp_path.iterdir()] == ['student.onnx'] and older.read_bytes() == b'whole'


def comparison(tmp_path, factor):
    path = tmp_path / 'student.onnx'
    path.write_bytes(b'older')
    batches = [torch.ones(1, 3, 4, 4)]
    with onnx_export.replace_on_success(path) as made:
        made.write_bytes(b'new')
        onnx_export.check_export(
            None, lambda x: (x,), ['logits'], batches, lambda x: (x * factor,), FLOAT32, path
        )


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_export_that_differs_leaves_the_older_one(tmp_path):
    with pytest.raises(UsageError, match=r'student.onnx was not written: .* differ .* Tolerance'):
        comparison(tmp_path, 1.001)
    assert files_of(tmp_path) == {'student.onnx': b'older'}


def test_an_export_whose_values_are_not_finite_leaves_the_older_one(tmp_path, capsys):
    with pytest.raises(UsageError, match='student.onnx was not written'):
        comparison(tmp_path, float('nan'))
    assert files_of(tmp_path) == {'student.onnx': b'older'}
    assert 'logits (1, 3, 4, 4): values that are not finite' in capsys.readouterr().out


def test_an_export_that_is_the_same_stays(tmp_path, capsys):
    comparison(tmp_path, 1.00001)
    assert files_of(tmp_path) == {'student.onnx': b'new'}
    assert 'student.onnx, logits (1, 3, 4, 4): largest difference 1.0e-05' in capsys.readouterr().out
