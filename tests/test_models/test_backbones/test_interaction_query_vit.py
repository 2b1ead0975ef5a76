"""`InteractionQueryViT` against mmpretrain's plain ViT, bit for bit, and against written-out blocks."""

import copy

import mmdet.registry
import mmengine.registry
import mmpretrain.registry
import pytest
import torch
import torch.nn.functional as F
from lfi.models import InteractionQueryViT, InteractionReadout
from mmpretrain.models.backbones import VisionTransformer

WRITE_BACKS = ('none', 'gated')


@pytest.fixture
def make_pair(make_student):
    """A plain ViT and ours with the same random weights, in the same mode."""

    def make(state_dict=None, **kwargs):
        ours = make_student(**kwargs)
        plain_arguments = {
            k: v for k, v in kwargs.items() if k not in ('write_back', 'num_queries', 'with_cp', 'persistent')
        }
        plain = VisionTransformer(ours.arch_settings, 32, 8, **plain_arguments)
        if state_dict is None:
            plain.load_state_dict(ours.state_dict(), strict=False)
            state_dict = plain.state_dict()
        plain.load_state_dict(copy.copy(state_dict))
        result = ours.load_state_dict(copy.copy(state_dict), strict=False)
        added = {'interaction_queries'} | {name for name in ours.state_dict() if 'query_gate' in name}
        assert set(result.missing_keys) == added
        assert not result.unexpected_keys
        set_mode(False, plain, ours)
        return plain, ours

    return make


def set_mode(training, *models):
    for model in models:
        # mmpretrain's own backbones return nothing here.
        model.train(training)


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def open_gates(student):
    for i, layer in enumerate(student.layers):
        torch.nn.init.constant_(layer.query_gate, 0.5 - 0.4 * i)


def added_names(student):
    return [name for name, _ in student.named_parameters() if 'query_gate' in name or 'queries' in name]


# ---- equal to the plain ViT -------------------------------------------------------------------------


@pytest.mark.parametrize('write_back', ['none', 'gated'])
@pytest.mark.parametrize(
    'arguments',
    [
        dict(),
        dict(out_type='raw', out_indices=[0, 2, -1], final_norm=False),
        dict(out_type='featmap', out_indices=[1, 3], pre_norm=True),
        dict(out_type='avg_featmap', final_norm=False, layer_scale_init_value=0.1),
        dict(out_type='avg_featmap', with_cls_token=False),
        dict(out_type='cls_token', pre_norm=True, qkv_bias=False, out_indices=[-2, -1]),
    ],
    ids=lambda a: ','.join(a.get('out_type', 'default') if k == 'out_type' else k for k in a) or 'default',
)
@pytest.mark.parametrize('size', [(32, 32), (40, 48)], ids=['img_size', 'other_size'])
def test_outputs_equal_the_plain_vit_bit_for_bit(make_pair, write_back, arguments, size):
    plain, ours = make_pair(write_back=write_back, **copy.deepcopy(arguments))
    x = images(2, 3, *size)
    for mode in (False, True):
        set_mode(mode, plain, ours)
        expected, got = plain(x), ours(x)
        assert len(got) == len(expected)
        for a, b in zip(expected, got):
            assert torch.equal(a, b)


@pytest.mark.parametrize('write_back', ['none', 'gated'])
@pytest.mark.parametrize('published_size', [16, 56])
def test_a_checkpoint_made_at_another_size_loads_as_in_the_plain_vit(make_pair, write_back, published_size):
    torch.manual_seed(1)
    arch = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
    published = VisionTransformer(arch, published_size, 8)
    published.init_weights()
    plain, ours = make_pair(state_dict=published.state_dict(), write_back=write_back)
    assert torch.equal(plain.pos_embed, ours.pos_embed)
    x = images(2, 3, 32, 32)
    assert torch.equal(plain(x)[0], ours(x)[0])


@pytest.mark.parametrize('write_back', ['none', 'gated'])
def test_gradients_of_shared_parameters_equal_those_of_the_plain_vit(make_pair, write_back):
    plain, ours = make_pair(write_back=write_back)
    x = images(2, 3, 32, 32)
    set_mode(True, plain, ours)
    for model in (plain, ours):
        model(x)[0].square().sum().backward()
    expected = dict(plain.named_parameters())
    got = {n: p for n, p in ours.named_parameters() if n not in added_names(ours)}
    assert got.keys() == expected.keys()
    for name, parameter in got.items():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize('write_back', ['none', 'gated'])
def test_bf16_autocast_equals_the_plain_vit_and_records_in_float32(make_pair, write_back):
    plain, ours = make_pair(write_back=write_back)
    x = images(2, 3, 32, 32)
    with torch.autocast('cpu', torch.bfloat16), ours.record_interactions() as record:
        assert torch.equal(plain(x)[0], ours(x)[0])
    for attention in record.states.attention:
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 8))


# ---- what queries do --------------------------------------------------------------------------------


def test_patches_read_queries_only_where_write_back_says_so(make_student):
    x = images(2, 3, 32, 32)
    changes = {}
    for write_back in WRITE_BACKS:
        student = make_student(write_back=write_back, out_type='raw').eval()
        if write_back == 'gated':
            open_gates(student)
        before = student(x)[0]
        torch.nn.init.normal_(student.interaction_queries, std=3)
        changes[write_back] = (student(x)[0] - before).abs().max().item()
    assert changes['none'] == 0
    assert changes['gated'] > 1e-3


def heads(layer, of, over):
    """Multi-head attention of normalised tokens over others, written out: values (B, n, C), weights."""
    dims, n_heads = of.shape[-1], layer.attn.num_heads
    w, b = layer.attn.qkv.weight.chunk(3), layer.attn.qkv.bias.chunk(3)
    outs, weights = [], []
    for h in range(n_heads):
        rows = slice(h * dims // n_heads, (h + 1) * dims // n_heads)
        q = of @ w[0][rows].T + b[0][rows]
        k, v = (over @ w[i][rows].T + b[i][rows] for i in (1, 2))
        weights.append((q @ k.mT / (dims // n_heads) ** 0.5).softmax(-1))
        outs.append(weights[-1] @ v)
    return torch.cat(outs, -1), torch.stack(weights).mean(0)


def slow_block(layer, x, queries, write_back):
    def project(attended):
        return F.linear(attended, layer.attn.proj.weight, layer.attn.proj.bias)

    def feed_forward(tokens):
        first, second = layer.ffn.layers[0][0], layer.ffn.layers[1]
        return tokens + second(F.gelu(first(layer.ln2(tokens))))

    tokens, read = layer.ln1(x), layer.ln1(queries)
    over_patches = heads(layer, read, tokens[:, 1:])[1]
    attended = heads(layer, tokens, tokens)[0]
    if write_back == 'gated':
        attended = attended + layer.query_gate.tanh() * heads(layer, tokens, read)[0]
    queries = queries + project(heads(layer, read, torch.cat((tokens, read), 1))[0])
    return feed_forward(x + project(attended)), queries, over_patches


@pytest.mark.parametrize('write_back', WRITE_BACKS)
@pytest.mark.parametrize('persistent', [True, False])
def test_blocks_and_records_equal_a_written_out_reference(make_student, write_back, persistent):
    student = make_student(
        write_back=write_back, persistent=persistent, num_queries=3, interaction_layers=(0, 2, -1)
    ).eval()
    if write_back == 'gated':
        open_gates(student)
    x = images(2, 3, 32, 40)
    with student.record_interactions() as record:
        (out,) = student(x)
    states = record.states
    assert (states.layers, states.grid) == ((0, 2, 3), (4, 5))

    tokens, _ = student.patch_embed(x)
    tokens = torch.cat((student.cls_token.expand(2, -1, -1), tokens), 1)
    tokens = tokens + student.resize_pos_embed(student.pos_embed, (4, 4), (4, 5), 'bicubic', 1)
    queries = student.interaction_queries.expand(2, -1, -1)
    for i, layer in enumerate(student.layers):
        if not persistent:
            queries = student.interaction_queries.expand(2, -1, -1)
        tokens, queries, attention = slow_block(layer, tokens, queries, write_back)
        if i in states.layers:
            place = states.layers.index(i)
            torch.testing.assert_close(states.attention[place], attention, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(states.tokens[place], tokens, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(states.queries, queries, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out, student.ln1(tokens)[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('final_norm', [True, False])
@pytest.mark.parametrize('out_type', ['cls_token', 'avg_featmap'])
def test_fuse_joins_the_mean_query_to_the_last_output(make_student, out_type, final_norm):
    x = images(2, 3, 32, 32)
    outs = {}
    for fuse in ('none', 'sum', 'concat'):
        student = make_student(fuse=fuse, out_type=out_type, final_norm=final_norm, out_indices=[0, -1])
        with student.eval().record_interactions() as record:
            outs[fuse] = student(x)
    queries = record.states.queries
    pooled = (student.ln1(queries) if final_norm else queries).mean(1)
    for fuse in ('sum', 'concat'):
        assert torch.equal(outs[fuse][0], outs['none'][0])
    torch.testing.assert_close(outs['sum'][1], outs['none'][1] + pooled)
    torch.testing.assert_close(outs['concat'][1], torch.cat((outs['none'][1], pooled), 1))


# ---- recording --------------------------------------------------------------------------------------


def test_recording_ends_with_its_context_even_by_an_error(make_student):
    student = make_student().eval()
    with pytest.raises(KeyError), student.record_interactions() as record:
        student(images(1, 3, 32, 32))
        raise KeyError
    states = record.states
    student(images(2, 3, 32, 32))
    assert record.states is states
    assert len(states.queries) == 1


def test_asking_for_states_before_the_backbone_ran_is_an_error(make_student):
    with make_student().record_interactions() as record:
        pass
    with pytest.raises(RuntimeError, match='the backbone did not run'):
        _ = record.states


@pytest.mark.parametrize(
    ('layers', 'expected'), [(None, (2, 3)), ([-1], (3,)), ((0, -2), (0, 2)), ([0, 1, 2, 3], (0, 1, 2, 3))]
)
def test_interaction_layers_default_to_the_last_half_and_count_from_the_end(make_student, layers, expected):
    assert make_student(interaction_layers=layers).interaction_layers == expected


# ---- training ---------------------------------------------------------------------------------------


def test_checkpointing_changes_neither_outputs_nor_gradients(make_student):
    x = images(2, 3, 32, 32)
    results = []
    for with_cp in (False, True):
        student = make_student(with_cp=with_cp, drop_path_rate=0.3, drop_rate=0.1).train()
        open_gates(student)
        torch.manual_seed(3)
        with student.record_interactions() as record:
            out = student(x)[0]
        loss = out.square().sum() + sum((a**2).sum() for a in record.states.attention)
        (loss + record.states.queries.sum()).backward()
        results.append([out, *record.states.attention, *(p.grad for p in student.parameters())])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('write_back', WRITE_BACKS)
def test_one_compiled_graph_equals_eager_with_and_without_recording(make_student, write_back):
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=8)
    student = make_student(arch=arch, write_back=write_back, drop_path_rate=0.1).eval()
    x = images(2, 3, 32, 32)
    compiled = torch.compile(student, backend='eager', fullgraph=True)
    assert torch.equal(compiled(x)[0], student(x)[0])
    states = []
    for model in (student, compiled, compiled):
        with model.record_interactions() as record:
            model(x)
        states.append(record.states)
    assert states[2] is not states[1]
    for other in states[1:]:
        for field in ('queries', 'attention', 'tokens'):
            torch.testing.assert_close(getattr(other, field), getattr(states[0], field))
        assert (other.layers, other.grid) == ((1,), (4, 4))


def test_frozen_stages_stay_frozen_with_their_gates_through_train(make_student):
    student = make_student(frozen_stages=2, drop_path_rate=0.5, drop_rate=0.5)

    def frozen():
        return [not any(p.requires_grad for p in layer.parameters()) for layer in student.layers]

    assert frozen() == [True, True, False, False]
    student.eval()
    student.train()
    assert frozen() == [True, True, False, False]
    assert [any(m.training for m in layer.modules()) for layer in student.layers] == [
        False,
        False,
        True,
        True,
    ]
    assert not student.drop_after_pos.training
    assert student.layers[2].query_gate.requires_grad


def test_layer_depth_puts_queries_with_the_position_embedding_and_gates_with_their_block(make_student):
    student = make_student()
    depth = {name: student.get_layer_depth('backbone.' + name, 'backbone.') for name in student.state_dict()}
    assert depth['interaction_queries'] == depth['pos_embed'] == (0, 6)
    for i in range(4):
        assert depth[f'layers.{i}.query_gate'] == depth[f'layers.{i}.attn.qkv.weight'] == (i + 1, 6)


def test_the_added_parameters_of_a_vit_b_are_below_one_and_a_half_percent():
    with torch.device('meta'):
        plain = VisionTransformer('base')
        ours = InteractionQueryViT('base')
        readout = InteractionReadout(embed_dims=768, text_dims=512)
    count = [sum(p.numel() for p in m.parameters()) for m in (plain, ours, readout)]
    assert 0 < count[1] - count[0] + count[2] <= 0.015 * count[0]


# ---- configuration ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(write_back='gate'), r"write_back='gate' is unknown; choose from \('none', 'gated'\)"),
        (dict(fuse='mean'), r"fuse='mean' is unknown; choose from \('none', 'sum', 'concat'\)"),
        (dict(fuse='sum', out_type='featmap'), "fuse='sum' needs out_type .* got 'featmap'"),
        (dict(fuse='concat', out_type='raw'), "fuse='concat' needs out_type .* got 'raw'"),
        (dict(num_queries=-1), 'num_queries=-1 must not be negative'),
        (dict(num_queries=0, fuse='sum'), "num_queries=0 leaves nothing for fuse='sum'"),
        (dict(interaction_layers=[]), r'interaction_layers=\[\] must name one or more of the 4 blocks'),
        (dict(interaction_layers=[4]), r'interaction_layers=\[4\] must name some of the 4 blocks'),
        (dict(interaction_layers=[-5]), r'interaction_layers=\[-5\] must name'),
        (dict(interaction_layers=[2, 1]), r'interaction_layers=\[2, 1\] must rise'),
        (dict(interaction_layers=[3, -1]), r'interaction_layers=\[3, -1\] must rise and hold no block twice'),
    ],
)
def test_an_argument_out_of_range_is_named_with_its_value(make_student, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_student(**arguments)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='tiny'), 'Arch tiny is not in default archs .*deit-tiny'),
        (dict(out_indices={1: 1}), "get <class 'dict'>"),
        (dict(out_indices=[0, 13]), 'Invalid out_indices 13'),
    ],
)
def test_what_the_plain_vit_refuses_is_refused_alike(make_student, arguments, message):
    with pytest.raises(AssertionError, match=message):
        make_student(**arguments)


def test_the_list_given_as_out_indices_is_left_as_it_is(make_student):
    out_indices, interaction_layers = [0, -1], [-2, -1]
    student = make_student(out_indices=out_indices, interaction_layers=interaction_layers)
    assert (out_indices, interaction_layers) == ([0, -1], [-2, -1])
    assert list(student.out_indices) == [0, 3]


@pytest.mark.parametrize(
    ('registry', 'name'),
    [
        (mmpretrain.registry.MODELS, 'InteractionQueryViT'),
        (mmpretrain.registry.MODELS, 'lfi.InteractionQueryViT'),
        (mmdet.registry.MODELS, 'lfi.InteractionQueryViT'),
        (mmengine.registry.MODELS, 'lfi.InteractionQueryViT'),
    ],
)
def test_it_is_built_by_name_from_every_scope(registry, name):
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=8)
    student = registry.build(dict(type=name, arch=arch, img_size=16, patch_size=8, num_queries=2))
    assert type(student) is InteractionQueryViT
    assert student.interaction_queries.shape == (1, 2, 8)


def test_without_queries_it_is_the_plain_vit():
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    torch.manual_seed(0)
    plain = VisionTransformer(arch, img_size=16, patch_size=8)
    student = InteractionQueryViT(arch, img_size=16, patch_size=8, num_queries=0)
    student.load_state_dict(plain.state_dict(), strict=True)
    batch = torch.randn(2, 3, 16, 24)
    assert torch.equal(student(batch)[0], plain(batch)[0])


def test_without_queries_it_records_its_tokens(make_student):
    student = make_student(num_queries=0, interaction_layers=[1, 3]).eval()
    batch = images(2, 3, 32, 40)
    expected = student(batch)[0]
    with student.padded([(32, 40), (20, 40)]), student.record_interactions() as record:
        assert torch.equal(student(batch)[0], expected)
    states = record.states
    assert (states.asked, states.attention) == (None, ())
    assert (states.layers, states.grid) == ((1, 3), (4, 5))
    assert [tokens.shape for tokens in states.tokens] == [(2, 21, 16)] * 2
    assert torch.equal(student.ln1(states.tokens[-1])[:, 0], expected)
    assert torch.equal(states.locations()[1, :, 2, 3], states.tokens[-1][1, 1 + 2 * 5 + 3])
    assert states.valid.sum(1).tolist() == [20, 15]
