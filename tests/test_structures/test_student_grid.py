"""`StudentGrid`: the grid of a backbone's locations over any images, and what they cover."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfi.models import InteractionQueryViT
from lfi.structures import StudentGrid

sides, patches = st.integers(1, 100), st.integers(1, 20)


def backbone(stride, padded=True):
    """Patches of a stride, which pad images or leave the rest out."""

    def patch_grid(height, width):
        ends = [-(-n // each) if padded else n // each for n, each in zip((height, width), stride)]
        return ends[0], ends[1]

    return SimpleNamespace(patch_grid=patch_grid, patch_stride=stride)


@given(size=st.tuples(sides, sides), stride=st.tuples(patches, patches))
def test_the_canvas_is_whole_patches_and_holds_the_images(size, stride):
    grid = StudentGrid.of(backbone(stride), size)
    for side, canvas, cells, patch in zip(size, grid.canvas, grid.shape, stride):
        assert canvas == cells * patch
        assert side <= canvas < side + patch


@given(size=st.tuples(sides, sides), stride=st.tuples(patches, patches))
def test_images_that_end_where_locations_do_overhang_nothing(size, stride):
    grid = StudentGrid.of(backbone(stride), size)
    if all(side % patch == 0 for side, patch in zip(size, stride)):
        assert grid.canvas == size and grid.refuse_overhang(size) is None
        return
    message = (
        f'^images of {size[0]} x {size[1]} pixels end within a location of {stride[0]} x {stride[1]} pixels '
        'of the student, .* in train_pipeline to a multiple$'
    )
    with pytest.raises(ValueError, match=message):
        grid.refuse_overhang(size)


@given(size=st.tuples(sides, sides), stride=st.tuples(patches, patches))
def test_images_that_reach_beyond_the_patches_are_refused(size, stride):
    plain = backbone(stride, padded=False)
    if all(side % patch == 0 for side, patch in zip(size, stride)):
        assert StudentGrid.of(plain, size).canvas == size
        return
    message = rf'reach beyond .*: resize or crop them to a multiple of {stride[0]} x {stride[1]}, or'
    with pytest.raises(ValueError, match=message):
        StudentGrid.of(plain, size)


@given(size=st.tuples(sides, sides))
def test_a_backbone_without_patches_covers_each_image(size):
    grid = StudentGrid.of(SimpleNamespace(patch_grid=lambda height, width: (3, 5)), size)
    assert grid == StudentGrid((3, 5), size)


@pytest.mark.parametrize(('size', 'shape'), [((32, 32), (4, 4)), ((40, 36), (5, 5)), ((33, 8), (5, 1))])
def test_a_vits_grid_is_that_of_its_patches(size, shape):
    arch = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
    vit = InteractionQueryViT(arch, img_size=32, patch_size=8)
    assert StudentGrid.of(vit, size) == StudentGrid(shape, (8 * shape[0], 8 * shape[1]))
