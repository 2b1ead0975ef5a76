"""The export of graphs, run as a user runs it."""

import re

import pytest
import torch
from lfi.engine import launch
from lfi.models.export import model_config
from lfi.registry import MODELS
from lfi.tools import export_onnx
from mmengine.config import Config
from mmengine.runner import load_checkpoint

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

TOOL = 'model_converters/export_onnx.py'
SHAPES = 'classification/lfi_vit-tiny_shapes.py'


def images(batch, height=64, width=64):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_gated_student_in_both_formats(run_tool, small_training, tmp_path):
    config, checkpoint = small_training(SHAPES, num_queries=8, write_back='gated')
    onnx, pt2 = tmp_path / 'export/student.onnx', tmp_path / 'export/student.pt2'
    output = run_tool(TOOL, config, checkpoint, onnx, '--torch-export', pt2, '--opset', 18)
    assert 'opset 18' in output
    assert 'Images: RGB, 64 x 64, values 0 to 255, less (127.5, 127.5, 127.5), divided by (64, 64' in output
    differences = re.findall(r'(\S+), logits \((\d), 20\): largest difference (\S+) of', output)
    assert [found[:2] for found in differences] == [
        (path.name, batch) for path in (onnx, pt2) for batch in '13'
    ]
    assert all(float(found[2]) < 1e-5 for found in differences)

    student = MODELS.build(model_config(Config.fromfile(config))).eval()
    load_checkpoint(student, str(checkpoint), strict=True)
    session = onnxruntime.InferenceSession(onnx, providers=['CPUExecutionProvider'])
    (logits,) = session.run(['logits'], {'images': images(5).numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), student(images(5)), atol=1e-5, rtol=1e-4)


def test_a_backbone_for_another_size(run_tool, small_training, tmp_path):
    config, checkpoint = small_training(SHAPES, out_type='featmap', out_indices=[0, 1])
    out = tmp_path / 'student.onnx'
    output = run_tool(TOOL, config, checkpoint, out, '--part', 'backbone', '--shape', 32, 48)
    assert 'feature_map_0 (1, 16, 4, 6)' in output and 'feature_map_1 (3, 16, 4, 6)' in output


def test_an_export_that_differs_is_removed(tmp_path):
    path = tmp_path / 'student.onnx'
    path.touch()
    with pytest.raises(
        launch.UsageError, match=r'student.onnx was removed: its logits differs by more than 0.0001'
    ):
        export_onnx.compare(lambda x: (x,), ['logits'], (4, 4), lambda x: (x * 1.001,), path)
    assert not path.exists()
