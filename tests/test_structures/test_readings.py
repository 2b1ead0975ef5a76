"""`TeacherReading` against the definitions, location by location."""

import math
from dataclasses import replace

import pytest
import torch
from lfi.structures import OTHER, InteractionMaps, TeacherReading
from lfi.structures.readings import PRESENCES, SPATIAL_READINGS


@pytest.fixture
def maps():
    """Two images, two layers, and three concepts of a bank of seven, on 3 x 4 locations."""
    generator = torch.Generator().manual_seed(0)
    valid = torch.rand(2, 3, 4, generator=generator) < 0.6
    valid[:, 1, 2] = True
    return InteractionMaps(
        logits=3 * torch.randn(2, 2, 4, 3, 4, generator=generator),
        presence=torch.rand(2, 4, generator=generator) * torch.tensor([1, 1, 1, 0]),
        valid=valid,
        concepts=torch.tensor([[5, 0, 2, OTHER], [1, 6, 4, OTHER]]),
        layers=(3, 7),
    )


@pytest.fixture
def labels():
    """Concept 2 of the first image, 3 of the second, which is asked about others."""
    labels = torch.zeros(2, 7)
    labels[0, 2] = labels[1, 3] = 1
    return labels


def share_by_hand(maps, image, layer, concept, row, column):
    scores = [float(score) for score in maps.logits[image, layer, :, row, column]]
    return math.exp(scores[concept]) / sum(math.exp(score) for score in scores)


def every(maps):
    b, n_layers, m, h, w = maps.logits.shape
    return (
        (i, n, c, y, x)
        for i in range(b)
        for n in range(n_layers)
        for c in range(m)
        for y in range(h)
        for x in range(w)
    )


@pytest.mark.parametrize('presence', PRESENCES)
def test_share_is_the_probability_among_the_bank(maps, presence):
    read = TeacherReading('concept_softmax', presence)(maps)
    for index in every(maps):
        assert read.spatial_logits[index].exp().item() == pytest.approx(share_by_hand(maps, *index), rel=1e-4)
    # What the concepts' direction reads stays.
    assert read.logits is maps.logits


def test_scores_are_the_logits(maps):
    read = TeacherReading('logits', 'image')(maps)
    assert read.spatial_logits is None and read.logits is maps.logits


@pytest.mark.parametrize('spatial_reading', SPATIAL_READINGS)
def test_the_best_location_is_valid_and_taken_from_each_layer(maps, spatial_reading):
    read = TeacherReading(spatial_reading, 'best-location')(maps)
    for image in range(2):
        for concept in range(3):
            best = [
                max(
                    share_by_hand(maps, image, layer, concept, y, x)
                    for y in range(3)
                    for x in range(4)
                    if maps.valid[image, y, x]
                )
                for layer in range(2)
            ]
            assert read.presence[image, concept].item() == pytest.approx(sum(best) / 2, rel=1e-4)
    assert read.presence[:, 3].tolist() == [0, 0]


def test_the_best_location_of_maps_of_all_concepts_and_of_none_that_is_valid(maps):
    maps = replace(maps, concepts=None, valid=maps.valid & torch.tensor([True, False])[:, None, None])
    presence = TeacherReading(presence='best-location')(maps).presence
    assert (presence[0] > 0).all() and presence[1].tolist() == [0, 0, 0, 0]


def test_presence_by_label_and_by_the_teacher_itself(maps, labels):
    by_label = TeacherReading('logits', 'label')
    assert by_label(maps).presence.tolist() == [[0] * 4] * 2
    assert by_label(maps, labels).presence.tolist() == [[0, 0, 1, 0], [0] * 4]
    assert torch.equal(TeacherReading('logits', 'image')(maps).presence, maps.presence)


@pytest.mark.parametrize('presence', PRESENCES)
def test_labels_raise_presence_to_themselves(maps, labels, presence):
    reading = TeacherReading('concept_softmax', presence)
    alone, read = reading(maps).presence, reading(maps, labels).presence
    assert read[0, 2] == 1
    # None of the second image's labels is asked about.
    kept = torch.tensor([True, True, False, True])
    assert torch.equal(read[0, kept], alone[0, kept]) and torch.equal(read[1], alone[1])


def test_reading_after_a_crop_is_reading_what_the_crop_shows(maps):
    """On the grid's own locations, nothing is interpolated: reading and cropping may change places."""
    maps = replace(maps, valid=torch.ones_like(maps.valid))
    # Rows 0 to 1 and columns 2 to 3 of 3 x 4.
    view = torch.tensor([[[0.5, 0, 0.5], [0, 2 / 3, -1 / 3]]]).expand(2, 2, 3)
    read = TeacherReading()(maps.warp(view, (2, 2)))
    there = replace(maps, logits=maps.logits[..., :2, 2:], valid=maps.valid[..., :2, 2:])
    expected = TeacherReading()(there)
    torch.testing.assert_close(read.spatial_logits, expected.spatial_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(read.presence, expected.presence, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('option', ['spatial_reading', 'presence'])
def test_an_unknown_option_is_refused(option):
    with pytest.raises(ValueError, match=f"{option}='loudest' is unknown; use one of "):
        TeacherReading(**{option: 'loudest'})


def test_what_a_teacher_cannot_be_read_by_is_refused():
    every_direction, one = ('spatial', 'semantic'), ('spatial',)
    TeacherReading('concept_softmax', 'best-location').check(every_direction)
    for presence in ('label', 'image'):
        TeacherReading('logits', presence).check(one)
    with pytest.raises(
        ValueError, match="spatial_reading='concept_softmax' .* set reading.spatial_reading='logits'"
    ):
        TeacherReading('concept_softmax', 'image').check(one)
    with pytest.raises(ValueError, match="presence='best-location' .* set reading.presence='image'"):
        TeacherReading('logits', 'best-location').check(one)
