"""`EmbeddingCheck`: every extractor must pool what it reads to the model's own embedding."""

import pytest
import torch
from lfi.concepts import ConceptBank
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers.embedding_check import EmbeddingCheck
from lfi.models.teachers.extractors import DenseTrunkExtractor, MaskCLIPExtractor
from lfi.models.teachers.weights import load_vlm
from lfi.registry import EXTRACTORS

ON_VIT = ('clearclip', 'gem', 'legrad', 'maskclip', 'naclip')
READABLE = [
    *((name, model) for name in ON_VIT for model in ('vit', 'vit_layer_scale')),
    ('coca', 'coca'),
    *(('dense', model) for model in ('cnn_test_efficientnet', 'cnn_test_resnet', 'cnn_own_head')),
]


@pytest.fixture
def load(teacher_folder):
    """A model of `TEACHERS` and one concept, by the model's name."""

    def load(name):
        vlm, tokenizer = load_vlm(teacher_folder(name), None, allow_random=False)
        with torch.no_grad():
            bank = ConceptBank.encode(['cat'], ['{}'], lambda texts: vlm.encode_text(tokenizer(texts)))
        return vlm, tokenizer, bank

    return load


@pytest.mark.parametrize(('name', 'model'), READABLE)
@torch.no_grad()
def test_every_extractor_pools_to_the_models_own_embedding(load, name, model):
    vlm, tokenizer, bank = load(model)
    check = EmbeddingCheck(vlm)
    options = dict(depth=2) if name == 'gem' else {}
    extractor = EXTRACTORS.get(name).from_vlm(vlm, tokenizer, bank, **options)
    check(extractor, bank.embeddings, model)
    assert check.distance(extractor, bank.embeddings) < 1e-5


class Unprojected(DenseTrunkExtractor):
    def features(self, images):
        features = self.visual.trunk.forward_features(images)
        return features[:, None], features.mean((-2, -1))


class Shifted(MaskCLIPExtractor):
    def pool(self, tokens):
        return super().pool(tokens) + 1e-2


class Broken(MaskCLIPExtractor):
    def pool(self, tokens):
        return super().pool(tokens) * float('nan')


@pytest.mark.parametrize(
    ('kind', 'model'), [(Unprojected, 'cnn_own_head'), (Shifted, 'vit'), (Broken, 'vit')]
)
def test_a_teacher_whose_extractor_misreads_its_model_is_refused(teacher_folder, monkeypatch, kind, model):
    monkeypatch.setitem(EXTRACTORS.module_dict, 'misread', kind)
    message = rf'{kind.__name__} misreads .*{model}: .* is (nan|[\d.e-]+) away from .* at most 0\.0001'
    with pytest.raises(ValueError, match=message):
        VLMAttentionTeacher(teacher_folder(model), extractor=dict(type='misread'), concepts=['cat'])


def test_the_check_draws_no_number_from_the_global_generator_and_is_the_same_each_time(load):
    vlm, tokenizer, bank = load('vit')
    before = torch.get_rng_state()
    first, second = EmbeddingCheck(vlm), EmbeddingCheck(vlm)
    first(MaskCLIPExtractor.from_vlm(vlm, tokenizer, bank), bank.embeddings, 'vit')
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.image, second.image)


def test_words_are_not_read_for_the_check(load, monkeypatch):
    vlm, tokenizer, bank = load('coca')
    kind = EXTRACTORS.get('coca')
    monkeypatch.setattr(kind, 'read', lambda self, *image: pytest.fail('the text decoder ran'))
    EmbeddingCheck(vlm)(kind.from_vlm(vlm, tokenizer, bank), bank.embeddings, 'coca')


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.bfloat16, 0.0625), (torch.float16, 0.0078125)])
def test_half_precision_has_a_wider_tolerance(load, dtype, tolerance):
    vlm, tokenizer, bank = load('cnn_test_resnet')
    check = EmbeddingCheck(vlm.to(dtype))
    assert check.tolerance == tolerance
    check(DenseTrunkExtractor(vlm.visual), bank.embeddings.to(dtype), 'cnn_test_resnet')


def test_autocast_does_not_reach_the_check(teacher_folder):
    with torch.autocast('cpu', torch.bfloat16):
        VLMAttentionTeacher(teacher_folder('vit'), extractor=dict(type='gem', depth=2), concepts=['cat'])
