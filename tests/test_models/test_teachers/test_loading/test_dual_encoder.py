"""A dual encoder of one's own as a teacher's model."""

import json

import pytest
import torch
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers import teacher_identity
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import VLMS
from lfi.structures import BatchView, PixelFormat
from torch import nn

NAMES = ['cat', 'a much longer name', 'ring']
PIXELS = PixelFormat((127.5,) * 3, (64.0,) * 3, rgb=True)


class Encoder(nn.Module):
    size, mean, std, scale = (16, 24), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 7.0

    def __init__(self, weights=None):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 8, 8, bias=False)
        self.conv.weight.data = torch.randn(self.conv.weight.shape, generator=generator)

    def encode_text(self, texts):
        assert all(isinstance(text, str) for text in texts)
        return torch.tensor([[float(len(text) % k) + 1 for k in range(2, 7)] for text in texts])

    def encode_image(self, images):
        return self.encode_locations(images)[1]

    def encode_locations(self, images):
        locations = self.conv(images)
        return locations, locations.mean((2, 3))


class Biased(Encoder):
    bias = -2.0


class Fixed(Encoder):
    def __init__(self):
        super().__init__()
        self.conv.register_buffer('kept', self.conv.weight.detach())
        del self.conv.weight
        self.conv.weight = self.conv.kept


class Flat(Encoder):
    def encode_locations(self, images):
        locations, pooled = super().encode_locations(images)
        return locations.flatten(2).mT, pooled


class Deaf(Encoder):
    def encode_text(self, texts):
        return super().encode_text(texts) * torch.tensor([float(text != 'ring') for text in texts])[:, None]


class Textless(nn.Module):
    size, mean, std = 16, (0,) * 3, (1,) * 3

    def encode_image(self, images):
        return images.mean((2, 3))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    kinds = {kind.__name__: kind for kind in (Encoder, Biased, Fixed, Flat, Deaf, Textless)}
    monkeypatch.setattr(VLMS, '_module_dict', {**VLMS.module_dict, **kinds})


def teacher(model='Encoder', **options):
    given = dict(extractor=dict(type='own-locations'), concepts=NAMES, templates=('{}',))
    return VLMAttentionTeacher(dict(type=model), **{**given, **options})


def inputs():
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_maps_are_cosines_of_its_own_locations_at_its_own_scale():
    asked = teacher()
    maps = asked(inputs(), PIXELS).check()
    seen = asked._prepare(inputs(), PIXELS, None)
    assert seen.shape[-2:] == (16, 24)
    encoder = Encoder()
    texts = nn.functional.normalize(encoder.encode_text(NAMES), dim=-1)
    locations = nn.functional.normalize(encoder.conv(seen), dim=1)
    expected = 7 * torch.einsum('behw,ce->bchw', locations, texts)[:, None]
    torch.testing.assert_close(maps.logits, expected, rtol=1e-4, atol=1e-4)
    pooled = nn.functional.normalize(encoder.encode_image(seen), dim=-1)
    torch.testing.assert_close(maps.presence, (7 * pooled @ texts.T).softmax(-1), rtol=1e-4, atol=1e-5)
    features = asked.features(inputs(), PIXELS)
    torch.testing.assert_close(features.pooled, pooled, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_features_of_a_padded_batch_are_those_of_the_images():
    asked, images = teacher(), inputs()
    # What lies there is not the image's.
    images[1, :, :, 24:] = 9.0
    sizes = [(32, 48), (32, 24)]
    found = asked.features_of(BatchView(images, PIXELS, sizes))
    locations, _ = asked.extractor.features(asked._prepare(images, PIXELS, sizes))
    torch.testing.assert_close(found.locations, locations[:, -1])
    other = images.clone()
    other[1, :, :, 24:] = -9.0
    again = asked.features_of(BatchView(other, PIXELS, sizes))
    assert torch.equal(again.locations, found.locations)


@torch.no_grad()
def test_a_bias_makes_presence_a_sigmoid():
    presence = teacher('Biased')(inputs(), PIXELS).presence
    logits = teacher()(inputs(), PIXELS).presence.log()
    # The softmax gives the differences of the logits.
    differences = (presence / (1 - presence)).log()
    torch.testing.assert_close(differences - differences[:, :1], logits - logits[:, :1], rtol=1e-3, atol=1e-3)


def test_its_texts_are_embedded_without_a_teacher():
    tower = TextTower(dict(model=dict(type='Encoder'), extractor={}, concepts=NAMES, templates=('{}',)))
    expected = nn.functional.normalize(Encoder().encode_text(['ring', 'dog']), dim=-1)
    torch.testing.assert_close(tower.embed(['ring', 'dog']), expected)


def test_a_cache_knows_its_files_by_content(tmp_path):
    def identity(file):
        model = dict(type='Encoder', weights=str(file))
        return teacher_identity(dict(model=model, extractor=dict(type='own-locations'), concepts=NAMES))

    for folder, content in (('one', b'1'), ('same', b'1'), ('other', b'2')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'w.pth').write_bytes(content)
    one, same, other = (identity(tmp_path / folder / 'w.pth') for folder in ('one', 'same', 'other'))
    assert one == same != other and one['weights'] != other['weights']
    assert one['model'] == dict(type='Encoder', weights='w.pth') and json.dumps(one)


def test_a_cache_knows_a_folder_and_what_stands_deeper_by_content(tmp_path):
    def identity(model):
        return teacher_identity(dict(model=model, extractor='own-locations', concepts=NAMES))

    folder = tmp_path / 'weights'
    folder.mkdir()
    (folder / 'a.bin').write_bytes(b'1')
    deep = dict(type='Encoder', text=dict(weights=[str(folder)]))
    first = identity(deep)
    assert first['weights'] and first['model'] == dict(type='Encoder', text=dict(weights=['weights']))
    (folder / 'a.bin').write_bytes(b'2')
    assert identity(deep)['weights'] != first['weights']
    # The cache serves where the files are gone.
    (folder / 'a.bin').unlink()
    folder.rmdir()
    assert identity(deep) == {**first, 'weights': None}
    assert identity(dict(type=Encoder)) == identity(dict(type='Encoder'))


@torch.no_grad()
def test_a_model_without_parameters_can_teach():
    assert teacher('Fixed')(inputs(), PIXELS).check().logits.shape == (2, 1, 3, 2, 3)


def test_locations_of_another_shape_are_named():
    with pytest.raises(ValueError, match=r'Flat.encode_locations must give .* not \(1, 6, 5\) and \(1, 5\)'):
        teacher('Flat')


def test_a_text_that_has_no_embedding_is_named():
    with pytest.raises(ValueError, match=r"text embeddings of \['ring'\] are zero or not finite"):
        teacher('Deaf')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            dict(model='Textless'),
            'Textless is not a dual encoder; it lacks scale, encode_text, encode_loc',
        ),
        (dict(model='Nobody'), r"model.type='Nobody' is unknown; choose from .*'Encoder'"),
        (dict(weights_file='x.pth'), r"weights_file='x.pth' must be None: the class of model=.* loads"),
        (dict(extractor=dict(type='clearclip')), "no extractor reads this model's image tower"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        teacher(**arguments)


def test_its_extractor_reads_no_other_model(teacher_folder):
    with pytest.raises(ValueError, match="'own-locations' reads a dual encoder of your own"):
        VLMAttentionTeacher(teacher_folder('vit'), extractor=dict(type='own-locations'), concepts=NAMES)
