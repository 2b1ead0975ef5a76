"""`InteractionDistillLoss` against loops over images, layers, concepts and positions."""

from dataclasses import replace

import pytest
import torch
from lfi.models import InteractionDistillLoss


def slow_divergence(student, teacher):
    return (teacher * (teacher / student).log()).sum()


def slow_loss(student, teacher, pairs=None, t_positions=0.67, t_concepts=1.0):
    """The unweighted terms, in float64. `pairs` are (student's layer, teacher's layer)."""
    b, n_layers, m, _, _ = student.logits.shape
    pairs = pairs or [(i, i) for i in range(n_layers)]
    s_logits, t_logits = student.logits.double(), teacher.logits.double()
    valid = student.valid & teacher.valid
    positions = relation = concepts = 0.0
    total = total_pairs = images = 0.0
    for i in range(b):
        if not valid[i].any():
            continue
        images += 1
        spread = torch.stack(
            [t_logits[i, j, c][valid[i]].std(correction=0) for _, j in pairs for c in range(m)]
        ).mean()
        maps = {}
        for s_layer, t_layer in pairs:
            for c in range(m):
                maps[s_layer, c] = (
                    s_logits[i, s_layer, c][valid[i]].softmax(0),
                    (t_logits[i, t_layer, c][valid[i]] / (t_positions * spread)).softmax(0),
                )
        for c in range(m):
            weight = teacher.presence[i, c].double()
            positions += weight * sum(slow_divergence(*maps[layer, c]) for layer, _ in pairs) / len(pairs)
            total += weight
            for d in range(m):
                overlaps = [
                    [(maps[layer, c][who] * maps[layer, d][who]).sqrt().sum() for who in (0, 1)]
                    for layer, _ in pairs
                ]
                weight_pair = weight * teacher.presence[i, d].double()
                relation += weight_pair * sum((s - t) ** 2 for s, t in overlaps) / len(pairs)
                total_pairs += weight_pair
        places = valid[i].nonzero().tolist()
        per_place = [
            slow_divergence(
                s_logits[i, s, :, y, x].softmax(0), (t_logits[i, t, :, y, x] / t_concepts).softmax(0)
            )
            for y, x in places
            for s, t in pairs
        ]
        concepts += sum(per_place) / len(per_place)
    return dict(
        loss_positions=positions / total,
        loss_relation=relation / total_pairs,
        loss_concepts=concepts / images,
    )


@pytest.fixture
def make_pair(make_maps):
    """Maps of a student and a teacher with different layers, holes in both masks and unequal presence."""

    def make(student_layers=2, teacher_layers=2):
        generator = torch.Generator().manual_seed(5)
        student = make_maps(1, (2, student_layers, 3, 4, 4))
        teacher = make_maps(2, (2, teacher_layers, 3, 4, 4))
        student, teacher = (
            replace(maps, valid=torch.rand(2, 4, 4, generator=generator) < 0.8) for maps in (student, teacher)
        )
        return student, teacher

    return make


def unweighted(**kwargs):
    return InteractionDistillLoss(positions_weight=1, concepts_weight=1, relation_weight=1, **kwargs)


def assert_terms(got, expected):
    assert got.keys() == expected.keys()
    for name, value in got.items():
        assert value.item() == pytest.approx(float(expected[name]), rel=1e-4), name


def test_terms_equal_a_loop_over_images_layers_concepts_and_places(make_pair):
    student, teacher = make_pair()
    assert_terms(unweighted()(student, teacher), slow_loss(student, teacher))


def test_temperatures_divide_the_teachers_logits(make_pair):
    student, teacher = make_pair()
    loss = unweighted(positions_temperature=1.7, concepts_temperature=0.4)
    assert_terms(loss(student, teacher), slow_loss(student, teacher, t_positions=1.7, t_concepts=0.4))


@pytest.mark.parametrize(
    ('student_layers', 'teacher_layers', 'pairs'),
    [
        (3, 3, [(0, 0), (1, 1), (2, 2)]),
        (3, 1, [(0, 0), (1, 0), (2, 0)]),
        (2, 4, [(0, 1), (1, 3)]),
        (3, 12, [(0, 2), (1, 6), (2, 10)]),
        (4, 2, [(0, 0), (1, 0), (2, 1), (3, 1)]),
    ],
    ids=['one-to-one', 'broadcast', '2 of 4', '3 of 12', '4 from 2'],
)
def test_layers_meet_at_the_same_relative_depth(make_pair, student_layers, teacher_layers, pairs):
    student, teacher = make_pair(student_layers, teacher_layers)
    assert_terms(unweighted()(student, teacher), slow_loss(student, teacher, pairs=pairs))


def test_weights_multiply_their_terms_and_a_weight_of_zero_leaves_its_term_out(make_pair):
    pair = make_pair()
    base = unweighted()(*pair)
    got = InteractionDistillLoss()(*pair)
    assert got.keys() == {'loss_positions', 'loss_concepts'}
    torch.testing.assert_close(got['loss_positions'], 2 * base['loss_positions'])
    torch.testing.assert_close(got['loss_concepts'], 4 * base['loss_concepts'])
    only = InteractionDistillLoss(positions_weight=0, concepts_weight=0, relation_weight=3)(*pair)
    assert only.keys() == {'loss_relation'}
    torch.testing.assert_close(only['loss_relation'], 3 * base['loss_relation'])


@pytest.mark.parametrize(
    ('student_reads', 'teacher_reads', 'terms'),
    [
        (('positions',), ('positions', 'concepts'), {'loss_positions', 'loss_relation'}),
        (('positions', 'concepts'), ('concepts',), {'loss_concepts'}),
        (('positions',), ('concepts',), set()),
    ],
)
def test_only_directions_that_both_have_are_compared(make_pair, student_reads, teacher_reads, terms):
    student, teacher = make_pair()
    student, teacher = replace(student, directions=student_reads), replace(teacher, directions=teacher_reads)
    assert unweighted()(student, teacher).keys() == terms


def test_a_student_equal_to_the_teacher_has_no_loss_and_no_gradient(make_maps):
    teacher = make_maps()
    spread = teacher.logits.std((-2, -1), correction=0).mean((1, 2)).view(2, 1, 1, 1, 1)
    for direction, logits in (('positions', teacher.logits / spread), ('concepts', teacher.logits)):
        student = replace(teacher, logits=logits.clone().requires_grad_(), directions=(direction,))
        terms = unweighted(positions_temperature=1)(student, teacher)
        assert terms
        for term in terms.values():
            assert term.item() == pytest.approx(0, abs=1e-6)
        sum(terms.values()).backward()
        assert student.logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize('factor', [0.01, 100])
def test_the_positions_terms_do_not_depend_on_the_teachers_logit_scale_or_offset(make_pair, factor):
    student, teacher = make_pair()
    scaled = replace(teacher, logits=factor * (teacher.logits + 3))
    expected, got = unweighted()(student, teacher), unweighted()(student, scaled)
    for name in ('loss_positions', 'loss_relation'):
        torch.testing.assert_close(got[name], expected[name], rtol=1e-3, atol=1e-4)
    assert abs(got['loss_concepts'] - expected['loss_concepts']) > 1e-2


def test_where_nothing_is_present_the_positions_terms_are_exactly_zero(make_maps):
    student = make_maps(1)
    student = replace(student, logits=student.logits.requires_grad_())
    terms = unweighted()(student, make_maps(2, presence=torch.zeros(2, 3)))
    assert terms['loss_positions'].item() == 0
    assert terms['loss_relation'].item() == 0
    (terms['loss_positions'] + terms['loss_relation']).backward()
    assert not student.logits.grad.any()


def test_a_fully_invalid_image_adds_exactly_nothing(make_maps):
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[1] = False
    student, teacher = make_maps(1), make_maps(2, valid=valid)
    student = replace(student, logits=student.logits.requires_grad_())
    loss = unweighted()
    terms = loss(student, teacher)
    sum(terms.values()).backward()
    alone = [
        replace(m, logits=m.logits[:1], presence=m.presence[:1], valid=m.valid[:1])
        for m in (student, teacher)
    ]
    for name, term in loss(*alone).items():
        torch.testing.assert_close(terms[name], term)
    assert not student.logits.grad[1].any()
    assert student.logits.grad[0].isfinite().all()
    nothing = loss(student, replace(teacher, valid=torch.zeros_like(valid)))
    assert [term.item() for term in nothing.values()] == [0, 0, 0]


def test_invalid_positions_have_no_say(make_pair):
    student, teacher = make_pair()
    valid = (student.valid & teacher.valid)[:, None, None]
    expected = unweighted()(student, teacher)
    noise = torch.randn(student.logits.shape, generator=torch.Generator().manual_seed(9))
    moved = [replace(m, logits=torch.where(valid, m.logits, 100 * noise)) for m in (student, teacher)]
    got = unweighted()(*moved)
    for name, term in expected.items():
        torch.testing.assert_close(got[name], term)


def test_the_gradient_equals_that_of_the_loop_in_float64(make_pair):
    student, teacher = make_pair()
    student = replace(student, logits=student.logits.requires_grad_())
    got, expected = (
        torch.autograd.grad(sum(terms.values()), student.logits)[0]
        for terms in (
            unweighted()(student, teacher),
            slow_loss(student, teacher),
        )
    )
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(make_pair, dtype):
    pair = make_pair()
    expected = unweighted()(*pair)
    with torch.autocast('cpu', dtype):
        got = unweighted()(*pair)
    for name, term in expected.items():
        assert got[name].dtype == torch.float32
        torch.testing.assert_close(got[name], term)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(positions_temperature=0), 'positions_temperature=0 must be above 0'),
        (dict(concepts_temperature=-1.0), r'concepts_temperature=-1.0 must be above 0'),
    ],
)
def test_an_argument_out_of_range_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        InteractionDistillLoss(**arguments)


@pytest.mark.parametrize('shape', [(1, 2, 3, 4, 4), (2, 2, 2, 4, 4), (2, 2, 3, 4, 3)])
def test_maps_of_other_images_concepts_or_grids_are_refused(make_maps, shape):
    with pytest.raises(ValueError, match='must agree in B, M, H and W'):
        InteractionDistillLoss()(make_maps(), make_maps(shape=shape))
