"""`tools/dev/peer_tests.py` on folders that look like a peer's clone."""

import mmpretrain.models.backbones
import pytest
from lfi.models.backbones import InteractionQueryViT

OP_TEST = """
import pytest
import mmcv

def test_the_ops_are_ours():
    import mmcv._ext
    assert mmcv._ext.__name__ == 'lfi.ops.ext'

def test_the_package_is_the_installed_one():
    assert hasattr(mmcv, '__version__')

@pytest.mark.skip(reason='requires a GPU')
def test_skipped():
    pass
"""


@pytest.fixture
def mmcv_clone(tmp_path, import_tool):
    clone = tmp_path / 'mmcv'
    for file in import_tool('dev/peer_tests.py').OP_TESTS:
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        (clone / file).write_text(OP_TEST)
    # The clone's own package, which must not be imported.
    (clone / 'mmcv').mkdir()
    (clone / 'mmcv/__init__.py').touch()
    return clone


def test_results_are_counted_for_each_file_and_a_failure_is_the_exit_status(mmcv_clone, run_tool):
    failing = mmcv_clone / 'tests/test_ops/test_nms.py'
    failing.write_text('import nothing_of_this_name')
    printed = run_tool('dev/peer_tests.py', '--mmcv', mmcv_clone, code=1)
    assert '| `mmcv/tests/test_ops/test_bbox.py` | `lfi.ops` | 2 | 0 | 1 (requires a GPU) |' in printed
    assert '| `mmcv/tests/test_ops/test_nms.py` | `lfi.ops` | 0 | 1 | 0 |' in printed


def test_a_folder_that_is_no_clone_is_refused(tmp_path, import_tool, capsys):
    tool = import_tool('dev/peer_tests.py')
    with pytest.raises(SystemExit):
        tool.main(['--mmpretrain', str(tmp_path)])
    assert 'has no tests/test_models/test_backbones/test_vision_transformer.py' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool.main([])
    assert 'give --mmcv, --mmpretrain or both' in capsys.readouterr().err


def test_the_student_takes_the_place_of_the_plain_vit(import_tool, monkeypatch):
    backbones = mmpretrain.models.backbones
    monkeypatch.setattr(backbones, 'VisionTransformer', backbones.VisionTransformer)
    import_tool('dev/peer_tests.py').replace_peers(dict(num_queries=3))
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    student = backbones.VisionTransformer(arch, img_size=16, patch_size=8)
    assert isinstance(student, InteractionQueryViT) and student.num_queries == 3
