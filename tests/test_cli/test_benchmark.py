"""Timing a student in its formats."""

import json
import re

import pytest
import torch
from lfi.errors import UsageError
from lfi.export import Agreement
from lfi.export import timing as timing_module
from lfi.export.timing import Timing

TOOL = 'benchmark'
QUICK = ('--num-warmup', 1, '--repeat-num', 3, '--threads', 1)


def test_a_table_and_a_file_of_what_is_asked_for(run_tool, small_training, tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    config, checkpoint = small_training()
    options = ('--formats', 'onnx-fp16', '--batch-sizes', 1, 2, '--json', tmp_path / 'times/x.json')
    output = run_tool(TOOL, config, checkpoint, *options, *QUICK)
    rows = re.findall(
        r'^\| (pytorch|onnx|onnx-fp16) \| (\d) \| [\d.]+ \| .* \| ([\d.]+) \| yes \|$', output, re.M
    )
    names = ['pytorch', 'onnx-fp16']
    assert [row[:2] for row in rows] == [(name, batch) for batch in '12' for name in names]
    assert rows[0][2] == '1.00'
    assert re.search(r'training, 64 x 64 pixels, .*1 of \d+ threads', output)
    content = json.loads((tmp_path / 'times/x.json').read_text())
    assert content['shape'] == [64, 64]
    for timing in content['timings']:
        assert len(timing['seconds']) == 3 and timing['agrees']
        assert ('largest difference' in timing['agreement']) == (timing['format'] != 'pytorch')


def test_compiled(call_tool, monkeypatch, small_training):
    # The default one calls a C++ compiler, which takes its time.
    compiled = torch.compile
    monkeypatch.setattr(
        torch, 'compile', lambda graph, **options: compiled(graph, backend='eager', **options)
    )
    out = call_tool(TOOL, *small_training(), '--formats', 'compile', *QUICK)
    # What it is compared with is there, whether or not it is named.
    for name in ('pytorch', 'compile'):
        assert re.search(rf'^\| {name} \| 1 \| .* \| yes \|$', out, re.M)


def test_images_in_which_nothing_is_found(call_tool, monkeypatch, small_training):
    monkeypatch.setattr(torch, 'compile', lambda graph, **options: graph)
    monkeypatch.setattr(timing_module, 'compare_outputs', lambda *args: Agreement(0, 0, 1.0, []))
    out = call_tool(TOOL, *small_training(), '--formats', 'compile', *QUICK)
    assert 'Batch 1: there are no detections in these images' in out


def test_an_unknown_format(tool_arguments, capsys):
    with pytest.raises(SystemExit):
        tool_arguments(TOOL, 'lfi_vit-128x6-p8_shapes', 'x.pth', '--formats', 'onnx,tflite')
    assert 'unknown: tflite; choose from pytorch,compile,onnx,onnx-fp16' in capsys.readouterr().err


def test_a_gpu_that_is_not_there(call_tool, monkeypatch, small_training):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(UsageError, match='--device cuda: this torch finds no GPU'):
        call_tool(TOOL, *small_training(), '--device', 'cuda', '--formats', 'pytorch')


def test_a_format_that_gives_something_else_is_an_error(call_tool, monkeypatch, small_training, capsys):
    right = Timing('pytorch', 1, (0.002, 0.004, 0.003), 1.0, True, '')
    wrong = Timing('onnx', 4, (0.001,), 0.5, False, 'logits (4, 2): largest difference 1.0e+00')
    monkeypatch.setattr(timing_module, 'time_formats', lambda *args, **settings: [right, wrong])
    with pytest.raises(UsageError, match='outputs differ from PyTorch: onnx, batch 4: logits'):
        call_tool(TOOL, *small_training())
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        '| pytorch | 1 | 3.0 | 2.0 to 4.0 | 333.3 | 1.00 | yes |',
        '| onnx | 4 | 1.0 | 1.0 to 1.0 | 4000.0 | 0.50 | NO |',
    ]
