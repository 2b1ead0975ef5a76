"""`InteractionQueryViT` for dense tasks: windows, and images that padding fills up."""

import pytest
import torch
from lfi.models import InteractionQueryViT
from mmpretrain.models.backbones import VisionTransformer

DENSE = dict(with_cls_token=False, out_type='featmap')
ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)


def images(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('write_back', ['none', 'gated'])
@pytest.mark.parametrize('size', [(32, 32), (40, 56)])
@pytest.mark.parametrize('window_size', [None, 7])
def test_windows_that_hold_the_image_give_mmpretrains_vit_bit_for_bit(write_back, size, window_size):
    torch.manual_seed(0)
    plain = VisionTransformer(ARCH, img_size=32, patch_size=8, **DENSE)
    plain.eval()
    ours = InteractionQueryViT(
        ARCH,
        img_size=32,
        patch_size=8,
        num_queries=8,
        write_back=write_back,
        window_size=window_size,
        **DENSE,
    ).eval()
    missing = ours.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert all('quer' in name for name in missing)
    batch = images(2, 3, *size)
    with torch.no_grad():
        assert torch.equal(ours(batch)[0], plain(batch)[0])


def test_a_patch_in_windows_sees_its_window_alone_and_global_blocks_see_all(make_student):
    batch, other = images(1, 3, 32, 48), images(1, 3, 32, 48)
    other[..., 40:] += 1
    cases = [
        (dict(window_size=2, write_back='none'), False),
        (dict(window_size=2, global_attn_layers=[-1]), True),
    ]
    for arguments, seen in cases:
        student = make_student(**DENSE, **arguments).eval()
        with torch.no_grad():
            first, second = student(batch)[0], student(other)[0]
        # Windows of 2 x 2 patches of 8 pixels: the last one begins at column 4.
        assert torch.equal(first[..., :4], second[..., :4]) != seen
        assert not torch.equal(first[..., 4:], second[..., 4:])


def test_queries_read_all_patches_in_windowed_blocks_too(make_student):
    student = make_student(**DENSE, window_size=2, interaction_layers=[0])
    with student.record_interactions(images(5, 16)) as record:
        student(images(1, 3, 32, 48))
    (attention,) = record.states.attention
    assert attention.shape == (1, 5, 24)
    assert (attention > 0).all()


@pytest.mark.parametrize('write_back', ['none', 'gated'])
def test_what_lies_in_the_padding_changes_no_query(make_student, write_back):
    student = make_student(**DENSE, write_back=write_back)
    if write_back == 'gated':
        for layer in student.layers:
            torch.nn.init.constant_(layer.query_gate, 0.5)
    # Windows keep the patches of the first image from seeing its padding.
    for layer in student.layers:
        layer.window_size = 2
    batch = images(2, 3, 32, 32)
    other = batch.clone()
    other[0, :, 16:] = 5
    other[0, :, :, 16:] = -5
    states, learned = [], []
    student.layers[-1].register_forward_hook(lambda layer, args, out: learned.append(out[1]))
    questions = images(5, 16)
    for x in (batch, other):
        with (
            torch.no_grad(),
            student.hide_padding([(16, 16), (32, 32)]),
            student.record_interactions(questions) as record,
        ):
            features = student(x)[0]
        states.append((record.states, features))
    (first, features), (second, others) = states
    attention = torch.stack(first.attention, 1).unflatten(-1, (4, 4))  # [B, L, M, 4, 4]
    assert not attention[0, ..., 2:, :].any() and not attention[0, ..., 2:].any()
    torch.testing.assert_close(attention.sum((-2, -1)), torch.ones_like(attention[..., 0, 0]))
    assert (attention[1] > 0).all()
    assert torch.equal(first.asked_queries[0], second.asked_queries[0])
    assert torch.equal(learned[0][0], learned[1][0])
    assert torch.equal(features[0, :, :2, :2], others[0, :, :2, :2])


def test_images_without_padding_need_no_mask(make_student):
    student, batch = make_student(**DENSE), images(2, 3, 32, 32)
    with torch.no_grad(), student.hide_padding([(25, 32), (32, 26)]):
        # Every patch shows a part of its image.
        padded = student(batch)[0]
    with torch.no_grad():
        assert torch.equal(padded, student(batch)[0])


@pytest.mark.parametrize('window_size', [None, 3])
def test_checkpointing_and_compilation_change_nothing(make_student, window_size):
    batch = images(2, 3, 40, 32)
    arguments = dict(DENSE, arch=dict(ARCH, num_layers=2), window_size=window_size)
    plain = make_student(**arguments)
    saving = make_student(**arguments, with_cp=True)
    gradients = []
    for student in (plain, saving):
        with student.hide_padding([(40, 32), (24, 16)]):
            student.train()(batch)[0].square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients)
    compiled = torch.compile(plain, backend='eager', fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(batch)[0], plain(batch)[0])


@pytest.mark.parametrize('size', [(0, 32), (32, 0), (-1, 32)])
def test_a_padded_image_of_no_size_is_refused(make_student, size):
    student = make_student(**DENSE)
    message = rf'valid_sizes has \({size[0]}, {size[1]}\): heights and widths must be at least 1 pixel'
    with pytest.raises(ValueError, match=message), student.hide_padding([(32, 32), size]):
        pass
    assert student._valid_sizes is None


@pytest.mark.parametrize('sizes', [[(16, 16)], [(16, 16)] * 3, [], [(32, 32)]])
def test_other_numbers_of_sizes_than_of_images_are_refused(make_student, sizes):
    student = make_student(**DENSE)
    message = f'valid_sizes has {len(sizes)} sizes for a batch of 2 images'
    with student.hide_padding(sizes), pytest.raises(ValueError, match=message):
        student(images(2, 3, 32, 32))


def test_a_context_of_padding_within_another_ends_with_the_outer_one(make_student):
    student = make_student()
    with student.hide_padding([(16, 16)]):
        with student.hide_padding([(8, 8)]):
            assert student._valid_sizes == [(8, 8)]
        assert student._valid_sizes == [(16, 16)]
    assert student._valid_sizes is None


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(window_size=0, **DENSE), 'window_size=0 must be a whole number of 1 or more'),
        (dict(window_size=4), 'window_size=4 needs with_cls_token=False'),
        (dict(global_attn_layers=[4], **DENSE), r'global_attn_layers=\[4\] must name some of the 4 blocks'),
    ],
)
def test_an_argument_that_cannot_be_is_named(make_student, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_student(**arguments)


@torch.no_grad()
def test_a_projection_without_a_bias_of_its_own_sees_beyond_the_grid_too(make_student):
    """As that of mmpretrain's LoRA, which holds the layer that it replaces."""
    student = make_student(**DENSE, window_size=3)
    expected = student(images(1, 3, 32, 40))[0]
    for layer in student.layers:
        layer.attn.qkv = torch.nn.Sequential(layer.attn.qkv)
    assert torch.equal(student(images(1, 3, 32, 40))[0], expected)
