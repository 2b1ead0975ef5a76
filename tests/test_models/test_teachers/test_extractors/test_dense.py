"""Dense features of CNNs, against their locations one by one."""

import pytest
import torch
import torch.nn.functional as F
from lfi.models.teachers.extractors import LocationsExtractor
from lfi.models.teachers.loading.weights import load_vlm
from slow_vit import random, unit_texts


@pytest.mark.parametrize('trunk', ['cnn_test_efficientnet', 'cnn_test_resnet'])
def test_dense_maps_put_each_location_through_the_head_and_average_to_the_towers_cosine(load_tower, trunk):
    visual = load_tower(trunk)
    images, texts = random(2, 3, 96, 64), unit_texts()
    with torch.no_grad():
        maps, pooled = LocationsExtractor(visual)(images, texts)
        features = visual.trunk.forward_features(images)
        own = visual(images)
    assert maps.shape == (2, 1, 5, *features.shape[-2:])
    torch.testing.assert_close(pooled, F.normalize(own, dim=-1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps.mean((1, 3, 4)), F.normalize(own, dim=-1) @ texts.T, rtol=1e-3, atol=1e-5)
    head = visual.head.proj
    for b in range(2):
        for y in range(features.shape[-2]):
            for x in range(features.shape[-1]):
                location = head.weight @ features[b, :, y, x]
                expected = texts @ location / own[b].norm()
                torch.testing.assert_close(maps[b, 0, :, y, x], expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_trunk_that_projects_by_its_own_head_is_read_through_it(load_tower):
    visual = load_tower('cnn_own_head')
    images = random(2, 3, 96, 64)
    locations, pooled = LocationsExtractor(visual).features(images)
    features = visual.trunk.forward_features(images)
    own = visual(images)
    torch.testing.assert_close(pooled, own, rtol=1e-4, atol=1e-5)
    expected = visual.trunk.fc(features[0, :, 1, 0]) / own[0].norm()
    torch.testing.assert_close(locations[0, 0, :, 1, 0], expected, rtol=1e-3, atol=1e-5)


def test_dense_maps_move_with_an_object_that_moves_by_the_stride(load_tower):
    extractor = LocationsExtractor(load_tower('cnn_test_resnet'))
    background = torch.zeros(1, 3, 384, 384)
    thing = 2 * random(3, 24, 24)
    maps = []
    with torch.no_grad():
        for top, left in ((None, None), (148, 148), (180, 212)):
            image = background.clone()
            if top is not None:
                image[0, :, top : top + 24, left : left + 24] = thing
            locations, pooled = extractor.features(image)
            # Undo the division by the picture's own length, so that pictures can be subtracted.
            maps.append(locations[0, 0] * pooled.norm())
    at_first, at_second = maps[1] - maps[0], maps[2] - maps[0]
    assert at_first.abs().max() > 1e-2
    # One cell down, two cells right.
    torch.testing.assert_close(at_second, at_first.roll((1, 2), (1, 2)), rtol=1e-3, atol=1e-5)


def test_dense_maps_of_a_trained_teacher_average_to_the_models_own_cosine(lite0_folder):
    vlm, tokenizer = load_vlm(lite0_folder, None, allow_random=False)
    images = random(1, 3, 224, 224).clamp(-1, 1)
    with torch.no_grad():
        texts = vlm.encode_text(tokenizer(['a dog', 'a red sports car', 'a mushroom']), normalize=True)
        maps, _ = LocationsExtractor(vlm.visual)(images, texts)
        expected = vlm.encode_image(images, normalize=True) @ texts.T
    assert maps.shape == (1, 1, 3, 7, 7)
    torch.testing.assert_close(maps.mean((1, 3, 4)), expected, rtol=1e-3, atol=1e-4)
