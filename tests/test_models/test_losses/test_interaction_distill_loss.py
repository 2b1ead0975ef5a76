"""`InteractionDistillLoss` against loops over images, layers, concepts and locations."""

from dataclasses import replace

import pytest
import torch
from lfi.models import InteractionDistillLoss
from lfi.structures import OTHER


def slow_divergence(student, teacher):
    return (teacher * (teacher / student).log()).sum()


def slow_loss(student, teacher, pairs=None, t_positions=1.0, t_concepts=1.0):
    """The unweighted terms, in float64. `pairs` are (student's layer, teacher's layer)."""
    b, n_layers, m, _, _ = student.logits.shape
    pairs = pairs or [(i, i) for i in range(n_layers)]
    s_logits, t_logits = student.logits.double(), teacher.logits.double()
    valid = student.valid & teacher.valid
    positions = concepts = presence = 0.0
    total = images = named = 0.0
    for i in range(b):
        for c in range(m):
            if teacher.concepts is not None and teacher.concepts[i, c] == OTHER:
                continue
            p, q = teacher.presence[i, c].double(), student.presence[i, c].double()
            presence -= p * q.log() + (1 - p) * (1 - q).log()
            named += 1
        if not valid[i].any():
            continue
        images += 1
        asked = [c for c in range(m) if teacher.concepts is None or teacher.concepts[i, c] != OTHER]
        spread = torch.stack(
            [layer[c][valid[i]].std(correction=0) for layer in t_logits[i] for c in asked]
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
        locations = valid[i].nonzero().tolist()
        per_location = [
            slow_divergence(
                s_logits[i, s, :, y, x].softmax(0), (t_logits[i, t, :, y, x] / t_concepts).softmax(0)
            )
            for y, x in locations
            for s, t in pairs
        ]
        concepts += sum(per_location) / len(per_location)
    return dict(
        loss_spatial=positions / total,
        loss_semantic=concepts / images,
        loss_presence=presence / named,
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


def unweighted(spatial_temperature=1, **kwargs):
    return InteractionDistillLoss(1, 1, 1, spatial_temperature, **kwargs)


def assert_terms(got, expected):
    assert got.keys() == expected.keys()
    for name, value in got.items():
        assert value.item() == pytest.approx(float(expected[name]), rel=1e-4), name


def test_terms_equal_a_loop_over_images_layers_concepts_and_locations(make_pair):
    student, teacher = make_pair()
    assert_terms(unweighted()(student, teacher), slow_loss(student, teacher))


def test_temperatures_divide_the_teachers_logits(make_pair):
    student, teacher = make_pair()
    loss = unweighted(spatial_temperature=1.7, semantic_temperature=0.4)
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
    got = InteractionDistillLoss(2, 4, 5, spatial_temperature=1)(*pair)
    assert got.keys() == {'loss_spatial', 'loss_semantic', 'loss_presence'}
    torch.testing.assert_close(got['loss_spatial'], 2 * base['loss_spatial'])
    torch.testing.assert_close(got['loss_semantic'], 4 * base['loss_semantic'])
    torch.testing.assert_close(got['loss_presence'], 5 * base['loss_presence'])
    only = InteractionDistillLoss(spatial_weight=0, semantic_weight=0, presence_weight=3)(*pair)
    assert only.keys() == {'loss_presence'}
    torch.testing.assert_close(only['loss_presence'], 3 * base['loss_presence'])
    assert InteractionDistillLoss(presence_weight=0)(*pair).keys() == {'loss_spatial', 'loss_semantic'}


@pytest.mark.parametrize(
    ('student_reads', 'teacher_reads', 'terms'),
    [
        (('spatial',), ('spatial', 'semantic'), {'loss_spatial'}),
        (('spatial', 'semantic'), ('semantic',), {'loss_semantic'}),
        (('spatial',), ('semantic',), set()),
    ],
)
def test_only_directions_that_both_have_are_compared(make_pair, student_reads, teacher_reads, terms):
    student, teacher = make_pair()
    student, teacher = replace(student, directions=student_reads), replace(teacher, directions=teacher_reads)
    assert unweighted()(student, teacher).keys() == {*terms, 'loss_presence'}


def test_a_student_equal_to_the_teacher_has_no_loss_and_no_gradient(make_maps):
    teacher = make_maps()
    spread = teacher.logits.std((-2, -1), correction=0).mean((1, 2)).view(2, 1, 1, 1, 1)
    for direction, logits in (('spatial', teacher.logits / spread), ('semantic', teacher.logits)):
        student = replace(teacher, logits=logits.clone().requires_grad_(), directions=(direction,))
        terms = unweighted()(student, teacher)
        # Of probabilities between 0 and 1 the cross-entropy with themselves is not 0.
        del terms['loss_presence']
        assert terms
        for term in terms.values():
            assert term.item() == pytest.approx(0, abs=1e-6)
        sum(terms.values()).backward()
        assert student.logits.grad.abs().max() < 1e-6


def test_the_map_of_all_others_is_in_no_unit(make_pair):
    student, teacher = make_pair()
    concepts = torch.tensor([[4, 0, OTHER], [1, 2, OTHER]])
    presence = teacher.presence.masked_fill(concepts == OTHER, 0)
    student, teacher = (replace(maps, presence=presence, concepts=concepts) for maps in (student, teacher))
    assert_terms(unweighted()(student, teacher), slow_loss(student, teacher))
    # However strong it is.
    louder = replace(teacher, logits=teacher.logits * torch.tensor([1, 1, 50.0]).view(3, 1, 1))
    loss = unweighted()
    assert torch.equal(loss.spatial_temperature_of(louder), loss.spatial_temperature_of(teacher))


def test_where_nothing_is_present_the_positions_term_is_exactly_zero(make_maps):
    student = make_maps(1)
    student = replace(student, logits=student.logits.requires_grad_())
    terms = unweighted()(student, make_maps(2, presence=torch.zeros(2, 3)))
    assert terms['loss_spatial'].item() == 0
    terms['loss_spatial'].backward()
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


def test_invalid_locations_have_no_say(make_pair):
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


@pytest.mark.parametrize('rest_at', [0, 2])
def test_the_rest_never_counts_in_presence_or_over_positions(make_pair, rest_at):
    student, teacher = make_pair()
    concepts = torch.tensor([[1, 2, 3], [4, 5, 6]])
    concepts[:, rest_at] = OTHER
    # Its presence is 0, as every teacher gives it.
    presence = teacher.presence.clone()
    presence[:, rest_at] = 0
    student = replace(student, concepts=concepts)
    teacher = replace(teacher, concepts=concepts, presence=presence)
    assert_terms(unweighted()(student, teacher), slow_loss(student, teacher))
    leaves = [student.presence.clone().requires_grad_(), student.logits.clone().requires_grad_()]
    terms = unweighted()(replace(student, presence=leaves[0], logits=leaves[1]), teacher)
    (terms['loss_presence'] + terms['loss_spatial']).backward()
    kept = [m for m in range(3) if m != rest_at]
    assert not leaves[0].grad[:, rest_at].any() and leaves[0].grad[:, kept].all()
    assert not leaves[1].grad[:, :, rest_at].any() and leaves[1].grad[:, :, kept].any()


def test_an_image_asked_about_nothing_but_the_rest_has_no_presence_loss(make_maps):
    concepts = torch.full((2, 3), OTHER)
    student, teacher = (make_maps(seed, concepts=concepts) for seed in (1, 2))
    assert unweighted()(student, teacher)['loss_presence'].item() == 0


@pytest.mark.parametrize('of_student', [0.0, 1.0])
def test_presence_that_is_certain_has_a_finite_loss_and_gradient(make_maps, of_student):
    presence = torch.full((2, 3), of_student).requires_grad_()
    for of_teacher in (0.0, 1.0):
        teacher = make_maps(2, presence=torch.full((2, 3), of_teacher))
        term = unweighted()(make_maps(1, presence=presence), teacher)['loss_presence']
        assert term.isfinite() and (term.item() == 0) == (of_student == of_teacher)
        assert torch.autograd.grad(term, presence)[0].isfinite().all()


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_presence_that_is_no_number_makes_the_loss_none(make_maps, side):
    unknown = torch.tensor([[0.5, float('nan'), 0.5], [0.5, 0.5, 0.5]])
    maps = {'student': make_maps(1), 'teacher': make_maps(2)}
    maps[side] = replace(maps[side], presence=unknown)
    assert unweighted()(maps['student'], maps['teacher'])['loss_presence'].isnan()


def test_positions_are_read_where_maps_have_them_and_by_a_temperature_without_unit(make_pair):
    student, teacher = make_pair()
    other = torch.randn(teacher.logits.shape, generator=torch.Generator().manual_seed(3)).log_softmax(2)
    loss = unweighted(spatial_temperature=0.5)
    got = loss(replace(student, spatial_logits=2 * other), replace(teacher, spatial_logits=other))
    # What is read over concepts stays as it was.
    expected = loss(student, teacher)
    torch.testing.assert_close(got['loss_semantic'], expected['loss_semantic'])
    assert got['loss_spatial'].item() == pytest.approx(0, abs=1e-6)
    changed = loss(replace(student, spatial_logits=other), replace(teacher, spatial_logits=other))
    assert changed['loss_spatial'] > 1e-2


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
        (dict(spatial_temperature=0), 'spatial_temperature=0 must be a number above 0'),
        (dict(semantic_temperature=-1.0), r'semantic_temperature=-1.0 must be a number above 0'),
    ],
)
def test_an_argument_out_of_range_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        InteractionDistillLoss(**arguments)


@pytest.mark.parametrize('shape', [(1, 2, 3, 4, 4), (2, 2, 2, 4, 4), (2, 2, 3, 4, 3)])
def test_maps_of_other_images_concepts_or_grids_are_refused(make_maps, shape):
    with pytest.raises(ValueError, match='must agree in B, M, H and W'):
        InteractionDistillLoss()(make_maps(), make_maps(shape=shape))
