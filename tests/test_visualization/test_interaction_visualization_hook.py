from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from lfi.registry import HOOKS
from lfi.structures import InteractionMaps
from lfi.visualization import InteractionVisualizationHook
from lfi.visualization import interaction_visualization_hook as hook_module
from lfi.visualization.interaction_visualization_hook import draw_answer_batch, draw_batch
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer


class Patches(torch.nn.Module):
    def patch_grid(self, height, width):
        return 4, 4


class Model(torch.nn.Module):
    """Teacher's maps grow to the right, the student's downwards."""

    def __init__(self):
        super().__init__()
        self.backbone, self.interactions = Patches(), torch.nn.Identity()
        self.teacher = SimpleNamespace(bank=SimpleNamespace(names=('cat', 'dog')))
        self.teacher_cfg = dict(type='lfi.VLMAttentionTeacher', model='x')
        self.modes, self.asked = [], []

    def data_preprocessor(self, data, training):
        assert not training
        inputs = data['inputs']
        inputs = inputs if isinstance(inputs, torch.Tensor) else torch.zeros(len(inputs), 3, 32, 48)
        return dict(inputs=inputs, data_samples=data['data_samples'])

    def predict_interactions(self, inputs, data_samples):
        self.modes.append(self.training)
        n = len(inputs)
        ramp = torch.arange(4.0).expand(n, 1, 2, 4, 4)
        fields = dict(
            presence=torch.tensor([[0.2, 1.0]]).expand(n, 2), valid=torch.ones(n, 4, 4, dtype=torch.bool)
        )
        return InteractionMaps(ramp, **fields), InteractionMaps(ramp.mT, **fields)

    def ask(self, inputs, texts, valid_sizes):
        self.modes.append(self.training)
        self.asked.append((texts, valid_sizes))
        n, m = len(inputs), len(texts)
        valid = torch.ones(n, 4, 4, dtype=torch.bool)
        return InteractionMaps(torch.arange(16.0).view(4, 4).expand(n, 1, m, 4, 4), torch.ones(n, m), valid)


@pytest.fixture
def runner(tmp_path):
    visualizer = Visualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path))
    dataset = SimpleNamespace(dataset=SimpleNamespace(data_root='photos'))
    return SimpleNamespace(
        model=Model(), visualizer=visualizer, iter=0, test_dataloader=SimpleNamespace(dataset=dataset)
    )


def batch(images):
    return dict(inputs=images, data_samples=[None] * len(images))


@pytest.mark.parametrize(
    'images',
    [
        torch.zeros(6, 3, 32, 32, dtype=torch.uint8),
        [torch.zeros(3, 20 + i, 40, dtype=torch.uint8) for i in range(6)],
    ],
    ids=['one size', 'sizes that differ'],
)
def test_a_picture_comes_at_the_start_and_at_each_interval(runner, tmp_path, images):
    hook = HOOKS.build(dict(type='lfi.InteractionVisualizationHook', interval=2))
    hook.before_train(runner)
    for runner.iter in range(4):
        hook.after_train_iter(runner, runner.iter, batch(images))
    written = sorted(path.name for path in tmp_path.rglob('*.png'))
    assert written == ['interactions_0.png', 'interactions_2.png']
    assert runner.model.modes == [False, False] and runner.model.training


def test_maps_lie_over_what_the_patches_cover(runner, monkeypatch):
    # Four patches of 16 pixels show an image of 50.
    runner.model.backbone.patch_stride = (16, 16)
    drawn = []
    monkeypatch.setattr(hook_module, 'draw_interactions', lambda cells, images, *_: drawn.append(images))
    draw_batch(runner.model, batch(torch.full((1, 3, 50, 50), 7, dtype=torch.uint8)))
    (canvas,) = drawn
    assert canvas.shape == (1, 64, 64, 3)
    assert (canvas[:, :50, :50] == 7).all() and not canvas[:, 50:].any()


def test_the_picture_shows_the_concept_that_counts_most(runner):
    picture = draw_batch(runner.model, batch(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)))
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    height, width = picture.shape[:2]
    assert height / width == pytest.approx(4 / 6, rel=0.05)
    # Dark on the left and orange on the right for the teacher, in the middle; the student's lies on its side.
    rows = slice(height // 4 - 10, height // 4 + 10)
    redness = (picture[rows, :, 0].astype(int) - picture[rows, :, 2]).mean(0)

    def step(left, right):
        """By how much redder a column is at its right end."""
        ends = redness[int(left * width) :][:20], redness[: int(right * width)][-20:]
        return ends[1].mean() - ends[0].mean()

    assert step(0.36, 0.63) > 60
    assert abs(step(0.7, 0.97)) < 30


def test_pictures_follow_no_settings_of_the_working_directory(runner):
    data = batch(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    data['data_samples'] = [SimpleNamespace(metainfo=dict(img_shape=(32, 32)))]

    def pictures():
        answers = draw_answer_batch(runner.model, data, (), (), ['cat'], torch.zeros(1, 4))
        return [draw_batch(runner.model, data), answers]

    expected = pictures()
    with matplotlib.rc_context({'text.usetex': True, 'figure.dpi': 10, 'figure.facecolor': 'red'}):
        for picture, plain in zip(pictures(), expected):
            np.testing.assert_array_equal(picture, plain)


def test_a_picture_shows_what_the_student_answers_to_texts(runner, monkeypatch):
    embedded, titles = [], []

    class Tower:
        def __init__(self, teacher):
            assert teacher == runner.model.teacher_cfg

        def embed(self, texts):
            embedded.append(texts)
            torch.rand(3)
            return torch.eye(len(texts))

    monkeypatch.setattr(hook_module, 'TextTower', Tower)
    drawn = hook_module.draw_answers
    monkeypatch.setattr(hook_module, 'draw_answers', lambda *args: (titles.append(args[3]), drawn(*args)))
    hook = HOOKS.build(dict(type='lfi.InteractionVisualizationHook', interval=1, texts=['cat', 'grass']))
    hook.before_train(runner)
    data = batch(torch.zeros(6, 3, 32, 48, dtype=torch.uint8))
    data['data_samples'] = [SimpleNamespace(metainfo=dict(img_shape=(32, 40 + i))) for i in range(6)]
    state = torch.get_rng_state()
    for runner.iter in range(2):
        hook.after_train_iter(runner, runner.iter, data)
    assert torch.equal(torch.get_rng_state(), state)
    # The tower is loaded once, and the picture has the first images alone, without their padding.
    assert embedded == [('cat', 'grass')] and titles == [('cat', 'grass')] * 2
    texts, valid_sizes = runner.model.asked[0]
    assert torch.equal(texts, torch.eye(2)) and valid_sizes == [(32, 40), (32, 41), (32, 42), (32, 43)]
    assert runner.model.modes == [False, False] and runner.model.training


def test_what_cannot_be_drawn_says_why(runner):
    with pytest.raises(ValueError, match="texts='cat' must be a list of texts"):
        InteractionVisualizationHook(texts='cat')
    with pytest.raises(ValueError, match='interval=0 must be at least 1'):
        InteractionVisualizationHook(interval=0)
    runner.model = torch.nn.Identity()
    with pytest.raises(TypeError, match='learns from lfi.Interactions, got Identity'):
        InteractionVisualizationHook().before_train(runner)


def test_each_test_image_gets_a_picture_where_the_teacher_can_be_had(runner, tmp_path):
    paths = ('photos/cats/a.jpg', 'photos/dogs/a.jpg', 'elsewhere/b.jpg')
    samples = [SimpleNamespace(metainfo=dict(img_path=path)) for path in paths]
    data = dict(inputs=torch.zeros(3, 3, 32, 32, dtype=torch.uint8), data_samples=samples)
    hook = InteractionVisualizationHook(test_out_dir=str(tmp_path / 'pictures'))
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, data, samples)
    pictures = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.png'))
    assert pictures == ['pictures/0_0_2_b.jpg.png', 'pictures/cats/a.jpg.png', 'pictures/dogs/a.jpg.png']

    class Missing(Model):
        @property
        def teacher(self):
            raise FileNotFoundError('teacher folder not found: x')

        @teacher.setter
        def teacher(self, value):
            pass

    warnings = []
    runner.model, runner.logger = Missing(), SimpleNamespace(warning=warnings.append)
    hook = InteractionVisualizationHook(test_out_dir=str(tmp_path / 'none'))
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, data, samples)
    assert warnings == ['No pictures of interactions: teacher folder not found: x']
    assert not (tmp_path / 'none').exists()

    runner.model = torch.nn.Identity()
    hook = InteractionVisualizationHook(test_out_dir=str(tmp_path / 'none'))
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, data, samples)
    assert warnings[1] == 'No pictures of interactions: Identity does not learn from interactions'


def test_detections_are_named_by_the_data_set_whatever_the_teacher_is_asked_about(
    runner, tmp_path, monkeypatch
):
    runner.test_dataloader.dataset.metainfo = dict(classes=('ring', 'star'))
    found = InstanceData(bboxes=torch.zeros(1, 4), labels=torch.tensor([1]), scores=torch.ones(1))
    sample = SimpleNamespace(
        metainfo=dict(img_path='photos/a.jpg', scale_factor=(2, 2)), pred_instances=found
    )
    drawn = []
    monkeypatch.setattr(
        hook_module, 'draw_detections', lambda axes, found, classes, scale: drawn.append((classes, scale))
    )
    hook = InteractionVisualizationHook(test_out_dir=str(tmp_path))
    hook.before_test(runner)
    data = dict(inputs=torch.zeros(1, 3, 32, 32, dtype=torch.uint8), data_samples=[sample])
    hook.after_test_iter(runner, 0, data, [sample])
    assert drawn == [(('ring', 'star'), (2, 2))]


class SegPreProcessor:
    """As mmseg's: images of several sizes are padded in training alone, and the samples say so."""

    seg_pad_val, batch_augments = 255, 'augments'

    def __call__(self, data, training):
        sizes = {image.shape for image in data['inputs']}
        assert training or len(sizes) == 1, 'The image size in a batch should be the same.'
        assert self.batch_augments is None or not training
        for sample in data['data_samples'] if training else ():
            sample.padded = True
        return dict(inputs=torch.zeros(len(data['inputs']), 3, 32, 48), data_samples=data['data_samples'])


@pytest.mark.parametrize('sizes', [((32, 48), (20, 40)), ((32, 48), (32, 48))])
def test_images_of_a_segmentors_batch_may_differ_in_size(runner, sizes):
    model = runner.model
    model.data_preprocessor = SegPreProcessor()
    samples = [SimpleNamespace(padded=False) for _ in sizes]
    images = [torch.full((3, *size), 200, dtype=torch.uint8) for size in sizes]
    picture = draw_batch(model, dict(inputs=images, data_samples=samples))
    assert picture.std() > 0 and model.data_preprocessor.batch_augments == 'augments'
    assert not any(sample.padded for sample in samples)
