"""Every kind of model that learns from interactions answers texts by one method."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lfi.engine.config_loading import load_config
from lfi.registry import MODELS
from mmengine.registry import init_default_scope

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    'config',
    [
        'classification/lfi_vit-128x6-p8_shapes.py',
        'classification/lfi_resnet18_shapes.py',
        'detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py',
        'pretraining/lfi-pretrain_vit-128x6-p8_shapes.py',
        'pretraining/lfi-pretrain_resnet18_shapes.py',
    ],
)
def test_each_text_is_answered_by_itself(config):
    cfg = load_config(str(CONFIGS / config))
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    model.init_weights()
    images = torch.randn(2, 3, 64, 64)
    texts = F.normalize(torch.randn(3, model.readout.text_dims), dim=-1)

    answers = model.ask(images, texts)
    assert answers.directions == ('spatial',) and answers.check() is answers
    assert answers.logits.shape[0] == 2 and answers.logits.shape[2] == 3
    assert answers.presence.shape == (2, 3) and answers.presence.min() > 0 and answers.presence.max() < 1
    assert not torch.equal(answers.spatial_log_probs()[:, :, 0], answers.spatial_log_probs()[:, :, 1])
    for m in range(3):
        alone = model.ask(images, texts[m : m + 1])
        torch.testing.assert_close(alone.logits, answers.logits[:, :, m : m + 1], rtol=0, atol=1e-5)
        torch.testing.assert_close(alone.presence, answers.presence[:, m : m + 1], rtol=0, atol=1e-5)
