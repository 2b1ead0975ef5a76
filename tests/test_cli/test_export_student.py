"""The export of students, run as a user runs it."""

import pytest
import timm
import torch
from lfi.errors import UsageError
from lfi.export import model_config
from lfi.registry import MODELS
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmpretrain import get_model
from mmpretrain.models.backbones import VisionTransformer
from safetensors.torch import load_file, save_file

TOOL = 'export'
TIMM = 'export --to timm'
PLAIN = dict(stem=None, with_cls_token=True, out_type='cls_token')
GATED = dict(**PLAIN, num_queries=8, write_back='gated')


def logits(config, checkpoint):
    """Of the model as it was trained, on two random images."""
    student = MODELS.build(model_config(Config.fromfile(config))).eval()
    load_checkpoint(student, str(checkpoint), strict=True)
    with torch.no_grad():
        return student(images())


def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_a_plain_student_is_a_checkpoint_of_mmpretrain(run_tool, small_training, tmp_path):
    config, checkpoint = small_training(**PLAIN, num_queries=8, write_back='none')
    out = tmp_path / 'export/student.pth'
    output = run_tool(TOOL, config, checkpoint, out)
    assert 'Removed readout: 11 tensors' in output
    assert 'Removed backbone.interaction_queries: 1 tensors, 128 values' in output
    assert output.endswith(f'  lfi benchmark {config} {checkpoint} --formats pytorch,compile\n')

    written = torch.load(out)
    assert written.keys() == {'meta', 'state_dict'}
    assert len(written['meta']['dataset_meta']['classes']) == 20
    student = get_model(str(out.with_suffix('.py')), pretrained=str(out)).eval()
    assert type(student.backbone) is VisionTransformer
    assert student.state_dict().keys() == written['state_dict'].keys()
    with torch.no_grad():
        assert torch.equal(student(images()), logits(config, checkpoint))


def test_timm_builds_a_plain_student_from_its_folder(run_tool, small_training, tmp_path):
    config, checkpoint = small_training(**PLAIN)
    save_file(torch.load(checkpoint)['state_dict'], tmp_path / 'training.safetensors')
    out = tmp_path / 'export/model.safetensors'
    output = run_tool(TIMM, config, tmp_path / 'training.safetensors', out)
    assert "timm's outputs differ from the student's by" in output
    vit = timm.create_model(f'local-dir:{out.parent}', pretrained=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(vit(images()), logits(config, checkpoint), atol=1e-5, rtol=1e-5)
    assert timm.data.resolve_model_data_config(vit)['mean'] == [0.5, 0.5, 0.5]
    # A Runner's checkpoint knows the classes.
    run_tool(TIMM, config, checkpoint, tmp_path / 'named/model.safetensors')
    vit = timm.create_model(f'local-dir:{tmp_path}/named')
    assert list(vit.pretrained_cfg['label_names']) == list(
        torch.load(checkpoint)['meta']['dataset_meta']['classes']
    )


def test_a_gated_student_keeps_its_queries_and_is_none_of_timms(run_tool, small_training, tmp_path):
    config, checkpoint = small_training(**GATED)
    out = tmp_path / 'export/student.safetensors'
    output = run_tool(TIMM, config, checkpoint, out, code=1)
    assert "train a student with backbone.write_back='none'" in output
    assert not out.parent.exists()

    run_tool(TOOL, config, checkpoint, out)
    assert 'backbone.layers.1.query_gate' in load_file(out)
    with torch.no_grad():
        student = get_model(str(out.with_suffix('.py')), pretrained=str(out)).eval()
        assert torch.equal(student(images()), logits(config, checkpoint))


def test_what_it_reads_is_not_overwritten(call_tool, small_training):
    config, checkpoint = small_training(**PLAIN)
    before = config.read_text()
    with pytest.raises(UsageError, match='would overwrite'):
        call_tool(TOOL, config, checkpoint, config.with_suffix('.safetensors'))
    assert config.read_text() == before
    own = config.with_name('own.py')
    own.write_text('print(1)')
    (config.parent / 'config.json').write_text('{"mine": 1}')
    for tool, out, words in ((TOOL, 'own.pth', 'own.py'), (TIMM, 'a.safetensors', 'config.json')):
        with pytest.raises(UsageError, match=f'{words} exists, and is not an export'):
            call_tool(tool, config, checkpoint, config.with_name(out))
    assert own.read_text() == 'print(1)'
