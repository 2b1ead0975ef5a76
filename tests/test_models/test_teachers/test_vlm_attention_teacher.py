"""`VLMAttentionTeacher`: what its tower sees, which concepts it answers for, and that it stays frozen."""

import copy
import json
import math
import shutil

import numpy as np
import open_clip
import pytest
import torch
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers import vlm_attention_teacher
from lfi.models.teachers.extractors.dense import LocationsExtractor
from lfi.models.teachers.loading.weights import load_vlm
from lfi.models.teachers.names_presence import OFFSET, SLOPE
from lfi.models.teachers.vlm_attention_teacher import interpolation_of
from lfi.structures import OTHER, PixelFormat
from open_clip import IMAGENET_CLASSNAMES
from PIL import Image

NAMES = ['circle', 'square', 'star', 'ring', 'heart', 'leaf']
# Means and deviations that differ by channel, so that a wrong order shows.
PIXELS = dict(mean=(100.0, 120.0, 140.0), std=(50.0, 60.0, 70.0))
RGB = PixelFormat(**PIXELS, rgb=True)
BGR = PixelFormat(**PIXELS, rgb=False)
MEAN, STD = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.3])


@pytest.fixture
def make_teacher(teacher_folder):
    def make(model='vit', **kwargs):
        extractor = dict(type='dense' if model.startswith('cnn') else 'maskclip')
        return VLMAttentionTeacher(
            teacher_folder(model), **{**dict(extractor=extractor, concepts=NAMES), **kwargs}
        )

    return make


@pytest.fixture
def seen(monkeypatch):
    """Puts a spy in front of a teacher's extractor; gives the images that reach it."""

    def watch(teacher):
        images, extractor = [], teacher.extractor

        def spy(x, texts):
            images.append(x)
            return extractor(x, texts)

        spy.directions, spy.gives_cosines = extractor.directions, extractor.gives_cosines
        monkeypatch.setattr(teacher, 'extractor', spy)
        return images

    return watch


def batch(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def smooth_picture(height, width):
    """RGB in [0, 255] without sharp edges, each channel another."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    channels = [np.sin(5 * x + y), np.cos(4 * y), np.sin(3 * (x + y) + 1)]
    return np.round(127.5 + 120 * np.stack(channels, -1)).astype(np.uint8)


def as_student_input(picture, pixels):
    channels = picture if pixels.rgb else picture[..., ::-1]
    normalised = (channels.astype(np.float64) - pixels.mean) / pixels.std
    return torch.from_numpy(normalised.astype(np.float32)).permute(2, 0, 1)


@pytest.mark.parametrize('pixels', [RGB, BGR, PixelFormat((0.0,) * 3, (1.0,) * 3, False)])
def test_the_tower_sees_the_picture_as_its_own_preprocessing_makes_it(make_teacher, seen, pixels):
    teacher = make_teacher()
    images = seen(teacher)
    picture = smooth_picture(32, 32)
    teacher(as_student_input(picture, pixels)[None], pixels)
    expected = ((picture / 255 - MEAN) / STD).transpose(2, 0, 1)
    torch.testing.assert_close(images[0][0].numpy(), expected.astype(np.float32), rtol=0, atol=1e-5)


@pytest.mark.parametrize('pixels', [RGB, BGR])
@pytest.mark.parametrize('valid', [None, (48, 40)])
def test_the_valid_area_is_resized_as_pil_does(make_teacher, seen, pixels, valid):
    teacher = make_teacher()
    images = seen(teacher)
    picture = smooth_picture(*(valid or (56, 64)))
    inputs = torch.full((1, 3, 56, 64), 1e3)
    inputs[0, :, : picture.shape[0], : picture.shape[1]] = as_student_input(picture, pixels)
    teacher(inputs, pixels, valid_sizes=valid and [valid])
    resized = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC))
    expected = ((resized / 255 - MEAN) / STD).transpose(2, 0, 1)
    # PIL rounds to whole values twice; one of them is 1 / 255 / 0.2 = 0.02 here.
    torch.testing.assert_close(images[0][0].numpy(), expected.astype(np.float32), rtol=0, atol=0.03)


@pytest.mark.parametrize(('name', 'mode'), [('bilinear', 'bilinear'), ('random', 'bicubic')])
def test_images_are_resized_as_the_model_says(make_teacher, teacher_folder, tmp_path, name, mode):
    folder = shutil.copytree(teacher_folder('vit'), tmp_path / 'teacher')
    config = json.loads((folder / 'open_clip_config.json').read_text())
    config['preprocess_cfg']['interpolation'] = name
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    teacher = VLMAttentionTeacher(str(folder), extractor=dict(type='maskclip'), concepts=NAMES)
    expected = make_teacher()
    expected.interpolation = mode
    inputs = batch(1, 3, 56, 48)
    assert torch.equal(teacher(inputs, RGB).logits, expected(inputs, RGB).logits)


@pytest.mark.parametrize('size', [0, -32, 48.0, '48', (32,), (32, 32, 32)])
def test_an_input_size_that_is_none_is_refused(make_teacher, size):
    with pytest.raises(ValueError, match='input_size=.* must be one or two whole numbers of pixels above 0'):
        make_teacher(input_size=size)


def test_an_input_size_that_cuts_patches_is_refused_when_built(make_teacher):
    with pytest.raises(ValueError, match=r'input_size=\(32, 36\) must be a multiple of .* patch size'):
        make_teacher(input_size=(32, 36))


def test_an_input_size_that_the_model_fails_at_is_refused_when_built(make_teacher, monkeypatch):
    def fail(self, images, texts):
        raise RuntimeError('kernel size')

    teacher = make_teacher('cnn_test_resnet')
    monkeypatch.setattr(LocationsExtractor, 'pooled', fail)
    with pytest.raises(ValueError, match=r'takes no images of input_size=\(8, 8\): kernel size'):
        teacher.extractor.check_size((8, 8), teacher.text_embeddings)


def test_an_interpolation_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"preprocess_cfg.interpolation='lanczos' must be 'bicubic' or"):
        interpolation_of(dict(interpolation='lanczos'))


@pytest.mark.parametrize('pixels', [RGB, BGR])
def test_large_images_are_prepared_one_by_one_and_alike(make_teacher, seen, monkeypatch, pixels):
    teacher = make_teacher()
    images = seen(teacher)
    # Of whole bytes, as files have them.
    inputs = batch(3, 3, 70, 90).mul(40).add(128).clamp(0, 255).byte()
    for large in (4, 0):
        monkeypatch.setattr(vlm_attention_teacher, 'MAX_AREA_RATIO', large)
        teacher(inputs, pixels)
    assert torch.equal(*images)


def test_padding_changes_nothing(make_teacher):
    teacher = make_teacher()
    sizes = [(40, 48), (64, 32), (64, 48)]
    first = batch(3, 3, 64, 48)
    second = first.clone()
    for image, (h, w) in zip(second, sizes):
        image[:, h:] = 50
        image[:, :, w:] = -50
    got = [teacher(x, RGB, valid_sizes=sizes) for x in (first, second)]
    assert torch.equal(got[0].logits, got[1].logits)
    assert torch.equal(got[0].presence, got[1].presence)
    for i, (h, w) in enumerate(sizes):
        alone = teacher(first[i : i + 1, :, :h, :w], RGB)
        torch.testing.assert_close(got[0].logits[i : i + 1], alone.logits, rtol=1e-4, atol=1e-4)


def test_a_model_with_a_bias_judges_each_concept_by_itself(make_teacher, teacher_folder):
    teacher = make_teacher('vit_bias')
    inputs = batch(2, 3, 32, 32)
    presence = teacher(inputs, RGB).presence
    vlm, tokenizer = load_vlm(teacher_folder('vit_bias'), None, False)
    with torch.no_grad():
        image = vlm.encode_image(teacher._prepare(inputs, RGB, None), normalize=True)
        texts = vlm.encode_text(tokenizer([f'a photo of a {name}.' for name in NAMES]), normalize=True)
        logits = vlm.logit_scale.exp() * image @ texts.T + vlm.logit_bias
    torch.testing.assert_close(presence, 1 / (1 + (-logits).exp()), rtol=1e-4, atol=1e-5)
    assert teacher.presence_kind == 'sigmoid, concept by concept'
    # What else is in the bank does not matter.
    fewer = make_teacher('vit_bias', concepts=NAMES[:2])
    torch.testing.assert_close(fewer(inputs, RGB).presence, presence[:, :2], rtol=1e-4, atol=1e-5)
    assert make_teacher().presence_kind == 'softmax over the bank'


def test_presence_against_names_is_of_each_concept_alone(make_teacher, teacher_folder):
    teacher = make_teacher(presence_against='names')
    inputs = batch(2, 3, 32, 32)
    presence = teacher(inputs, RGB).presence
    vlm, tokenizer = load_vlm(teacher_folder('vit'), None, False)
    names = list(dict.fromkeys(IMAGENET_CLASSNAMES))[::10]
    with torch.no_grad():
        image = vlm.encode_image(teacher._prepare(inputs, RGB, None), normalize=True)
        asked, compared = (
            vlm.logit_scale.exp()
            * image
            @ vlm.encode_text(tokenizer([f'a photo of a {name}.' for name in texts]), normalize=True).T
            for texts in (NAMES, names)
        )
    odds = asked.exp() / compared.exp().sum(1, keepdim=True)
    expected = 1 / (1 + math.exp(-OFFSET) * odds**-SLOPE)
    assert len(names) == 100
    torch.testing.assert_close(presence, expected, rtol=1e-4, atol=1e-5)
    assert teacher.presence_kind == 'against names of ImageNet, concept by concept'
    # What else is in the bank does not matter; nor does the option for a model that judges each text alone.
    fewer = make_teacher(concepts=NAMES[:1], presence_against='names')
    torch.testing.assert_close(fewer(inputs, RGB).presence, presence[:, :1], rtol=1e-4, atol=1e-5)
    sigmoid = make_teacher('vit_bias', presence_against='names')
    assert sigmoid.presence_kind == 'sigmoid, concept by concept'
    assert torch.equal(sigmoid(inputs, RGB).presence, make_teacher('vit_bias')(inputs, RGB).presence)


@pytest.mark.parametrize('model', ['vit', 'cnn_test_resnet'])
def test_presence_and_logits_are_the_models_own_image_text_logits(make_teacher, teacher_folder, model):
    templates = ('a {}.', 'many {}s')
    teacher = make_teacher(model, templates=templates)
    size = teacher.input_size
    inputs = batch(2, 3, *size)
    maps = teacher(inputs, RGB).check()
    vlm, tokenizer = load_vlm(teacher_folder(model), None, False)
    with torch.no_grad():
        prompts = [[t.replace('{}', name) for name in NAMES] for t in templates]
        texts = sum(vlm.encode_text(tokenizer(p), normalize=True) for p in prompts)
        texts = texts / texts.norm(dim=-1, keepdim=True)
        values = inputs * torch.tensor(PIXELS['std']).view(3, 1, 1) + torch.tensor(PIXELS['mean']).view(
            3, 1, 1
        )
        mean, std = (torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (MEAN, STD))
        image = vlm.encode_image((values / 255 - mean) / std, normalize=True)
        logits = vlm.logit_scale.exp() * image @ texts.T
    assert maps.logits.shape == (2, 1, len(NAMES), *maps.grid)
    assert (maps.concepts, maps.layers, maps.directions) == (None, (-1,), ('spatial', 'semantic'))
    assert maps.valid.all()
    torch.testing.assert_close(maps.presence, logits.softmax(-1), rtol=1e-3, atol=1e-5)
    if model.startswith('cnn'):
        torch.testing.assert_close(maps.logits.mean((1, 3, 4)), logits, rtol=1e-3, atol=1e-3)


def test_labels_change_neither_maps_nor_presence_of_a_whole_bank(make_teacher):
    teacher, inputs = make_teacher(), batch(2, 3, 32, 32)
    labels = torch.tensor([[0, 0, 1, 0, 0, 0], [0.7, 0, 0, 0.3, 0, 0]])
    without, got = teacher(inputs, RGB), teacher(inputs, RGB, labels)
    assert torch.equal(got.logits, without.logits)
    assert torch.equal(got.presence, without.presence)


def test_maps_are_of_the_labels_concepts_first_with_the_teachers_presence(make_teacher):
    inputs, labels = batch(2, 3, 32, 32), torch.zeros(2, 6)
    full = make_teacher()(inputs, RGB)
    weakest = full.presence.argmin(1, keepdim=True)
    labels.scatter_(1, weakest, 1)
    own = make_teacher(max_concepts=2)(inputs, RGB, labels)
    assert own.concepts[:, :1].equal(weakest)
    torch.testing.assert_close(own.presence[:, :2], full.presence.gather(1, own.concepts[:, :2]))


@pytest.mark.parametrize('m', [1, 2, 4])
def test_max_concepts_keeps_labels_then_the_top_ones_and_sums_up_the_rest(make_teacher, m):
    inputs = batch(3, 3, 32, 32)
    # A mixed image's lesser label counts little, and yet stays.
    labels = torch.zeros(3, 6)
    full = make_teacher()(inputs, RGB)
    weakest = full.presence.argmin(1)
    labels[0, weakest[0]] = 1.0
    labels[1, weakest[1]] = 0.01
    full = make_teacher()(inputs, RGB, labels)
    kept = make_teacher(max_concepts=m)(inputs, RGB, labels).check()
    assert kept.logits.shape == (3, 1, m + 1, 4, 4)
    assert (kept.concepts[:, -1] == OTHER).all()
    assert not kept.presence[:, -1].any()
    for b in range(3):
        chosen = kept.concepts[b, :-1].tolist()
        named = labels[b].nonzero().flatten().tolist()
        others = [c for c in full.presence[b].argsort(descending=True).tolist() if c not in named]
        assert set(chosen) == set((named + others)[:m])
        torch.testing.assert_close(kept.logits[b, :, :-1], full.logits[b][:, chosen])
        torch.testing.assert_close(kept.presence[b, :-1], full.presence[b, chosen])
        left = [c for c in range(6) if c not in chosen]
        rest = full.logits[b][:, left].double().exp().sum(1).log().float()
        torch.testing.assert_close(kept.logits[b, :, -1], rest, rtol=1e-4, atol=1e-4)


def test_maps_of_bank_are_there_whatever_max_concepts_is(make_teacher):
    inputs, sizes = batch(2, 3, 32, 32), [(32, 32), (20, 24)]
    full = make_teacher()(inputs, RGB, valid_sizes=sizes)
    all_maps = make_teacher(max_concepts=1).maps_of_bank(inputs, RGB, sizes)
    assert all_maps.concepts is None
    assert torch.equal(all_maps.logits, full.logits) and torch.equal(all_maps.presence, full.presence)


def test_the_reading_over_concepts_is_the_same_with_the_rest_summed_up(make_teacher):
    inputs = batch(2, 3, 32, 32)
    full = make_teacher()(inputs, RGB).semantic_log_probs()
    kept = make_teacher(max_concepts=3)(inputs, RGB)
    for b in range(2):
        expected = full[b][:, kept.concepts[b, :-1]]
        torch.testing.assert_close(kept.semantic_log_probs()[b, :, :-1], expected, rtol=1e-4, atol=1e-4)


def test_as_many_max_concepts_as_the_bank_holds_is_the_whole_bank(make_teacher):
    inputs = batch(1, 3, 32, 32)
    for m in (6, 9):
        maps = make_teacher(max_concepts=m)(inputs, RGB)
        assert maps.concepts is None
        assert torch.equal(maps.logits, make_teacher()(inputs, RGB).logits)


def test_the_background_competes_and_is_looked_for_with_the_rest_only(make_teacher):
    inputs, labels = batch(2, 3, 32, 32), torch.eye(2, 6)
    full = make_teacher()(inputs, RGB)
    maps = make_teacher(concepts=NAMES[:4], background=NAMES[4:])(inputs, RGB, labels).check()
    assert [sorted(row) for row in maps.concepts.tolist()] == [[OTHER, 0, 1, 2, 3]] * 2
    assert (maps.concepts[:, -1] == OTHER).all() and not maps.presence[:, -1].any()
    order = maps.concepts[:, :-1]
    torch.testing.assert_close(maps.presence[:, :-1], full.presence.gather(1, order), rtol=1e-4, atol=1e-6)
    rest = full.logits[:, :, 4:].logsumexp(2)
    torch.testing.assert_close(maps.logits[:, :, -1], rest, rtol=1e-4, atol=1e-4)
    few = make_teacher(concepts=NAMES[:4], background=NAMES[4:], max_concepts=2)(inputs, RGB)
    assert few.concepts.max() < 4 and few.logits.shape[2] == 3


@pytest.mark.parametrize(
    ('model', 'size', 'grid'),
    [
        ('vit', None, (4, 4)),
        ('vit', [64, 48], (8, 6)),
        ('cnn_test_resnet', 96, (3, 3)),
        ('cnn_test_resnet', [64, 128], (2, 4)),
    ],
)
def test_input_size_sets_what_the_tower_sees(make_teacher, seen, model, size, grid):
    teacher = make_teacher(model, input_size=size)
    images = seen(teacher)
    maps = teacher(batch(1, 3, 50, 70), RGB)
    assert tuple(images[0].shape[-2:]) == teacher.input_size
    assert maps.grid == grid


def test_it_is_frozen_tracks_no_gradient_and_copies_share_it(make_teacher):
    teacher = make_teacher()
    maps = teacher(batch(1, 3, 32, 32).requires_grad_(), RGB)
    assert not maps.logits.requires_grad
    assert not maps.presence.requires_grad
    assert not isinstance(teacher, torch.nn.Module)
    assert not any(p.requires_grad for p in teacher.visual.parameters())
    assert not any(m.training for m in teacher.visual.modules())
    assert copy.deepcopy(teacher) is teacher
    assert copy.deepcopy(dict(a=[teacher]))['a'][0] is teacher


def test_autocast_keeps_maps_in_float32_and_close(make_teacher):
    teacher, inputs = make_teacher(), batch(1, 3, 32, 32)
    expected = teacher(inputs, RGB)
    with torch.autocast('cpu', torch.bfloat16):
        got = teacher(inputs, RGB)
    assert got.logits.dtype == got.presence.dtype == torch.float32
    assert (got.logits - expected.logits).abs().max() < 0.05 * expected.logits.abs().max()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(concepts=[]), 'concepts is empty'),
        (dict(concepts='circle'), "concepts='circle' must be a list"),
        (dict(templates=['no name']), 'templates must be strings with {}'),
        (dict(max_concepts=0), 'max_concepts=0 must be a whole number above 0, or None for all'),
        (dict(max_concepts=1.5), 'max_concepts=1.5 must be a whole number'),
        (dict(max_concepts=True), 'max_concepts=True must be a whole number'),
        (
            dict(extractor=dict(type='gradcam')),
            r"extractor.type='gradcam' is unknown; choose from \[.*'clearclip', 'coca', 'dense',.*\]",
        ),
        (dict(extractor=3), r'extractor=3 must be a config, dict\(type=\.\.\.\); choose from'),
        (dict(extractor='gradcam'), r"extractor.type='gradcam' is unknown; choose from"),
        (dict(extractor=dict()), 'extractor.type=None is unknown; choose from'),
        (dict(templates='imagenet'), "templates='imagenet' is unknown"),
        (dict(presence_against='all'), "presence_against='all' must be 'bank' or 'names'"),
        (dict(model='coca', extractor=dict(type='dense')), "no extractor reads this model's image tower"),
        (dict(model='cnn_test_resnet', extractor=dict(type='maskclip')), 'reads the blocks of a transformer'),
    ],
)
def test_an_argument_that_does_not_fit_is_named(make_teacher, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_teacher(**arguments)


def test_the_text_tower_is_used_once_and_freed(make_teacher, monkeypatch):
    calls = []
    encode_text = open_clip.CLIP.encode_text
    monkeypatch.setattr(
        open_clip.CLIP, 'encode_text', lambda self, *a, **k: calls.append(1) or encode_text(self, *a, **k)
    )
    teacher = make_teacher(templates=['{}'])
    teacher(batch(1, 3, 32, 32), RGB)
    assert len(calls) == 1
    assert not any(isinstance(value, open_clip.CLIP) for value in vars(teacher).values())
    assert torch.equal(teacher.text_embeddings, teacher.bank.embeddings)
