"""From an ONNX file to TensorRT, as far as that can be tried without it."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from lfi.export import build_engine, tensorrt_issues

onnx = pytest.importorskip('onnx')
TOOL = 'export --to tensorrt'


@pytest.fixture
def onnx_file(tmp_path):
    """`onnx_file(operator, number=3, opset=18)` writes a graph of one node."""

    def write(operator, number=3, opset=18):
        helper = onnx.helper
        images = helper.make_tensor_value_info('images', onnx.TensorProto.FLOAT, ['b', 8])
        outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ('x', 'y')]
        inputs = ['images', 'k'] if operator == 'TopK' else ['images']
        node = helper.make_node(operator, inputs, ['x', 'y'] if operator == 'TopK' else ['x'])
        constant = onnx.numpy_helper.from_array(np.array([number]), 'k')
        graph = helper.make_graph([node], 'graph', [images], outputs, [constant])
        path = tmp_path / 'student.onnx'
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)]), path)
        return path

    return write


def test_what_tensorrt_reads(onnx_file):
    assert tensorrt_issues(onnx_file('Relu')) == [] == tensorrt_issues(onnx_file('TopK', 3840))


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('Unique',), 'TensorRT 10 does not list Unique'),
        (('TopK', 4000), 'TopK has K=4000, and TensorRT allows 3840 at most'),
        (('Relu', 3, 21), 'opset 21 is above 20'),
    ],
)
def test_what_it_does_not_read(onnx_file, arguments, words):
    (doubt,) = tensorrt_issues(onnx_file(*arguments))
    assert doubt.startswith(words)


@pytest.mark.parametrize('content', [bytes(range(256)), b'x\n', b''])
def test_a_file_that_is_no_onnx(tmp_path, content):
    path = tmp_path / 'student.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='student.pth is not an ONNX file'):
        tensorrt_issues(path)


def test_numbers_of_images_that_do_not_rise(tool_arguments, capsys):
    with pytest.raises(SystemExit):
        tool_arguments(TOOL, 'x.onnx', '--batch', '8', '1', '16')
    assert '--batch LEAST BEST MOST must not decrease, got 8 1 16' in capsys.readouterr().err


def test_the_tool_checks_and_says_what_is_missing(run_tool, onnx_file, tmp_path):
    path = onnx_file('Relu')
    assert run_tool(TOOL, path).splitlines()[-1] == f'{path}: TensorRT lists all operators.'
    if 'tensorrt' not in sys.modules:
        output = run_tool(TOOL, path, tmp_path / 'student.engine', code=1)
        assert 'error: TensorRT is not installed: pip install tensorrt' in output
    assert 'none.onnx does not exist' in run_tool(TOOL, tmp_path / 'none.onnx', code=1)


class Builder:
    """What of TensorRT's builder is called, for a file whose number of images is open."""

    def __init__(self, logger):
        self.profile, self.config = [], SimpleNamespace(add_optimization_profile=lambda profile: None)
        self.config.set_memory_pool_limit = lambda pool, size: setattr(self.config, 'size', size)

    def create_network(self, flags):
        assert flags == 1 << 3
        return SimpleNamespace(get_input=lambda index: SimpleNamespace(name='images', shape=(-1, 3, 8, 8)))

    def create_builder_config(self):
        return self.config

    def create_optimization_profile(self):
        return SimpleNamespace(set_shape=lambda name, *shapes: self.profile.extend([name, *shapes]))

    def build_serialized_network(self, network, config):
        return repr([config.size, *self.profile]).encode()


class Parser:
    num_errors = 1

    def __init__(self, network, logger):
        pass

    def parse_from_file(self, path):
        return path.endswith('.onnx')

    def get_error(self, index):
        return 'no such thing'


class Logger:
    WARNING = 1

    def __init__(self, level):
        pass


@pytest.fixture
def tensorrt(monkeypatch):
    """A stand-in for TensorRT, which is not installed where tests run."""
    module = SimpleNamespace(
        Logger=Logger,
        Builder=Builder,
        OnnxParser=Parser,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=3),
        MemoryPoolType=SimpleNamespace(WORKSPACE=0),
        __spec__=SimpleNamespace(),
    )
    monkeypatch.setitem(sys.modules, 'tensorrt', module)


def test_an_engine_for_the_batches_that_are_asked_for(tensorrt, tmp_path):
    engine = build_engine(tmp_path / 'x.onnx', (1, 4, 8), workspace=0.5)
    assert eval(engine) == [1 << 29, 'images', (1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8)]


def test_what_tensorrt_cannot_read_is_said(tensorrt, tmp_path):
    with pytest.raises(ValueError, match='TensorRT cannot read it: no such thing'):
        build_engine(tmp_path / 'x.txt')
