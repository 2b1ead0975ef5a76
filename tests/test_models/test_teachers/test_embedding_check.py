"""`EmbeddingCheck`: every extractor must read its model as the model reads itself."""

import pytest
import torch
import torch.nn.functional as F
from block_extractors import OPTIONS, READ_BLOCKS
from lfi.concepts import ConceptBank
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers.embedding_check import EmbeddingCheck
from lfi.models.teachers.extractors import LocationsExtractor, MaskCLIPExtractor
from lfi.models.teachers.loading.weights import load_vlm
from lfi.registry import EXTRACTORS

READABLE = [
    *((name, model) for name in READ_BLOCKS for model in ('vit', 'vit_layer_scale')),
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
    extractor = EXTRACTORS.get(name).from_vlm(vlm, tokenizer, bank, **OPTIONS.get(name, {}))
    check(extractor, bank.embeddings, model)
    assert check.distance(extractor, bank.embeddings) < 1e-5
    if name in READ_BLOCKS:
        assert check.location_distance(extractor, bank.embeddings) < 1e-5


class Unprojected(LocationsExtractor):
    def features(self, images):
        features = self.visual.trunk.forward_features(images)
        return features[:, None], features.mean((-2, -1))


class Shifted(MaskCLIPExtractor):
    def features(self, images):
        locations, pooled = super().features(images)
        return locations, pooled + 1e-2


class Broken(MaskCLIPExtractor):
    def features(self, images):
        locations, pooled = super().features(images)
        return locations, pooled * float('nan')


@pytest.mark.parametrize(
    ('kind', 'model'), [(Unprojected, 'cnn_own_head'), (Shifted, 'vit'), (Broken, 'vit')]
)
def test_a_teacher_whose_extractor_misreads_its_model_is_refused(teacher_folder, monkeypatch, kind, model):
    monkeypatch.setitem(EXTRACTORS.module_dict, 'misread', kind)
    message = rf'{kind.__name__} misreads .*{model}: .* is (nan|[\d.e-]+) away from .* at most 0\.0001'
    with pytest.raises(ValueError, match=message):
        VLMAttentionTeacher(teacher_folder(model), extractor=dict(type='misread'), concepts=['cat'])


def raw(extractor, tokens):
    """Tokens as they are, cut to the joint space's width."""
    return F.normalize(tokens[..., : extractor.visual.proj.shape[1]], dim=-1)


def without_ln_post(extractor, tokens):
    return F.normalize(tokens @ extractor.visual.proj, dim=-1)


def without_proj(extractor, tokens):
    return raw(extractor, extractor.visual.ln_post(tokens))


def without_unit_length(extractor, tokens):
    return extractor.visual.ln_post(tokens) @ extractor.visual.proj


@pytest.mark.parametrize('project', [raw, without_ln_post, without_proj, without_unit_length])
@pytest.mark.parametrize('name', READ_BLOCKS)
def test_locations_of_a_plain_vit_that_miss_a_step_are_found(teacher_folder, monkeypatch, name, project):
    kind = type('Kind', (EXTRACTORS.get(name),), dict(project=project))
    monkeypatch.setitem(EXTRACTORS.module_dict, 'misread', kind)
    extractor = dict(type='misread', **(dict(depth=2) if name == 'gem' else {}))
    with pytest.raises(
        ValueError, match=r'Kind misreads .*: its locations miss a step of the pool or the head'
    ):
        VLMAttentionTeacher(teacher_folder('vit'), extractor=extractor, concepts=['cat'])


@pytest.mark.parametrize('project', [raw, without_ln_post, without_proj])
def test_locations_that_go_past_the_common_projection_are_found(load, project):
    class Past(MaskCLIPExtractor):
        def features(self, images):
            _, pooled = super().features(images)
            tokens, grid = self.tower.embed(images)
            return project(self, tokens[:, 1:]).mT.unflatten(-1, grid)[:, None], pooled

    vlm, _, bank = load('vit')
    with pytest.raises(ValueError, match='Past misreads .* its locations miss a step'):
        EmbeddingCheck(vlm)(Past(vlm.visual), bank.embeddings, 'vit')


def test_the_check_leaves_the_tower_as_it_was(load):
    vlm, _, bank = load('vit')
    before = {name: value.clone() for name, value in vlm.state_dict().items()}
    EmbeddingCheck(vlm)(MaskCLIPExtractor(vlm.visual), bank.embeddings, 'vit')
    assert all(torch.equal(value, before[name]) for name, value in vlm.state_dict().items())


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
    monkeypatch.setattr(kind, 'read_attention', lambda self, *image: pytest.fail('the text decoder ran'))
    EmbeddingCheck(vlm)(kind.from_vlm(vlm, tokenizer, bank), bank.embeddings, 'coca')


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.bfloat16, 0.0625), (torch.float16, 0.0078125)])
def test_half_precision_has_a_wider_tolerance(load, dtype, tolerance):
    vlm, tokenizer, bank = load('cnn_test_resnet')
    check = EmbeddingCheck(vlm.to(dtype))
    assert check.tolerance == tolerance
    check(LocationsExtractor(vlm.visual), bank.embeddings.to(dtype), 'cnn_test_resnet')


def test_autocast_does_not_reach_the_check(teacher_folder):
    with torch.autocast('cpu', torch.bfloat16):
        VLMAttentionTeacher(teacher_folder('vit'), extractor=dict(type='gem', depth=2), concepts=['cat'])
