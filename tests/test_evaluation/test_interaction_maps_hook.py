from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from lfi.errors import UsageError
from lfi.evaluation.interaction_maps_hook import add_interactions, mirror_images, mirror_maps
from lfi.models import Interactions
from lfi.registry import HOOKS
from lfi.structures import InteractionMaps
from mmdet.structures import DetDataSample
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.tta import AverageClsScoreTTA
from mmpretrain.structures import DataSample


class Bank(tuple):
    num_concepts = 5


class Patches(torch.nn.Module):
    patch_stride = (8, 8)

    def patch_grid(self, *size):
        return tuple(-(-side // stride) for side, stride in zip(size, self.patch_stride))


class Model(torch.nn.Module):
    """Looks where the image is bright, concept c the more sharply the larger c is.

    It knows five concepts, and a background that is brighter still.
    """

    def __init__(self):
        super().__init__()
        self.backbone = Patches()
        self.pool = partial(F.avg_pool2d, kernel_size=8)
        # The text of a concept is its number.
        self.teacher = SimpleNamespace(bank=Bank('abcdef'), text_embeddings=torch.arange(6.0)[:, None])
        self.interactions = Interactions(loss=dict(spatial_weight=1))
        self.family = SimpleNamespace(reads_labels=True)
        self.readout = SimpleNamespace(presence_fit=(1.0, 0.0))
        self.asked = []

    def data_preprocessor(self, data, training):
        assert not training
        inputs = [image.float() for image in data['inputs']]
        height, width = (max(image.shape[i] for image in inputs) for i in (1, 2))
        padded = [F.pad(x, (0, width - x.shape[2], 0, height - x.shape[1])) for x in inputs]
        for sample in data['data_samples']:
            sample.set_metainfo(dict(batch_input_shape=(height, width)))
        return dict(inputs=torch.stack(padded), data_samples=data['data_samples'])

    def teacher_answers(self, images, valid_sizes, labels=None):
        """Presence is the concept's number in tenths; a step of training asks about all."""
        light = self.pool(images.mean(1, keepdim=True))  # [B, 1, H, W]
        numbers = self.teacher.text_embeddings[:, 0]
        maps = InteractionMaps(
            (light * (numbers[:, None, None] + 1))[:, None],
            presence=(numbers / 10).expand(len(images), -1),
            valid=light[:, 0] > 0,
        )
        return maps, maps

    def ask(self, images, texts, valid_sizes):
        """Presence is that of the teacher, halved."""
        self.asked.append(texts[:, 0].long().tolist())
        light = self.pool(images.mean(1, keepdim=True))
        logits = light * (texts[..., None] + 1)  # [B, M, H, W]
        return InteractionMaps(
            torch.stack((logits, 2 * logits), 1),
            presence=(texts[:, 0] / 20).expand(len(images), -1),
            valid=light[:, 0] > 0,
            layers=(3, 5),
            directions=('spatial',),
        )


def images(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) + 0.1 for size in sizes]


def sample_of(kind, size, **fields):
    sample = kind(metainfo=dict(img_shape=size))
    for name, value in fields.items():
        sample.set_field(value, name, field_type='metainfo' if kind is DetDataSample else 'data')
    return sample


@pytest.mark.parametrize('kind', [DataSample, DetDataSample])
def test_samples_get_the_maps_of_what_they_name(kind):
    model, inputs = Model(), images((32, 48), (32, 48))
    samples = [
        sample_of(
            kind, (32, 48), regions={4: None, 1: None}, heat_maps={2: None}, gt_concepts=torch.tensor([0])
        ),
        sample_of(kind, (32, 48), regions={}),
    ]
    add_interactions(model, dict(inputs=inputs, data_samples=samples))
    # One pass for all concepts of the bank, and one of the mirror images for those that are named.
    assert model.asked == [[0, 1, 2, 3, 4], [1, 2, 4]]
    assert 'batch_input_shape' not in samples[0].metainfo
    first, second = (sample.interactions for sample in samples)
    assert (first.concepts, second.concepts) == ([1, 2, 4], [])
    assert first.student.shape == (2, 3, 4, 6) and second.student.shape == (2, 0, 4, 6)
    assert first.size == first.canvas == (32, 48) and first.valid.all()
    light = F.avg_pool2d(inputs[0].mean(0)[None], 8)[0]
    for i, concept in enumerate(first.concepts):
        expected = (2 * (concept + 1) * light).flatten().softmax(0).view(4, 6)
        torch.testing.assert_close(first.student[1, i], expected)
        # What moves with the picture comes back to where it was.
        torch.testing.assert_close(first.mirrored[i], expected, rtol=1e-4, atol=1e-6)


def test_presence_is_of_all_concepts_but_the_background():
    model = Model()
    samples = [sample_of(DataSample, (32, 32), regions={c: None}) for c in (3, 0)]
    add_interactions(model, dict(inputs=images((32, 32), (32, 32)), data_samples=samples))
    for sample in samples:
        maps = sample.interactions
        torch.testing.assert_close(maps.teacher_presence, torch.tensor([0, 0.1, 0.2, 0.3, 0.4]))
        torch.testing.assert_close(maps.presence, maps.teacher_presence / 2)


class DeepTeacher(Model):
    """Its teacher has three layers, its student as many as it says, of which the last is measured."""

    def __init__(self, student_layers):
        super().__init__()
        self.student_layers = student_layers

    def teacher_answers(self, images, valid_sizes, labels=None):
        maps, _ = super().teacher_answers(images, valid_sizes)
        logits = torch.cat((maps.logits, 5 * maps.logits.square(), maps.logits.exp()), 1)
        maps = replace(maps, logits=logits, layers=(0, 1, 2))
        return maps, maps

    def ask(self, images, texts, valid_sizes):
        maps = super().ask(images, texts, valid_sizes)
        logits = maps.logits[:, :1].expand(-1, len(self.student_layers), -1, -1, -1)
        return replace(maps, logits=logits, layers=self.student_layers)


@pytest.mark.parametrize(('student_layers', 'compared'), [((5,), 1), ((3, 5), 2), ((1, 3, 5), 2)])
def test_a_teacher_of_several_layers_is_compared_layer_by_layer_as_in_the_loss(student_layers, compared):
    model, inputs = DeepTeacher(student_layers), images((32, 32))
    sample = sample_of(DataSample, (32, 32), regions={3: None})
    add_interactions(model, dict(inputs=inputs, data_samples=[sample]))
    logits = model.teacher_answers(torch.stack(inputs), None)[0].logits[0]  # [L, M, H, W]
    unit = logits.flatten(-2).std(-1, correction=0).mean()
    expected = (logits[compared, 3] / (0.67 * unit)).flatten().softmax(0).view(4, 4)
    torch.testing.assert_close(sample.interactions.teacher[0], expected)


@pytest.mark.parametrize('known', [[4], []])
def test_what_the_bank_does_not_know_is_left_out(known):
    model = Model()
    # Number 5 is the background's.
    sample = sample_of(DataSample, (32, 32), regions=dict.fromkeys([*known, 5, 77]))
    add_interactions(model, dict(inputs=images((32, 32)), data_samples=[sample]))
    maps = sample.interactions
    assert maps.concepts == known
    assert maps.student.shape == (2, len(known), 4, 4)
    assert len(maps.mirrored) == len(maps.teacher) == len(known)


def test_a_padded_image_is_mirrored_within_itself():
    model, inputs = Model(), images((32, 32), (24, 16))
    samples = [sample_of(DetDataSample, tuple(x.shape[1:]), regions={3: None}) for x in inputs]
    add_interactions(model, dict(inputs=inputs, data_samples=samples))
    maps = samples[1].interactions
    assert (maps.size, maps.canvas) == ((24, 16), (32, 32))
    assert maps.valid.nonzero().amax(0).tolist() == [2, 1]
    torch.testing.assert_close(
        maps.mirrored[:, maps.valid], maps.student[1][:, maps.valid], rtol=1e-4, atol=1e-6
    )


def test_patches_that_reach_beyond_the_image_lie_where_they_are():
    model, image = Model(), torch.full((3, 72, 72), 0.1)
    # Five patches of 16 pixels; the fourth is centred at 56.
    image[:, 48:64, 48:64] = 9
    model.backbone.patch_stride = (16, 16)
    model.pool = partial(F.avg_pool2d, kernel_size=16, ceil_mode=True)
    sample = sample_of(DataSample, (72, 72), regions={1: None})
    add_interactions(model, dict(inputs=[image], data_samples=[sample]))
    maps = sample.interactions
    assert (maps.size, maps.canvas) == ((72, 72), (80, 80))
    heat = maps.to_pixels(maps.student[-1])[0]
    middle = (heat.sum(0) * (torch.arange(72) + 0.5)).sum() / heat.sum()
    assert middle.item() == pytest.approx(56, abs=0.5)
    # The image of 72 pixels mirrored: this patch then lies from 8 to 24, on the first two.
    torch.testing.assert_close(maps.mirrored[0, 3, 3], maps.mirrored[0].max())


class Strict(Model):
    """A location that shows too little of the image is not valid, as in a student's answers."""

    def ask(self, images, texts, valid_sizes):
        found = super().ask(images, texts, valid_sizes)
        return replace(found, valid=found.valid & (self.pool(images.mean(1)) > 0.5))


def test_the_mirrored_map_reads_nothing_beyond_the_image():
    # The image ends in the third location, which shows too little of it.
    samples = [sample_of(DataSample, size, regions={0: None}) for size in ((8, 19), (8, 32))]
    pixels = [torch.ones(3, 8, 19), torch.ones(3, 8, 32)]
    add_interactions(Strict(), dict(inputs=pixels, data_samples=samples))
    assert samples[0].interactions.mirrored[0, 0, :2].tolist() == pytest.approx([0.5, 0.5])


def test_the_teachers_map_is_the_one_that_the_loss_compares_with():
    model, inputs = Model(), images((32, 48), (24, 16))
    samples = [sample_of(DetDataSample, tuple(x.shape[1:]), regions=dict.fromkeys(range(5))) for x in inputs]
    batch = dict(inputs=inputs, data_samples=samples)
    add_interactions(model, batch)
    divergences = [
        (maps.teacher * (maps.teacher / layer).log()).nan_to_num(0).sum((-2, -1))
        for maps in (sample.interactions for sample in samples)
        for layer in maps.student
    ]
    inputs = model.data_preprocessor(batch, False)['inputs']
    (teacher, _), student = (
        model.teacher_answers(inputs, None),
        model.ask(inputs, model.teacher.text_embeddings, None),
    )
    teacher = replace(teacher, presence=torch.arange(6).lt(5).float().expand(len(inputs), -1))
    loss = model.interactions.loss(student, teacher)['loss_spatial']
    assert torch.cat(divergences).mean().item() == pytest.approx(loss.item(), rel=1e-4)


def test_mirror_images_stays_within_each_image():
    inputs = torch.arange(24.0).view(2, 1, 3, 4)
    found = mirror_images(inputs, [(3, 4), (2, 3)])
    torch.testing.assert_close(found[0], inputs[0].flip(-1))
    torch.testing.assert_close(found[1, :, :2, :3], inputs[1, :, :2, :3].flip(-1))
    torch.testing.assert_close(found[1, :, 2], inputs[1, :, 2])
    torch.testing.assert_close(found[1, :, :, 3], inputs[1, :, :, 3])


def test_mirror_maps_meets_the_middles_of_the_locations():
    maps = torch.rand(2, 3, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mirror_maps(maps, 1.0), maps.flip(-1))
    torch.testing.assert_close(mirror_maps(maps, 5 / 8)[..., :5], maps[..., :5].flip(-1))
    # Half a location further: the mean of two.
    found = mirror_maps(maps, 4.5 / 8)[..., 1]
    torch.testing.assert_close(found, (maps[..., 2] + maps[..., 3]) / 2)


def test_samples_that_name_nothing_cost_nothing():
    sample = sample_of(DataSample, (32, 32))
    add_interactions(torch.nn.Identity(), dict(inputs=images((32, 32)), data_samples=[sample]))
    assert 'interactions' not in sample


@pytest.mark.parametrize('stage', ['before_val_iter', 'before_test_iter'])
def test_the_hook_acts_before_images_are_predicted(stage):
    hook = HOOKS.build(dict(type='lfi.InteractionMapsHook'))
    sample = sample_of(DataSample, (32, 32), regions={1: None})
    batch = dict(inputs=images((32, 32)), data_samples=[sample])
    getattr(hook, stage)(SimpleNamespace(model=Model()), 0, batch)
    assert sample.interactions.concepts == [1]
    with pytest.raises(TypeError, match='learns from lfi.Interactions, got Identity'):
        getattr(hook, stage)(SimpleNamespace(model=torch.nn.Identity()), 0, batch)


def test_test_time_augmentation_is_refused_before_the_run():
    hook = HOOKS.build(dict(type='lfi.InteractionMapsHook'))
    student = ImageClassifier(dict(type='mmpretrain.ResNet', depth=18))
    with pytest.raises(UsageError, match='asks about one view of an image: leave out --tta'):
        hook.before_run(SimpleNamespace(model=AverageClsScoreTTA(module=student)))


def test_a_cache_of_training_images_is_refused_before_the_run():
    model = Model()
    model.teacher_cfg = dict(cache='cache')
    hook = HOOKS.build(dict(type='lfi.InteractionMapsHook'))
    with pytest.raises(UsageError, match="model.teacher.cache='cache' holds training images only"):
        hook.before_run(SimpleNamespace(model=model))
    model.teacher_cfg = dict(cache=None)
    hook.before_run(SimpleNamespace(model=model))


@pytest.mark.parametrize(
    ('fields', 'reads_labels', 'expected'),
    [
        (dict(gt_label=torch.tensor([3])), True, [3]),
        # One beyond the bank, and one that is hidden.
        (dict(gt_label=torch.tensor([77])), True, []),
        (dict(gt_label=torch.tensor([-1])), True, []),
        (dict(gt_label=torch.tensor([3])), False, None),
        # A detector's labels are its objects.
        (dict(), True, [1, 4]),
    ],
)
def test_the_teacher_is_told_the_labels_by_which_training_asks(fields, reads_labels, expected):
    told = []

    class Told(Model):
        def teacher_answers(self, images, valid_sizes, labels=None):
            told.append(labels)
            return super().teacher_answers(images, valid_sizes)

    model = Told()
    model.family = SimpleNamespace(reads_labels=reads_labels)
    sample = sample_of(DataSample, (32, 32), regions={4: None, 1: None, 5: None}, **fields)
    add_interactions(model, dict(inputs=images((32, 32)), data_samples=[sample]))
    (labels,) = told
    assert (labels if labels is None else labels[0].nonzero().flatten().tolist()) == expected
