"""`InteractionQueryViT` against mmpretrain's plain ViT, bit for bit, and against written-out blocks."""

import copy
from contextlib import ExitStack
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from asked import ask, images, questions, set_mode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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


@pytest.mark.parametrize('with_cls_token', [True, False])
def test_a_checkpoint_whose_grid_is_not_square_fits_its_own_grid_alone(make_student, with_cls_token):
    options = dict(with_cls_token=with_cls_token, out_type='cls_token' if with_cls_token else 'avg_featmap')
    wide = make_student(img_size=(32, 48), **options).state_dict()
    make_student(img_size=(32, 48), **options).load_state_dict(copy.copy(wide))
    with pytest.raises(ValueError, match='24 locations, which is no square, but the model.s grid is 4 x 4'):
        make_student(**options).load_state_dict(copy.copy(wide))


def test_a_grid_that_is_read_as_square_is_logged(make_student, monkeypatch):
    logged = []
    module = 'lfi.models.backbones.interaction_query_vit'
    monkeypatch.setattr(f'{module}.print_log', lambda text, *_: logged.append(text))
    square = make_student().state_dict()
    make_student(img_size=64).load_state_dict(copy.copy(square))
    assert not logged
    make_student(img_size=(32, 48)).load_state_dict(copy.copy(square))
    assert len(logged) == 1
    assert "16 locations is read as a grid of 4 x 4, and resized to the model's 4 x 6" in logged[0]
    make_student(img_size=(16, 64)).load_state_dict(copy.copy(square))
    assert len(logged) == 2
    assert '16 locations is read as a grid of 2 x 8, that of the model, and not as one of 4 x 4' in logged[1]


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
    asked = questions(3).bfloat16()
    with torch.autocast('cpu', torch.bfloat16), ours.record_interactions(asked) as record:
        assert torch.equal(plain(x)[0], ours(x)[0])
    # Queries add up block by block: half precision would lose the answers of the first ones.
    assert record.states.asked_queries.dtype == record.states.tokens[-1].dtype == torch.float32
    assert len(record.states.attention) == 2
    for attention in record.states.attention:
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3))


@pytest.mark.parametrize(
    'arguments', [dict(), dict(with_cls_token=False, out_type='raw'), dict(num_queries=0)]
)
@pytest.mark.parametrize('write_back', ['none', 'gated'])
@pytest.mark.parametrize('training', [False, True])
def test_outputs_are_the_same_bit_for_bit_whatever_is_asked(make_student, arguments, write_back, training):
    student = make_student(write_back=write_back, **arguments)
    if write_back == 'gated' and student.num_queries:
        open_gates(student)
    student.train(training)
    x = images(2, 3, 32, 40)
    alone = student(x)[0]
    for asked in (questions(1), 30 * questions(2, 7)):
        assert torch.equal(ask(student, x, asked)[0][0], alone)


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


# ---- what queries do --------------------------------------------------------------------------------


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


def slow_block(layer, x, queries, asked, write_back, valid):
    """A block written out; `valid` (B, N) bool tells which of the patches queries may read."""

    def project(attended):
        return F.linear(attended, layer.attn.proj.weight, layer.attn.proj.bias)

    def feed_forward(tokens):
        first, second = layer.ffn.layers[0][0], layer.ffn.layers[1]
        return tokens + second(F.gelu(first(layer.ln2(tokens))))

    tokens, read = layer.ln1(x), layer.ln1(queries)
    attended = heads(layer, tokens, tokens)[0]
    if write_back == 'gated':
        attended = attended + layer.query_gate.tanh() * heads(layer, tokens, read)[0]
    new_queries, new_asked, over_patches = [], [], []
    for b, seen in enumerate(valid):
        patches = tokens[b : b + 1, 1:][:, seen]
        all_tokens = torch.cat((tokens[b : b + 1, :1], patches, read[b : b + 1]), 1)
        new_queries.append(queries[b : b + 1] + project(heads(layer, read[b : b + 1], all_tokens)[0]))
        answers, maps = [], []
        for query in asked[b]:
            one = layer.ln1(query)[None, None]
            answers.append(query + project(heads(layer, one, torch.cat((patches, one), 1))[0])[0, 0])
            maps.append(torch.zeros(len(seen)).masked_scatter(seen, heads(layer, one, patches)[1][0, 0]))
        new_asked.append(torch.stack(answers))
        over_patches.append(torch.stack(maps))
    x = feed_forward(x + project(attended))
    return x, torch.cat(new_queries), torch.stack(new_asked), torch.stack(over_patches)


@pytest.mark.parametrize('write_back', WRITE_BACKS)
@pytest.mark.parametrize('persistent', [True, False])
@pytest.mark.parametrize('padded', [False, True])
def test_blocks_and_records_equal_a_written_out_reference(make_student, write_back, persistent, padded):
    student = make_student(
        write_back=write_back,
        persistent=persistent,
        num_queries=3,
        interaction_layers=(0, 2, -1),
    ).eval()
    if write_back == 'gated':
        open_gates(student)
    x, first = images(2, 3, 32, 40), questions(2, 4)
    # The second image shows 2 of 4 rows, and 4 of 5 columns.
    sizes = [(32, 40), (12, 25)] if padded else [(32, 40)] * 2
    learned = []
    student.layers[-1].register_forward_hook(lambda layer, args, out: learned.append(out[1]))
    with student.hide_padding(sizes):
        (out,), states = ask(student, x, first)
    assert (states.layers, states.grid) == ((0, 2, 3), (4, 5))
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    if padded:
        valid[1, 2:], valid[1, :, 4:] = False, False
    valid = valid.flatten(1)

    tokens, _ = student.patch_embed(x)
    tokens = torch.cat((student.cls_token.expand(2, -1, -1), tokens), 1)
    tokens = tokens + student.resize_pos_embed(student.pos_embed, (4, 4), (4, 5), 'bicubic', 1)
    queries, asked = student.interaction_queries.expand(2, -1, -1), first
    for i, layer in enumerate(student.layers):
        if not persistent:
            queries, asked = student.interaction_queries.expand(2, -1, -1), first
        tokens, queries, asked, attention = slow_block(layer, tokens, queries, asked, write_back, valid)
        if i in states.layers:
            index = states.layers.index(i)
            torch.testing.assert_close(states.attention[index], attention, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(states.tokens[index], tokens, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(states.asked_queries, asked, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(learned[0], queries, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(out, student.ln1(tokens)[:, 0], rtol=1e-4, atol=1e-4)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.lists(st.integers(0, 5), min_size=1, max_size=9),
    persistent=st.booleans(),
    cls_token=st.booleans(),
    window=st.sampled_from([None, 2]),
    padded=st.booleans(),
    seed=st.integers(0, 3),
)
def test_an_answer_depends_neither_on_what_else_is_asked_nor_on_the_order(
    make_student, order, persistent, cls_token, window, padded, seed
):
    arguments = dict(with_cls_token=cls_token or window is None, persistent=persistent)
    if not arguments['with_cls_token']:
        arguments |= dict(out_type='avg_featmap', window_size=window)
    student = make_student(**arguments).eval()
    open_gates(student)
    x, bank = images(2, 3, 32, 40, seed=seed), 3 * questions(6, seed=seed)
    sizes = [(20, 40), (32, 10)] if padded else [(32, 40)] * 2
    with torch.no_grad(), student.hide_padding(sizes):
        one_by_one = [ask(student, x, bank[i : i + 1])[1] for i in order]
        together = ask(student, x, bank[order])[1]
    for m, alone in enumerate(one_by_one):
        torch.testing.assert_close(
            together.asked_queries[:, m : m + 1], alone.asked_queries, rtol=0, atol=1e-5
        )
        for all_maps, its_map in zip(together.attention, alone.attention):
            torch.testing.assert_close(all_maps[:, m : m + 1], its_map, rtol=0, atol=1e-5)


@pytest.mark.parametrize('arguments', [dict(), dict(with_cls_token=False, out_type='raw')])
def test_asked_queries_read_no_padding(make_student, arguments):
    student = make_student(**arguments).eval()
    # A second pixel of padding would reach the patches, which read one another.
    x = images(2, 3, 32, 32)
    with student.hide_padding([(32, 32), (9, 32)]):
        states = ask(student, x, questions(3))[1]
    for attention in states.attention:
        maps = attention.unflatten(-1, (4, 4))
        assert (maps[1, :, :2] > 0).all() and maps[1, :, 2:].eq(0).all() and (maps[0] > 0).all()
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3))


def test_asked_queries_read_all_patches_through_windows(make_student):
    kwargs = dict(with_cls_token=False, out_type='raw', interaction_layers=(0,))
    plain = make_student(**kwargs).eval()
    windowed = make_student(window_size=2, **kwargs).eval()
    windowed.load_state_dict(plain.state_dict())
    x, starts = images(2, 3, 32, 32), questions(3)
    # In the first block the patches are the same, whatever they then read of one another.
    expected, got = (ask(student, x, starts)[1].attention[0] for student in (plain, windowed))
    torch.testing.assert_close(got, expected)
    assert not torch.equal(plain(x)[0], windowed(x)[0])


# ---- recording --------------------------------------------------------------------------------------


def test_recording_ends_with_its_context_even_by_an_error(make_student):
    student = make_student().eval()
    with pytest.raises(KeyError), student.record_interactions() as record:
        student(images(1, 3, 32, 32))
        raise KeyError
    states = record.states
    student(images(2, 3, 32, 32))
    assert record.states is states
    assert len(states.tokens[0]) == 1


def test_a_record_knows_of_padding_too(make_student):
    student, x, asked = make_student().eval(), images(2, 3, 32, 40), questions(3)
    sizes = [(32, 40), (20, 16)]
    with student.hide_padding(sizes), student.record_interactions(asked) as both:
        student(x)
    with student.record_interactions(asked, sizes) as one:
        student(x)
    torch.testing.assert_close(vars(one.states), vars(both.states))
    # As outside, unless sizes are given; and so again after an error.
    with student.hide_padding(sizes):
        with (
            pytest.raises(ValueError, match='at least 1 pixel'),
            student.record_interactions(asked, [(0, 8)]),
        ):
            pass
        with student.record_interactions(asked) as inner:
            student(x)
    torch.testing.assert_close(vars(inner.states), vars(both.states))


@pytest.mark.parametrize('order', list(permutations(('all', 'each', 'none'))))
def test_contexts_within_one_another_each_get_the_answers_to_their_own_questions(make_student, order):
    student = make_student().eval()
    x = images(2, 3, 32, 32)
    asked = {'all': questions(3), 'each': questions(2, 2, seed=6), 'none': None}
    records = {}
    with ExitStack() as stack:
        for name in order:
            records[name] = stack.enter_context(student.record_interactions(asked[name]))
        student(x)
    for name, record in records.items():
        expected, states = ask(student, x, asked[name])[1], record.states
        if name == 'none':
            assert (states.asked_queries, states.attention) == (None, ())
            continue
        torch.testing.assert_close(states.asked_queries, expected.asked_queries)
        torch.testing.assert_close(states.attention, expected.attention)
        torch.testing.assert_close(states.tokens, expected.tokens)


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
        starts = questions(2, 3).requires_grad_()
        (out,), states = ask(student, x, starts)
        loss = out.square().sum() + sum((a**2).sum() for a in states.attention)
        (loss + states.asked_queries.square().sum()).backward()
        grads = [p.grad for p in student.parameters()]
        results.append([out, states.asked_queries, *states.attention, starts.grad, *grads])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('write_back', WRITE_BACKS)
def test_one_compiled_graph_equals_eager_with_and_without_recording(make_student, write_back):
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=8)
    student = make_student(arch=arch, write_back=write_back, drop_path_rate=0.1).eval()
    x = images(2, 3, 32, 32)
    # The number of graphs of one function is limited, and other tests have made some.
    torch._dynamo.reset()
    compiled = torch.compile(student, backend='eager', fullgraph=True)
    assert torch.equal(compiled(x)[0], student(x)[0])
    for starts in (None, questions(3)[:, :8]):
        states = [ask(model, x, starts)[1] for model in (student, compiled, compiled)]
        assert states[2] is not states[1]
        for other in states[1:]:
            for field in ('asked_queries', 'attention', 'tokens'):
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
        (dict(num_queries=-1), 'num_queries=-1 must be a whole number of 0 or more'),
        (dict(interaction_layers=[]), r'interaction_layers=\[\] must name one or more of the 4 blocks'),
        (dict(interaction_layers=[4]), r'interaction_layers=\[4\] must name some of the 4 blocks'),
        (dict(interaction_layers=[-5]), r'interaction_layers=\[-5\] must name'),
        (dict(interaction_layers=[2, 1]), r'interaction_layers=\[2, 1\] must increase'),
        (
            dict(interaction_layers=[3, -1]),
            r'interaction_layers=\[3, -1\] must increase and name no block',
        ),
    ],
)
def test_an_argument_out_of_range_is_named_with_its_value(make_student, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_student(**arguments)


def test_the_list_given_as_out_indices_is_left_as_it_is(make_student):
    out_indices, interaction_layers = [0, -1], [-2, -1]
    student = make_student(out_indices=out_indices, interaction_layers=interaction_layers)
    assert (out_indices, interaction_layers) == ([0, -1], [-2, -1])
    assert list(student.out_indices) == [0, 3]


def test_without_queries_it_is_the_plain_vit():
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    torch.manual_seed(0)
    plain = VisionTransformer(arch, img_size=16, patch_size=8)
    student = InteractionQueryViT(arch, img_size=16, patch_size=8, num_queries=0)
    student.load_state_dict(plain.state_dict(), strict=True)
    batch = torch.randn(2, 3, 16, 24)
    assert torch.equal(student(batch)[0], plain(batch)[0])
