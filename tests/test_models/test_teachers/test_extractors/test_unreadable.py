"""Towers that an extractor cannot read, and what it says of them."""

import pytest
from lfi.concepts import ConceptBank
from lfi.models.teachers.extractors import (
    BlipExtractor,
    ClearCLIPExtractor,
    CoCaExtractor,
    DenseTrunkExtractor,
    GEMExtractor,
    LeGradExtractor,
    MaskCLIPExtractor,
    NACLIPExtractor,
)
from lfi.models.teachers.weights import load_vlm


@pytest.mark.parametrize(
    ('extractor', 'tower', 'message'),
    [
        (DenseTrunkExtractor, 'vit', "not this model's VisionTransformer.* no timm trunk.*use 'maskclip' or"),
        (
            DenseTrunkExtractor,
            'cnn_test_vit',
            "`global_pool` averages .* not this model's .* VisionTransformer, which has no `global_pool`",
        ),
        # It has a convolution of its own after the pooling.
        (
            DenseTrunkExtractor,
            'cnn_lcnet_035',
            'with trunk MobileNetV3, which has layers .* after the pooling',
        ),
        (
            DenseTrunkExtractor,
            'cnn_test_convnext',
            'with trunk ConvNeXt, which pools inside a head of its own, NormMlpClassifierHead',
        ),
        (
            MaskCLIPExtractor,
            'cnn_test_resnet',
            "MaskCLIPExtractor reads open_clip's plain ViT.*'dense' reads CNN trunks",
        ),
        (ClearCLIPExtractor, 'cnn_test_vit', "ClearCLIPExtractor reads .* not this model's TimmModel"),
        (NACLIPExtractor, 'coca', "NACLIPExtractor reads .*'coca' CoCa models"),
        (GEMExtractor, 'coca', "GEMExtractor reads .*'coca' CoCa models"),
        (LeGradExtractor, 'cnn_test_resnet', "LeGradExtractor reads .* not this model's TimmModel"),
        (BlipExtractor, 'coca', "'blip' reads mmpretrain's BLIP .*, not this model's CoCa"),
        (CoCaExtractor, 'vit', "'coca' reads open_clip's CoCa .*, not this model's CLIP; .* 'gem'"),
        (CoCaExtractor, 'cnn_test_vit', "'coca' reads open_clip's CoCa .*, not this model's CustomTextCLIP"),
    ],
)
def test_a_model_the_extractor_cannot_read_is_refused(teacher_folder, extractor, tower, message):
    vlm, tokenizer = load_vlm(teacher_folder(tower), None, allow_random=False)
    bank = ConceptBank.encode(['cat'], ['{}'], lambda texts: vlm.encode_text(tokenizer(texts)))
    with pytest.raises(ValueError, match=message):
        extractor.from_vlm(vlm, tokenizer, bank)
