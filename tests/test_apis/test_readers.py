"""What a teacher and a student say, as labels are made of it."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from lfi.apis import InteractionInferencer, StudentReader, TeacherReader
from lfi.apis.image_pipeline import UnfitImageError
from lfi.datasets import Shapes
from lfi.pseudo_labels import LabelRules, label_image
from lfi.registry import MODELS, TEACHERS
from lfi.structures import PixelFormat
from mmengine.config import Config
from mmengine.registry import init_default_scope

CONFIGS = Path(__file__).parents[2] / 'configs'
SHAPES = 'classification/lfi_vit-128x6-p8_shapes.py'


@pytest.fixture(scope='module')
def images():
    """Five of Shapes, two of them of another size."""
    data = Shapes('val', num_images=5)
    images = [data.get_data_info(i)['img'] for i in range(5)]
    return [*images[:3], cv2.resize(images[3], (80, 50)), images[4][:40]]


@pytest.fixture
def cfg():
    cfg = Config.fromfile(CONFIGS / SHAPES)
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.fixture
def student(cfg, tmp_path):
    """A small student with random weights: its config and checkpoint."""

    def make(**model):
        arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
        cfg.merge_from_dict(dict(model=dict(backbone=dict(arch=arch), head=dict(in_channels=16), **model)))
        torch.manual_seed(0)
        model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model})
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'student.pth')
        return cfg, tmp_path / 'student.pth'

    return make


@pytest.mark.parametrize('spatial', ['logits', 'concept_softmax'])
@pytest.mark.parametrize('presence', ['image', 'best-location'])
def test_a_teacher_is_read_as_the_config_says(cfg, images, spatial, presence):
    reading = dict(spatial_reading=spatial, presence=presence)
    cfg.model.supervision.interactions.reading = reading
    reader = TeacherReader(cfg, device='cpu')
    assert reader.concepts == tuple(Shapes.class_names())
    teacher = TEACHERS.build(cfg.model.teacher)
    for image, found in zip(images, reader(images), strict=True):
        inputs = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float()
        logits = teacher.maps_of_bank(inputs, PixelFormat((0,) * 3, (1,) * 3, rgb=False)).logits[0, 0]
        share = logits.double().exp() / logits.double().exp().sum(0)
        # The bank ends with the background, which is no concept.
        expected = (share if spatial == 'concept_softmax' else logits.double())[:20].float()
        torch.testing.assert_close(found.maps, expected, rtol=1e-3, atol=1e-4)
        if presence == 'best-location':
            torch.testing.assert_close(found.presence, share[:20].amax((1, 2)).float(), rtol=1e-3, atol=1e-4)
        assert found.comparable and torch.equal(found.view, torch.eye(2, 3))


def test_a_teacher_is_asked_about_other_texts(cfg, images):
    reader = TeacherReader(cfg, ['red star', 'ring'], device='cpu')
    assert reader.concepts == ('red star', 'ring')
    (found,) = reader(images[:1])
    assert found.presence.shape == (2,) and found.maps.shape[0] == 2
    assert reader.identity['teacher']['concepts'] == ['red star', 'ring']
    assert reader.identity['teacher']['background'] == ['background']


def test_no_label_decides_presence(cfg):
    reading = cfg.model.supervision.interactions.reading
    reading.presence = 'label'
    reader = TeacherReader(cfg, device='cpu')
    assert reader.reading.presence == 'image' and reader.presence_threshold == 0.05
    reading.presence = 'best-location'
    assert TeacherReader(cfg, device='cpu').presence_threshold == 0.6
    cfg.model.supervision.interactions.pop('reading')
    assert TeacherReader(cfg, device='cpu').reading.spatial_reading == 'logits'


def test_one_concept_needs_something_to_compete_with(cfg):
    assert TeacherReader(cfg, ['star'], device='cpu').concepts == ('star',)
    cfg.model.teacher.background = []
    with pytest.raises(ValueError, match="'star' is the only concept, .* would be 1 in every image"):
        TeacherReader(cfg, ['star'], device='cpu')


def test_a_text_that_is_typed_twice_is_refused(cfg):
    with pytest.raises(ValueError, match=r"texts has \['star'\] more than once"):
        TeacherReader(cfg, ['star', 'gear', 'star'], device='cpu')


def test_a_config_without_a_teacher_says_so():
    with pytest.raises(ValueError, match='the config has no model.teacher to ask: give --checkpoint'):
        TeacherReader(Config(dict(model=dict(type='ImageClassifier'))))


def test_a_student_gives_the_inferencers_answers(student, images):
    cfg, checkpoint = student()
    reader = StudentReader(cfg, checkpoint, device='cpu')
    assert reader.concepts == tuple(Shapes.class_names())
    results = InteractionInferencer(cfg, checkpoint, 'cpu')(images)['predictions']
    for found, expected in zip(reader(images), results, strict=True):
        torch.testing.assert_close(found.presence, expected.presence)
        torch.testing.assert_close(found.maps, expected.maps)
        torch.testing.assert_close(found.view, expected.view)
        assert not found.comparable
        # Whatever the image's size, its labels are of that size.
        labels = label_image(found, expected.image.shape[:2], LabelRules(0.0))
        assert labels.objects[0].segmentation['size'] == list(expected.image.shape[:2])
    assert StudentReader(cfg, checkpoint, ['red star'], 'cpu').concepts == ('red star',)


def test_an_image_that_the_test_pipeline_cannot_take_moves_no_answer_to_another(student, images):
    cfg, checkpoint = student()
    step = dict(type='Resize', scale=(64, 64), keep_ratio=True)
    cfg.test_dataloader.dataset.pipeline.insert(0, step)
    reader = StudentReader(cfg, checkpoint, device='cpu')
    with pytest.raises(UnfitImageError, match='cannot take one of the images of 900 x 2, '):
        reader([np.zeros((2, 900, 3), np.uint8), *images])


def test_other_weights_are_another_student(student):
    cfg, checkpoint = student()
    before = StudentReader(cfg, checkpoint, device='cpu').identity
    content = torch.load(checkpoint, weights_only=False)
    content['state_dict']['readout.presence_head.bias'] += 1
    torch.save(content, checkpoint)
    assert StudentReader(cfg, checkpoint, device='cpu').identity != before


def test_other_prompts_and_another_pipeline_are_other_answers(student):
    cfg, checkpoint = student()
    before = StudentReader(cfg, checkpoint, device='cpu').identity
    assert StudentReader(copy.deepcopy(cfg), checkpoint, device='cpu').identity == before
    prompts, pipeline, moved = (copy.deepcopy(cfg) for _ in range(3))
    prompts.model.teacher.templates = ['a drawing of a {}']
    pipeline.test_dataloader.dataset.pipeline.insert(0, dict(type='Resize', scale=(48, 48)))
    moved.model.teacher.cache = 'elsewhere'
    moved.test_dataloader.batch_size = 3
    identities = [StudentReader(each, checkpoint, device='cpu').identity for each in (prompts, pipeline)]
    assert [[key for key in before if before[key] != found[key]] for found in identities] == [
        ['model'],
        ['test_pipeline'],
    ]
    assert StudentReader(moved, checkpoint, device='cpu').identity == before


def test_a_student_of_another_text_width_is_refused(student):
    cfg, checkpoint = student(readout=dict(text_dims=64))
    with pytest.raises(ValueError, match='readout.text_dims=64, but the teacher embeds its texts in 96 dims'):
        StudentReader(cfg, checkpoint, device='cpu')
    cfg.model.readout.text_dims = 96
    with pytest.raises(ValueError, match='the weights in .*student.pth do not fit the model'):
        StudentReader(cfg, checkpoint, device='cpu')


def test_a_model_that_answers_no_texts_is_refused(student):
    cfg, checkpoint = student()
    content = torch.load(checkpoint, weights_only=False)
    content['state_dict'] = {k: v for k, v in content['state_dict'].items() if not k.startswith('readout.')}
    torch.save(content, checkpoint)
    with pytest.raises(ValueError, match='has no read-out'):
        StudentReader(cfg, checkpoint, device='cpu')


@pytest.mark.parametrize('ask', ['teacher', 'student'])
def test_no_answer_depends_on_the_other_images_of_a_batch(cfg, student, images, ask):
    reader = TeacherReader(cfg, device='cpu') if ask == 'teacher' else StudentReader(*student(), device='cpu')
    together = reader(images)
    for image, expected in zip(images, together):
        (alone,) = reader([np.ascontiguousarray(image)])
        torch.testing.assert_close(alone.maps, expected.maps, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.presence, expected.presence, rtol=1e-4, atol=1e-5)
