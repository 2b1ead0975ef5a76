"""`lfi.ops.install` and the module that it installs."""

import importlib
import importlib.util
import subprocess
import sys

import mmcv
import pytest
import torch
from lfi.ops import ext, install
from mmcv.utils import collect_env
from mmengine.optim import DefaultOptimWrapperConstructor

stand_in_only = pytest.mark.skipif(
    sys.modules.get('mmcv._ext') is not ext, reason='this mmcv has compiled ops of its own'
)


def test_install_imports_no_heavy_module():
    """In a fresh interpreter, torchvision arrives with the first call of an op, mmdet and mmcv.ops never."""
    code = """
import sys
import lfi.ops
lfi.ops.install()
assert not {'torch', 'mmcv'} & set(sys.modules)
import torch
import mmcv._ext
if mmcv._ext.__name__ == 'lfi.ops.ext':
    heavy = {'torchvision', 'mmdet', 'mmcv.ops'} & set(sys.modules)
    assert not heavy, heavy
    mmcv._ext.nms(torch.zeros(1, 4), torch.zeros(1), iou_threshold=0.5, offset=0)
    assert 'torchvision' in sys.modules
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@stand_in_only
def test_install_twice_keeps_the_module():
    finders = list(sys.meta_path)
    install()
    assert sys.meta_path == finders
    assert sys.modules['mmcv._ext'] is mmcv._ext is ext
    assert importlib.import_module('mmcv._ext') is ext


@pytest.mark.parametrize('imported', [False, True])
def test_install_leaves_a_real_extension_alone(tmp_path, monkeypatch, imported):
    """Be it imported already or not, and install() does not import it either."""
    (tmp_path / '_ext.py').write_text('nms = "the real one"\n')
    monkeypatch.setattr(mmcv, '__path__', [str(tmp_path), *mmcv.__path__])
    # setitem first: at the end it puts back what the session had.
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    monkeypatch.setattr(mmcv, '_ext', None, raising=False)
    del sys.modules['mmcv._ext']
    importlib.invalidate_caches()
    if imported:
        importlib.import_module('mmcv._ext')

    install()

    assert ('mmcv._ext' in sys.modules) is imported
    assert importlib.import_module('mmcv._ext').nms == 'the real one'


@stand_in_only
def test_unknown_op_exists_and_raises_when_called():
    op = mmcv._ext.ms_deform_attn_forward
    with pytest.raises(NotImplementedError, match="'ms_deform_attn_forward'.*\n.*pip install"):
        op(torch.zeros(1), im2col_step=64)


@stand_in_only
def test_unknown_op_through_mmcv():
    from mmcv.ops import sigmoid_focal_loss

    with pytest.raises(NotImplementedError, match="'sigmoid_focal_loss_forward'"):
        sigmoid_focal_loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), 2.0, 0.25, None, 'mean')


@pytest.mark.parametrize('name', ['__path__', '__wrapped__', '_repr_html_'])
def test_private_names_are_no_ops(name):
    with pytest.raises(AttributeError, match=name):
        getattr(ext, name)


def test_collect_env_reports_the_missing_compiler():
    info = collect_env()
    assert 'MMCV Compiler' in info
    if mmcv._ext is ext:
        assert info['MMCV Compiler'] == info['MMCV CUDA Compiler'] == 'n/a'


def test_optimizer_constructor_finds_the_deformable_convolutions():
    """mmengine asks for the spec of `mmcv._ext`; a module without one raises ValueError there."""
    from mmcv.ops import DeformConv2dPack

    assert importlib.util.find_spec('mmcv._ext') is not None
    constructor = DefaultOptimWrapperConstructor(
        {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 1.0}}, {'dcn_offset_lr_mult': 0.1}
    )
    wrapper = constructor(torch.nn.Sequential(DeformConv2dPack(2, 2, 3)))
    rates = {len(group['params'][0].shape): group['lr'] for group in wrapper.optimizer.param_groups}
    assert rates[1] == pytest.approx(0.1)  # the bias of conv_offset
