"""Padding has no say."""

import pytest
import torch
import torch.nn.functional as F
from small_students import batch


def test_only_the_valid_area_is_compared(make_classifier):
    model = make_classifier().eval()
    inputs, samples = batch((40, 32), shapes=[(24, 16), (40, 32), (35, 13)])
    maps, student = model.predict_interactions(inputs, samples)
    assert maps.grid == student.grid == (5, 4)
    for valid, (rows, columns) in zip(maps.valid, [(3, 2), (5, 4), (4, 2)]):
        # A patch is valid where half of it shows the image: 35 and 13 pixels are 4.4 and 1.6 patches.
        expected = torch.zeros(5, 4, dtype=torch.bool)
        expected[:rows, :columns] = True
        assert torch.equal(valid, expected)
    assert torch.equal(student.valid, maps.valid)
    assert not student.spatial_log_probs().exp()[0][..., ~maps.valid[0]].any()

    # The first image's six patches tile its area: the teacher's 4 x 4 maps, read on 3 x 2.
    alone = model.teacher(
        inputs[:1, :, :24, :16], model.pixel_format, model.concept_labels(samples[:1], inputs.device)
    )
    expected = alone.resize((3, 2)).logits[:, 0]
    torch.testing.assert_close(maps.logits[:1, 0, :, :3, :2], expected, rtol=1e-4, atol=1e-4)


def test_the_model_goes_by_the_sizes_and_pixels_that_its_images_have(make_classifier):
    model = make_classifier().eval()
    inputs, samples = batch((32, 32), shapes=[(8, 8)] * 3)
    raw = dict(inputs=(20 * inputs + 120).byte(), data_samples=samples)
    data = model.data_preprocessor(raw, False)
    maps, _ = model.predict_interactions(data['inputs'], data['data_samples'])
    assert maps.valid.all()
    with pytest.raises(ValueError, match='an online teacher needs'):
        make_classifier().data_preprocessor({**raw, 'inputs': inputs}, False)


def test_the_teachers_maps_and_labels_do_not_depend_on_padded_pixels(make_classifier):
    model = make_classifier().eval()
    inputs, samples = batch((40, 32), shapes=[(24, 16), (40, 32), (40, 24)])
    other = inputs.clone()
    other[0, :, 24:] = 9
    other[0, :, :, 16:] = 9
    other[2, :, :, 24:] = -9
    first, second = (model.predict_interactions(x, samples)[0] for x in (inputs, other))
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.presence, second.presence)
    losses = model.train().loss(other, samples)
    assert all(value.isfinite() for value in losses.values())


def test_patches_that_reach_beyond_the_image_show_padding(make_classifier):
    model = make_classifier().eval()
    inputs, samples = batch((28, 20))
    maps = model.predict_interactions(inputs, samples)[0]
    padded = F.pad(inputs, (0, 4, 0, 4))
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(28, 20)))
    expected = model.predict_interactions(padded, samples)[0]
    assert maps.grid == (4, 3)
    torch.testing.assert_close(maps.logits, expected.logits)
    assert torch.equal(maps.valid, expected.valid)
