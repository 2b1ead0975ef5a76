"""`ConvStem` against its layers written out, and in `InteractionQueryViT`."""

import copy

import pytest
import torch
import torch.nn.functional as F
from lfi.models.backbones import ConvStem
from lfi.registry import MODELS
from lfi.structures import StudentGrid

SIZES = [(32, 32), (40, 48), (33, 31), (1, 7), (57, 64)]
STEM = dict(type='lfi.ConvStem')


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_stem_is_its_convolutions_one_after_another():
    torch.manual_seed(0)
    stem = ConvStem(patch_size=8, embed_dims=128)
    assert [layer.out_channels for layer in stem.layers] == [24, 48, 96]
    x = images(2, 3, 40, 24)
    expected = x
    for layer in stem.layers:
        assert layer.conv.bias is None
        y = F.conv2d(expected, layer.conv.weight, stride=2, padding=1)
        mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), unbiased=False, keepdim=True)
        expected = ((y - mean) / (variance + layer.norm.eps).sqrt()).clamp_min(0)
    weight, bias = stem.projection.weight[..., 0, 0], stem.projection.bias
    expected = torch.einsum('bchw,oc->bhwo', expected, weight) + bias
    tokens, grid = stem(x)
    assert grid == (5, 3)
    torch.testing.assert_close(tokens, expected.flatten(1, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('patch_size', [2, 4, 16, (8, 8)])
@pytest.mark.parametrize('size', SIZES)
def test_the_grid_is_that_of_the_plain_projection(make_student, patch_size, size):
    plain, ours = (make_student(patch_size=patch_size, num_queries=0, stem=stem) for stem in (None, STEM))
    tokens, grid = ours.patch_embed.eval()(images(1, 3, *size))
    assert grid == plain.patch_embed(images(1, 3, *size))[1]
    assert grid == ours.patch_grid(*size) == plain.patch_grid(*size)
    assert tokens.shape == (1, grid[0] * grid[1], 16)
    assert ours.patch_stride == plain.patch_stride
    assert ours.patch_resolution == plain.patch_resolution
    assert StudentGrid.of(ours, size) == StudentGrid.of(plain, size)


def test_images_beyond_the_patches_are_refused(make_student):
    student = make_student(num_queries=0, patch_cfg=dict(padding=0))
    assert StudentGrid.of(student, (40, 32)).canvas == (40, 32)
    with pytest.raises(ValueError, match='images of 40 x 39 .* cover 40 x 32: .*multiple of 8 x 8, or leave'):
        StudentGrid.of(student, (40, 39))


@pytest.mark.parametrize('padding', [0, 1, 'corner'])
def test_patch_grid_knows_the_projections_own_padding(make_student, padding):
    student = make_student(num_queries=0, patch_cfg=dict(padding=padding, kernel_size=9, stride=5))
    for size in SIZES[:3]:
        assert student.patch_grid(*size) == student.patch_embed(images(1, 3, *size))[1]


@pytest.mark.parametrize('size', SIZES[:3])
def test_the_backbone_runs_on_the_stems_tokens(make_student, size):
    student = make_student(stem=STEM, out_type='featmap', with_cls_token=False)
    x = images(2, 3, *size)
    with student.record_interactions() as record:
        (out,) = student(x)
    assert out.shape[-2:] == record.states.grid == student.patch_grid(*size)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student.patch_embed.parameters())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(patch_size=12), r'patch_size=\(12, 12\) must be a power of two above 1'),
        (dict(patch_size=1), r'patch_size=\(1, 1\) must be a power of two'),
        (dict(patch_size=(8, 4)), r'patch_size=\(8, 4\) must be a power of two'),
        (dict(stem=dict(STEM, patch_size=4)), r'has a grid of \(8, 8\), and the backbone one of \(4, 4\)'),
    ],
)
def test_what_is_no_stem_is_refused(make_student, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_student(**{'stem': STEM, **arguments})


def test_a_frozen_stem_learns_nothing_and_keeps_its_statistics(make_student):
    student = make_student(stem=STEM, frozen_stages=1).train()
    before = copy.deepcopy(student.patch_embed.state_dict())
    student(images(2, 3, 32, 32))[0].sum().backward()
    assert all(not p.requires_grad and p.grad is None for p in student.patch_embed.parameters())
    for name, value in student.patch_embed.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_stem_is_as_deep_as_the_projection(make_student):
    student = make_student(stem=STEM)
    names = [name for name, _ in student.named_parameters() if name.startswith('patch_embed')]
    assert len(names) == 11
    assert {student.get_layer_depth(name) for name in names} == {(0, 6)}


def test_first_weights_are_finite_and_seeded(make_student):
    outputs = []
    for _ in range(2):
        student = make_student(stem=STEM)
        torch.manual_seed(3)
        student.init_weights()
        outputs.append(student.eval()(images(1, 3, 32, 32))[0])
    assert torch.equal(*outputs)
    assert outputs[0].isfinite().all()


def test_the_stem_compiles_in_one_graph(make_student):
    arch = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
    student = make_student(arch=arch, stem=STEM, with_cls_token=False, out_type='avg_featmap').eval()
    compiled = torch.compile(student, backend='eager', fullgraph=True)
    for size in SIZES[:3]:
        x = images(2, 3, *size)
        torch.testing.assert_close(compiled(x)[0], student(x)[0])


def test_the_stem_is_registered():
    assert MODELS.get('lfi.ConvStem') is ConvStem
