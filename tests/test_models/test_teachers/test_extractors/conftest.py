"""Image towers and models with random weights."""

import pytest
import torch
from block_extractors import READ_BLOCKS
from lfi.concepts import ConceptBank
from lfi.models.teachers.extractors import CoCaExtractor
from lfi.models.teachers.loading.weights import load_vlm


@pytest.fixture
def load_tower(teacher_folder):
    """A fresh image tower of `TEACHERS`, by name."""

    def load(name):
        return load_vlm(teacher_folder(name), None, allow_random=False)[0].visual

    return load


@pytest.fixture
def load_coca(teacher_folder):
    """A fresh CoCa, its tokenizer, and a bank of 5 concepts."""

    def load(templates=('a photo of a {}.',)):
        vlm, tokenizer = load_vlm(teacher_folder('coca'), None, allow_random=False)
        names = ['cat', 'red double decker bus', 'a', 'xylophone', 'ring']
        with torch.no_grad():
            bank = ConceptBank.encode(names, templates, lambda texts: vlm.encode_text(tokenizer(texts)))
        return vlm, tokenizer, bank

    return load


@pytest.fixture(params=[*READ_BLOCKS, 'coca'])
def make_extractor(request, load_tower, load_coca):
    """From an edit of the tower to the extractor that reads it, and the extractor's name."""

    def make(edit):
        if request.param == 'coca':
            vlm, tokenizer, bank = load_coca()
            edit(vlm.visual)
            return CoCaExtractor(vlm, tokenizer, bank), 'coca'
        visual = load_tower('vit')
        edit(visual)
        return READ_BLOCKS[request.param](visual), request.param

    return make
