"""`InteractionQueryAdapter` against the plain backbones, bit for bit, and against a written-out reading."""

import copy
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from asked import ask, images, questions, set_mode
from lfi.models.adapters import InteractionQueries
from lfi.registry import MODELS
from small_backbones import BACKBONES, NARROW, build
from torch import nn


def assert_as_built(adapted):
    """The projections begin as PyTorch's layers do."""
    for layer in adapted.interaction.layers:
        for part in (layer.project_map, layer.attn.qkv, layer.attn.proj):
            bound = part.weight.shape[1] ** -0.5
            assert 0.8 * bound < part.weight.abs().max() <= bound
            assert 0 < part.bias.abs().max() <= bound


def open_gates(backbone):
    for layer in backbone.interaction.layers:
        nn.init.constant_(layer.query_gate, 0.5)


# ---- equal to the plain backbone --------------------------------------------------------------------


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('num_queries', [0, 3])
@pytest.mark.parametrize('training', [False, True])
def test_outputs_equal_the_plain_backbones_bit_for_bit(make_pair, name, num_queries, training):
    plain, adapted = make_pair(name, num_queries=num_queries)
    set_mode(training, plain, adapted)
    x = images(2, 3, 64, 96)
    # Buffers of norms move in training: each pass begins from the same ones.
    before = copy.deepcopy(plain.state_dict())
    torch.manual_seed(0)
    expected = plain(x)
    for starts in (None, questions(4)):
        adapted.load_state_dict(before, strict=False)
        torch.manual_seed(0)
        got = adapted(x) if starts is None else ask(adapted, x, starts)[0]
        assert type(got) is type(expected) and len(got) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(got, expected))
    for name, value in plain.state_dict().items():
        assert torch.equal(adapted.state_dict()[name], value), name


@pytest.mark.parametrize('name', BACKBONES)
def test_it_is_the_backbone_with_its_own_names(make_pair, name):
    plain, adapted = make_pair(name)
    assert isinstance(adapted, type(plain)) and isinstance(adapted, InteractionQueries)
    own = [key for key in adapted.state_dict() if not key.startswith('interaction.')]
    assert own == list(plain.state_dict())
    assert adapted.training == plain.training


def test_published_weights_load_by_the_backbones_own_init_cfg(tmp_path):
    torch.manual_seed(3)
    plain = build(BACKBONES['mmdet_resnet']['backbone'])
    torch.save(
        dict(state_dict={f'backbone.{k}': v for k, v in plain.state_dict().items()}), tmp_path / 'r.pth'
    )
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'r.pth'), prefix='backbone.')
    cfg = dict(BACKBONES['mmdet_resnet']['backbone'], init_cfg=init_cfg)
    adapted = build(dict(type='lfi.InteractionQueryAdapter', backbone=cfg, query_dims=16, probe_size=64))
    before = copy.deepcopy(adapted.interaction.state_dict())
    adapted.init_weights()
    assert all(torch.equal(adapted.state_dict()[key], value) for key, value in plain.state_dict().items())
    after = adapted.interaction.state_dict()
    changed = [key for key, value in before.items() if not torch.equal(after[key], value)]
    assert all('project_map' in key or 'attn' in key for key in changed)
    assert_as_built(adapted)


def test_frozen_stages_and_norm_eval_hold(make_adapted):
    adapted = make_adapted('mmdet_resnet')
    adapted.train()
    assert not any(p.requires_grad for p in adapted.layer1.parameters())
    assert not any(m.training for m in adapted.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(p.requires_grad for p in adapted.interaction.parameters())


def test_an_unscoped_type_is_of_the_default_scope():
    from mmengine.registry import DefaultScope

    backbone = dict(type='ResNet', depth=18, **dict(stem_channels=8, base_channels=8))
    cfg = dict(type='lfi.InteractionQueryAdapter', backbone=backbone, query_dims=16, probe_size=64)
    with DefaultScope.overwrite_default_scope('mmdet'):
        assert type(MODELS.build(cfg)).__bases__[1].__module__.startswith('mmdet.')


# ---- what queries do --------------------------------------------------------------------------------


def attend(of, keys, values, n_heads):
    """Attention head by head of (n, C) over (m, C): what is read (n, C), and the mean of the shares."""
    dims = of.shape[1] // n_heads
    read, shares = [], []
    for h in range(n_heads):
        own = slice(h * dims, (h + 1) * dims)
        shares.append((of[:, own] @ keys[:, own].T / dims**0.5).softmax(-1))
        read.append(shares[-1] @ values[:, own])
    return torch.cat(read, 1), torch.stack(shares).mean(0)


def slow_layer(layer, feature, x, queries, asked, grid):
    """A layer on one image, written out query by query."""
    weight = layer.project_map.weight.flatten(1)
    own = (weight @ feature.flatten(1) + layer.project_map.bias[:, None]).unflatten(1, feature.shape[1:])
    # Where the middle of each of the grid's locations lies in the map, in locations of the map.
    scale = layer.scale
    rows, columns = (((torch.arange(n) + 0.5) / r) * 2 for n, r in zip(grid, scale))
    points = torch.stack(torch.meshgrid(rows / feature.shape[1], columns / feature.shape[2], indexing='ij'))
    points = points.flip(0).movedim(0, -1)[None] - 1  # [1, H, W, (x, y)]
    own = F.grid_sample(own[None], points, padding_mode='border', align_corners=False)[0]
    x = own.flatten(1).T + (0 if x is None else x)

    def qkv(tokens):
        normed = F.layer_norm(tokens, tokens.shape[1:], layer.ln1.weight, layer.ln1.bias)
        return (normed @ layer.attn.qkv.weight.T + layer.attn.qkv.bias).chunk(3, 1)

    q, k, v = qkv(x)
    out, heads = layer.attn.proj, layer.attn.num_heads
    answers, maps = [], []
    for one in asked:
        q1, k1, v1 = qkv(one[None])
        read, _ = attend(q1, torch.cat((k, k1)), torch.cat((v, v1)), heads)
        answers.append(one + out(read)[0])
        maps.append(attend(q1, k, v, heads)[1][0])
    q2, k2, v2 = qkv(queries)
    read, _ = attend(q2, torch.cat((k, k2)), torch.cat((v, v2)), heads)
    written = out(attend(q, k2, v2, heads)[0]).T.unflatten(1, grid)
    pooled = torch.zeros(written.shape[0], *feature.shape[1:])
    for i, j in itertools.product(*map(range, feature.shape[1:])):
        there = written[:, i * scale[0] : (i + 1) * scale[0], j * scale[1] : (j + 1) * scale[1]]
        pooled[:, i, j] = there.mean((1, 2))
    feature = feature + layer.query_gate.tanh() * torch.einsum('cd,chw->dhw', weight, pooled)
    return feature, x, queries + out(read), torch.stack(answers), torch.stack(maps)


# Of the second size the coarser map ends 16 pixels further down and to the right.
@torch.no_grad()
@pytest.mark.parametrize(('size', 'grid'), [((64, 96), (4, 6)), ((40, 75), (3, 5))])
def test_layers_and_records_equal_a_written_out_reference(make_pair, size, grid):
    plain, adapted = make_pair('resnet', num_queries=3)
    set_mode(False, plain, adapted)
    open_gates(adapted)
    x, starts = images(2, 3, *size), questions(2, 4)
    outs, states = ask(adapted, x, starts)
    assert states.grid == adapted.patch_grid(*size) == grid and states.layers == (0, 1)
    for b in range(2):
        tokens, queries, asked = None, adapted.interaction.queries[0], starts[b]
        for i, feature in enumerate(plain(x[b : b + 1])):
            layer = adapted.interaction.layers[i]
            feature, tokens, queries, asked, maps = slow_layer(
                layer, feature[0], tokens, queries, asked, states.grid
            )
            torch.testing.assert_close(outs[i][b], feature, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(states.tokens[i][b], tokens, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(states.attention[i][b], maps, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(states.asked_queries[b], asked, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('name', ['resnet', 'swin', 'convnext'])
def test_an_answer_depends_on_its_own_question_alone(make_adapted, name):
    adapted = make_adapted(name)
    set_mode(False, adapted)
    x, starts = images(2, 3, 64, 64), questions(5)
    together = ask(adapted, x, starts)[1]
    backwards = ask(adapted, x, starts.flip(0))[1]
    for i in range(5):
        alone = ask(adapted, x, starts[i : i + 1])[1]
        for states, place in ((together, i), (backwards, 4 - i)):
            torch.testing.assert_close(
                alone.asked_queries[:, 0], states.asked_queries[:, place], rtol=0, atol=1e-5
            )
            for a, b in zip(alone.attention, states.attention):
                torch.testing.assert_close(a[:, 0], b[:, place], rtol=0, atol=1e-5)


@torch.no_grad()
def test_maps_named_by_modules_are_the_outputs(make_adapted):
    by_outputs, by_names = make_adapted('resnet'), make_adapted('resnet_by_names')
    by_names.load_state_dict(by_outputs.state_dict())
    set_mode(False, by_outputs, by_names)
    x, starts = images(2, 3, 64, 64), questions(3)
    expected, got = ask(by_outputs, x, starts)[1], ask(by_names, x, starts)[1]
    assert torch.equal(expected.asked_queries, got.asked_queries)
    assert all(torch.equal(a, b) for a, b in zip(expected.tokens, got.tokens))


@torch.no_grad()
def test_what_is_written_into_a_module_reaches_the_later_ones(make_adapted):
    adapted = make_adapted('resnet_by_names', num_queries=3)
    set_mode(False, adapted)
    x = images(2, 3, 64, 64)
    before = adapted(x)[0]
    nn.init.constant_(adapted.interaction.layers[0].query_gate, 0.5)
    assert (adapted(x)[0] - before).abs().max() > 1e-3


@torch.no_grad()
def test_queries_read_no_padding(make_adapted):
    adapted = make_adapted('resnet', num_queries=3)
    set_mode(False, adapted)
    x = images(2, 3, 64, 96)
    with adapted.hide_padding([(64, 96), (32, 50)]):
        states = ask(adapted, x, questions(3))[1]
    shown = torch.zeros(4, 6, dtype=torch.bool)
    shown[:2, :4] = True
    assert torch.equal(states.valid[1].view(4, 6), shown) and states.valid[0].all()
    for attention in states.attention:
        assert attention[1][:, ~shown.flatten()].abs().max() == 0
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3))


def test_all_that_is_added_learns_from_answers_and_outputs(make_adapted):
    adapted = make_adapted('resnet', num_queries=3)
    open_gates(adapted)
    outs, states = ask(adapted, images(2, 3, 64, 64), questions(3))
    parts = (states.asked_queries, *states.attention, states.tokens[-1], *outs)
    sum((part * images(*part.shape, seed=9)).sum() for part in parts).backward()
    for name, parameter in adapted.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_half_precision_records_attention_in_float32(make_adapted):
    adapted = make_adapted('resnet')
    with torch.autocast('cpu', torch.bfloat16):
        states = ask(adapted, images(2, 3, 64, 64), questions(3).bfloat16())[1]
    for attention in states.attention:
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3))


def test_the_backbones_rule_for_its_layers_is_not_for_what_reads_them():
    rule = dict(type='Normal', std=0.001, layer=['Conv2d', 'Linear'])
    backbone = dict(type='mmpretrain.ResNet', depth=18, init_cfg=rule)
    adapted = build(dict(type='lfi.InteractionQueryAdapter', backbone=backbone))
    stem = adapted.conv1.weight.clone()
    adapted.init_weights()
    assert not torch.equal(adapted.conv1.weight, stem)
    assert_as_built(adapted)


@torch.no_grad()
def test_a_copy_is_asked_by_itself(make_adapted):
    adapted = make_adapted('resnet_by_names')
    set_mode(False, adapted)
    copied = copy.deepcopy(adapted)
    x, starts = images(1, 3, 64, 64), questions(2)
    for parameter in adapted.interaction.parameters():
        parameter.zero_()
    assert ask(copied, x, starts)[1].tokens[-1].abs().max() > 0
    assert ask(adapted, x, starts)[1].tokens[-1].abs().max() == 0


def test_a_copy_of_a_compiled_one_has_its_own_weights(make_adapted):
    adapted = make_adapted('resnet')
    adapted.compile(backend='eager')
    assert copy.deepcopy(adapted)._compiled_call_impl is None


@pytest.mark.parametrize('name', ['resnet', 'resnet_by_names'])
def test_it_goes_through_pickle(make_adapted, name):
    adapted = make_adapted(name)
    set_mode(False, adapted)
    again = pickle.loads(pickle.dumps(adapted))
    x, starts = images(1, 3, 64, 64), questions(2)
    assert torch.equal(ask(adapted, x, starts)[1].asked_queries, ask(again, x, starts)[1].asked_queries)


# ---- what cannot be adapted -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(query_dims=10, num_heads=4), 'query_dims=10 must be a multiple of num_heads=4'),
        (dict(num_queries=-1), 'num_queries=-1 must be a whole number of 0 or more'),
        (dict(reads=(3, 2)), r'reads=\[3, 2\] must be increasing indices of the 2 outputs'),
        (dict(reads=('layer9',)), "reads=.* has 'layer9', which is not a module of ResNet; it has"),
        (dict(reads='layer4'), "reads='layer4' must be a list of output indices, or a list of module names"),
        (dict(reads=('layer3', 1)), r"reads=\('layer3', 1\) must be a list of output indices, or"),
        (dict(probe_size=70), r'maps of \(3, 3\) for images of \(70, 70\) pixels: set probe_size'),
        (
            dict(backbone=dict(type='lfi.InteractionQueryViT', arch='deit-tiny')),
            'has queries of its own: use it without the adapter',
        ),
    ],
)
def test_what_cannot_be_adapted_says_why(make_adapted, options, message):
    with pytest.raises(ValueError, match=message):
        make_adapted('resnet', **options)


class TwoVectors(nn.Module):
    """A backbone that gives no maps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.gap = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return (self.gap(self.conv(x)).flatten(1),)


@pytest.fixture(autouse=True)
def two_vectors():
    for module in (TwoVectors, NamedMaps, Skips):
        MODELS.register_module(module=module, force=True)
    yield
    for module in (TwoVectors, NamedMaps, Skips):
        MODELS.module_dict.pop(module.__name__)


class NamedMaps(nn.Module):
    """A backbone of a fixed size that gives maps by their names, and has a layer that it does not run."""

    def __init__(self):
        super().__init__()
        self.conv, self.idle = nn.Conv2d(3, 4, 8, 8), nn.Conv2d(3, 4, 8, 8)
        self.position = nn.Parameter(torch.zeros(1, 4, 4, 4))

    def forward(self, x):
        return {'last': self.conv(x) + self.position}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(probe_size=32), r"NamedMaps returns a dict, .* names of its modules.* \['conv', 'idle'\]"),
        (dict(probe_size=32, reads=('conv', 'idle')), "has 'idle', which NamedMaps does not run"),
        (
            dict(reads=('conv',)),
            r'NamedMaps does not accept a blank image of .* \(64, 64\) pixels \(RuntimeError: .*set probe',
        ),
    ],
)
def test_what_a_backbone_cannot_give_is_refused_when_it_is_built(make_adapted, options, message):
    with pytest.raises(ValueError, match=message):
        make_adapted(backbone=dict(type='lfi.NamedMaps'), **options)


def test_a_backbone_for_grey_images_is_refused(make_adapted):
    grey = dict(type='mmpretrain.ResNet', depth=18, in_channels=1, **NARROW)
    with pytest.raises(
        ValueError, match='blank image of 3 channels and .*: build it for images of 3 channels'
    ):
        make_adapted(backbone=grey)


def test_a_dict_of_maps_is_read_by_modules(make_adapted):
    adapted = make_adapted(backbone=dict(type='lfi.NamedMaps'), probe_size=32, reads=('conv',))
    outs, states = ask(adapted, images(1, 3, 32, 32), questions(2))
    assert outs['last'].shape == (1, 4, 4, 4) and states.grid == (4, 4)


def test_vectors_are_no_maps(make_adapted):
    with pytest.raises(ValueError, match=r"reads=0 of TwoVectors gives \(1, 4\), .* out_type='featmap'"):
        make_adapted(backbone=dict(type='lfi.TwoVectors'))


def test_a_size_at_which_a_backbone_rounds_down_is_refused(make_adapted):
    adapted = make_adapted('convnext')
    with pytest.raises(
        ValueError, match=r"'stages.2' gives .* \(70, 64\) pixels.* pad_size_divisor .* multiple of 16"
    ):
        ask(adapted, images(1, 3, 70, 64), questions(1))


@pytest.mark.parametrize('num_queries', [0, 2])
def test_a_map_inside_a_block_that_keeps_no_activations_is_refused(make_adapted, num_queries):
    cfg = dict(type='mmpretrain.ResNet', depth=18, with_cp=True, **NARROW)
    adapted = make_adapted(backbone=cfg, reads=('layer3.1.conv2', 'layer4.1.conv2'), num_queries=num_queries)
    adapted.train()
    x, starts = images(2, 3, 64, 64).requires_grad_(), questions(2)
    with pytest.raises(ValueError, match=r"reads='layer3.1.conv2' is computed without gradients.*with_cp"):
        ask(adapted, x, starts)
    with torch.no_grad():
        assert ask(adapted, x, starts)[1].asked_queries.isfinite().all()


def test_whole_stages_of_blocks_that_keep_no_activations_learn_as_ever(make_adapted):
    grads = []
    for with_cp in (False, True):
        cfg = dict(type='mmpretrain.ResNet', depth=18, with_cp=with_cp, **NARROW)
        adapted = make_adapted(backbone=cfg, reads=('layer3', 'layer4'))
        adapted.train()
        ask(adapted, images(2, 3, 64, 64).requires_grad_(), questions(2))[
            1
        ].asked_queries.square().sum().backward()
        grads.append({name: value.grad for name, value in adapted.named_parameters()})
    assert any(name.startswith('interaction.') and grad is not None for name, grad in grads[0].items())
    for name, grad in grads[0].items():
        assert torch.equal(grad, grads[1][name]) if grad is not None else grads[1][name] is None


class Skips(nn.Module):
    """A backbone that may pass a module by."""

    def __init__(self):
        super().__init__()
        self.conv, self.by_itself = nn.Conv2d(3, 4, 8, 8), True

    def forward(self, x):
        return (self.conv(x) if self.by_itself else self.conv.forward(x),)


def test_a_map_that_does_not_come_is_named(make_adapted):
    adapted = make_adapted(backbone=dict(type='lfi.Skips'), reads=('conv',))
    adapted.by_itself = False
    with pytest.raises(ValueError, match=r'gave 0 of the 1 maps of reads=.*: .*bypasses modules'):
        ask(adapted, images(1, 3, 32, 32), questions(1))
