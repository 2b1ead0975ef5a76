"""`BatchView`: what a batch says of its images, and that none is padded."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lfi.structures import (
    BatchMixture,
    BatchView,
    PixelFormat,
    Tiles,
    get_valid_sizes,
    labelled_rows,
    set_multi_hot_,
)
from lfi.structures.interaction_cache import StoredMaps
from mmengine.structures import BaseDataElement

SIZE = (32, 40)
WHOLE = torch.eye(2, 3)
sides = st.integers(1, 64)


def images(count=3):
    return torch.zeros(count, 3, *SIZE)


def sample(shape=SIZE, name='a.jpg', unlabelled=None, mixture=None, **fields):
    info = dict(img_shape=shape, img_path=name)
    if unlabelled is not None:
        info['unlabelled'] = unlabelled
    found = BaseDataElement(metainfo=info, **fields)
    if mixture is not None:
        found.set_field(mixture, 'mixture', field_type='metainfo')
    return found


def stored(tiles=None):
    return StoredMaps(np.zeros(1), 'digest', tiles)


def batch_of(*samples, **kwargs):
    return BatchView.of(images(len(samples)), samples, PixelFormat.raw(), **kwargs)


# ---- Sizes -----------------------------------------------------------------------------------------------


@given(shapes=st.lists(st.tuples(sides, sides), min_size=1, max_size=4))
def test_a_valid_size_is_the_images_in_its_batch(shapes):
    found = get_valid_sizes(images(len(shapes)), [sample(shape) for shape in shapes])
    # What was resized after its shape was noted is not larger than its batch.
    assert found == [(min(h, SIZE[0]), min(w, SIZE[1])) for h, w in shapes]


def test_channels_are_no_size_and_an_image_without_a_shape_fills_its_batch():
    shaped, unshaped = sample((16, 8, 3)), sample()
    del unshaped.img_shape
    assert get_valid_sizes(images(2), [shaped, unshaped]) == [(16, 8), SIZE]
    assert get_valid_sizes(images(2), None) == [SIZE, SIZE]


@given(shapes=st.lists(st.tuples(st.integers(1, 32), st.integers(1, 40)), min_size=1, max_size=4))
def test_padding_is_refused_by_its_smallest_image(shapes):
    batch = batch_of(*(sample(shape) for shape in shapes))
    padded = [shape for shape in shapes if shape != SIZE]
    if not padded:
        assert batch.refuse_padding() is None
        return
    height, width = min(padded)
    message = f'^an image of {height} x {width} pixels is padded to 32 x 40, .* in train_pipeline$'
    with pytest.raises(ValueError, match=message):
        batch.refuse_padding()


# ---- Labels ----------------------------------------------------------------------------------------------


@given(marks=st.lists(st.sampled_from([None, False, True]), min_size=1, max_size=6))
def test_rows_without_the_mark_have_a_label(marks):
    rows = [row for row, marked in enumerate(marks) if not marked]
    expected = None if len(rows) == len(marks) else rows
    samples = [sample(unlabelled=marked) for marked in marks]
    assert labelled_rows(samples) == batch_of(*samples).labelled == expected


@given(concepts=st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=4))
def test_labels_are_marked_in_place(concepts):
    labels = torch.zeros(len(concepts), 5)
    labels[0, 0] = 0.5
    expected = labels.tolist()
    for row, named in enumerate(concepts):
        for concept in named:
            expected[row][concept] = 1
    found = set_multi_hot_(labels, [torch.tensor(named, dtype=torch.long) for named in concepts])
    assert found is labels and labels.tolist() == expected


def test_labels_are_those_that_are_given():
    labels = torch.eye(2)
    assert batch_of(sample(), sample(), labels=labels).labels is labels
    assert batch_of(sample()).labels is None


# ---- What a pipeline has read and recorded ---------------------------------------------------------------


def test_a_batch_of_which_nothing_was_recorded():
    batch = batch_of(sample(name='a.jpg'), sample(name='b.jpg'))
    assert batch.names == 'a.jpg, b.jpg' and batch.size == SIZE
    assert (batch.stored, batch.views, batch.tiles, batch.mixture, batch.labelled) == (None,) * 5


def test_maps_and_views_are_there_where_all_images_have_them():
    both, maps, views = (
        dict(interaction_maps=stored(), view=WHOLE),
        dict(interaction_maps=stored()),
        dict(view=2 * WHOLE),
    )
    batch = batch_of(sample(**both), sample(**both))
    assert len(batch.stored) == 2 and batch.views.equal(torch.stack([WHOLE, WHOLE])) and batch.tiles is None
    batch = batch_of(sample(**both), sample(**maps))
    assert len(batch.stored) == 2 and batch.views is None
    batch = batch_of(sample(**both), sample(**views))
    assert batch.stored is None and batch.views.equal(torch.stack([WHOLE, 2 * WHOLE]))


def test_a_picture_of_one_image_beside_a_mosaic_is_a_whole_piece():
    halves = Tiles(torch.zeros(2, 2, 2), torch.stack([WHOLE, WHOLE]), (1.0, 1.0))
    mosaic, plain = (
        sample(interaction_maps=stored(halves), view=WHOLE),
        sample(interaction_maps=stored(), view=2 * WHOLE),
    )
    first, second = batch_of(mosaic, plain).tiles
    assert first is halves and second.views.equal(2 * WHOLE[None]) and second.shares == (1.0,)
    # Without views there is no telling.
    unrecorded = sample(interaction_maps=stored())
    assert batch_of(mosaic, unrecorded).tiles is None


def test_a_mixture_is_that_of_the_batch():
    mixture = BatchMixture(torch.tensor([1, 0]), SIZE, 0.25)
    assert batch_of(sample(mixture=mixture), sample(mixture=mixture)).mixture is mixture


def test_an_image_of_no_file_has_no_name():
    made = sample()
    del made.img_path
    assert batch_of(sample(), made).names == 'a.jpg, unknown'


# ---- Images as they are loaded ---------------------------------------------------------------------------


def test_raw_images_are_bytes_in_the_order_in_which_they_are_loaded():
    batch = BatchView.raw(images(2), [SIZE, (16, 8)], torch.ones(2, 4))
    assert batch.pixel_format == PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=False) == PixelFormat.raw()
    assert PixelFormat.raw(rgb=True).rgb
    assert batch.valid_sizes == [SIZE, (16, 8)] and batch.labels.shape == (2, 4)
    assert batch.labelled is None and batch.names == ''
