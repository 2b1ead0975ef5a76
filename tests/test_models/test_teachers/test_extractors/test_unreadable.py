"""Towers that an extractor cannot read, and what it says of them."""

import pytest
from lfi.concepts import ConceptBank
from lfi.models.teachers.extractors import (
    BlipExtractor,
    ClearCLIPExtractor,
    CoCaExtractor,
    GEMExtractor,
    LeGradExtractor,
    LocationsExtractor,
    MaskCLIPExtractor,
    NACLIPExtractor,
)
from lfi.models.teachers.loading.weights import load_vlm


@pytest.mark.parametrize(
    ('extractor', 'tower', 'message'),
    [
        (MaskCLIPExtractor, 'cnn_test_resnet', "MaskCLIPExtractor reads the blocks .*, a ResNet, .* 'dense'"),
        (
            ClearCLIPExtractor,
            'cnn_test_convnext',
            'ClearCLIPExtractor reads the blocks .*, a ConvNeXt, has none',
        ),
        (LeGradExtractor, 'cnn_test_resnet', 'LeGradExtractor reads the blocks .*, a ResNet, has none'),
        (NACLIPExtractor, 'coca', "no extractor reads this model's image tower, a VisionTransformer.*'coca'"),
        (GEMExtractor, 'coca', "no extractor reads .*'coca'"),
        (LocationsExtractor, 'coca', "no extractor reads .*'coca'"),
        (BlipExtractor, 'coca', "'blip' reads mmpretrain's BLIP .*, not this model's CoCa"),
        (CoCaExtractor, 'vit', "'coca' reads open_clip's CoCa .*, not this model's CLIP: use 'auto'"),
        (CoCaExtractor, 'cnn_test_vit', "'coca' reads open_clip's CoCa .*, not this model's CustomTextCLIP"),
    ],
)
def test_a_model_the_extractor_cannot_read_is_refused(teacher_folder, extractor, tower, message):
    vlm, tokenizer = load_vlm(teacher_folder(tower), None, allow_random=False)
    bank = ConceptBank.encode(['cat'], ['{}'], lambda texts: vlm.encode_text(tokenizer(texts)))
    with pytest.raises(ValueError, match=message):
        extractor.from_vlm(vlm, tokenizer, bank)
