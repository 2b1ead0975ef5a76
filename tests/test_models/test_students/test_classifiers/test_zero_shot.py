"""`LFIZeroShotClassifier`: a trained student tells classes that are named when it is tested."""

import pytest
import torch
import torch.nn.functional as F
from lfi.concepts import ConceptBank
from lfi.models import LFIImageClassifier, LFIZeroShotClassifier
from lfi.models.teachers.loading.weights import load_vlm
from lfi.registry import MODELS
from mmengine.logging import MMLogger
from mmpretrain.structures import DataSample

TRAINED = ['circle', 'square', 'star', 'ring']
NAMED = ['dog', 'horse', 'house']
PROMPTS = ['a photo of a {}.', 'a sketch of a {}.']
ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)


@pytest.fixture
def config(teacher_folder):
    return dict(
        type='lfi.LFIImageClassifier',
        backbone=dict(type='lfi.InteractionQueryViT', arch=ARCH, img_size=32, patch_size=8),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=16),
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', num_classes=3),
        teacher=dict(
            type='lfi.VLMAttentionTeacher',
            model=teacher_folder('vit'),
            extractor=dict(type='maskclip'),
            concepts=TRAINED,
            background=['wall'],
        ),
        readout=dict(text_dims=24),
    )


@pytest.fixture
def trained(config):
    torch.manual_seed(0)
    model = MODELS.build(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def zero_shot(config, **changes):
    named = dict(concepts=NAMED, templates=PROMPTS)
    return MODELS.build({**config, 'type': 'lfi.LFIZeroShotClassifier', 'zero_shot': named, **changes})


def images(*shapes):
    inputs = torch.randn(len(shapes), 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return inputs, [DataSample(metainfo=dict(img_shape=shape)).set_gt_label(0) for shape in shapes]


@torch.no_grad()
def embeddings(folder):
    """The named classes' texts, by the teacher's text tower."""
    vlm, tokenizer = load_vlm(folder, None, False)
    prompts = [F.normalize(vlm.encode_text(tokenizer([p.format(n) for n in NAMED])), dim=-1) for p in PROMPTS]
    return F.normalize(sum(prompts) / 2, dim=-1)


@torch.no_grad()
def test_classes_are_told_by_the_presence_scores_of_their_texts(config, trained, teacher_folder):
    model = zero_shot(config).eval()
    loaded = model.load_state_dict(trained.state_dict(), strict=False)
    # The head that was trained is all that is left over.
    assert not loaded.missing_keys
    assert {name.split('.')[0] for name in loaded.unexpected_keys} == {'head'}

    inputs, samples = images((32, 32), (32, 32), (32, 32))
    results = model.predict(inputs, samples)
    presence = trained.eval().ask(inputs, embeddings(teacher_folder('vit'))).presence
    expected = torch.logit(presence.double()).softmax(1).float()
    scores = torch.stack([result.pred_score for result in results])
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-6)
    assert [result.pred_label.item() for result in results] == expected.argmax(1).tolist()


@torch.no_grad()
def test_queries_read_no_padding(config, trained):
    model = zero_shot(config).eval()
    model.load_state_dict(trained.state_dict(), strict=False)
    inputs, samples = images((16, 32), (32, 32))
    padded = [result.pred_score for result in model.predict(inputs, samples)]
    with model.backbone.padded([(16, 32), (32, 32)]):
        expected = model(inputs).softmax(1)
    torch.testing.assert_close(torch.stack(padded), expected)
    assert not torch.allclose(padded[0], model(inputs)[0].softmax(0))


def test_the_prompts_are_logged(config, monkeypatch):
    lines = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'log', lambda level, text: lines.append(text))
    zero_shot(config).class_texts()
    assert 'Zero-shot prompts: a photo of a {}., a sketch of a {}.; classes: dog, horse, house' in lines


def test_templates_default_to_the_teachers(config):
    config['teacher']['templates'] = PROMPTS
    torch.testing.assert_close(
        zero_shot(config, zero_shot=dict(concepts=NAMED)).class_texts(), zero_shot(config).class_texts()
    )
    assert zero_shot(config, zero_shot=dict(concepts=dict(type='lfi.PACS'))).class_texts().shape == (7, 24)


@torch.no_grad()
def test_other_texts_are_answered_in_the_pass_that_tells_the_classes(config, trained):
    model = zero_shot(config).eval()
    model.load_state_dict(trained.state_dict(), strict=False)
    inputs, samples = images((32, 32), (32, 32))
    texts = model.class_texts().flip(0)[:2]
    with model.backbone.record_interactions(model.readout.questions(texts)) as record:
        predicted = model.predict(inputs, samples)
    expected = trained.eval().ask(inputs, texts)
    torch.testing.assert_close(model.readout.scores(record.states, texts).sigmoid(), expected.presence)
    alone = model.predict(inputs, samples)
    for result, other in zip(predicted, alone):
        torch.testing.assert_close(result.pred_score, other.pred_score)


@torch.no_grad()
def test_its_pictures_show_the_named_classes(config):
    model = zero_shot(config)
    teacher, student = model.predict_interactions(*images((32, 32), (32, 32)))
    assert isinstance(model.teacher.bank, ConceptBank)
    assert model.teacher.bank.names == (*NAMED, 'wall')
    assert teacher.logits.shape[2] == student.logits.shape[2] == 4


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(zero_shot=dict(templates=PROMPTS)), 'must have the key concepts'),
        (dict(zero_shot=dict(concepts=NAMED, template='{}')), 'must have the key concepts'),
        (dict(readout=dict(text_dims=12)), 'readout.text_dims=12, but the teacher embeds its texts in 24'),
    ],
)
def test_what_does_not_fit_is_refused(config, changes, message):
    with pytest.raises(ValueError, match=message):
        zero_shot(config, **changes).class_texts()


def test_it_does_not_train(config):
    model = zero_shot(config)
    assert isinstance(model, LFIImageClassifier) and isinstance(model, LFIZeroShotClassifier)
    with pytest.raises(TypeError, match='for testing only: train an lfi.LFIImageClassifier'):
        model.loss(*images((32, 32)))
