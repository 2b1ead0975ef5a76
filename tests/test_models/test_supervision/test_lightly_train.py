"""`LightlyTrain` against its formulas, pair by pair, and its queue."""

import math
from functools import partial

import pytest
import torch
from lfi.structures import ImageFeatures
from mmengine import dist
from part_inputs import build as build_component
from part_inputs import compare, outputs_of, read
from part_inputs import features as features_of

features = partial(features_of, grid=(2, 2), classes=2)


def build(**kwargs):
    return build_component('lfi.LightlyTrain', tokens=6, vector=6, texts=5, **kwargs)


def cosine(x, y):
    return sum(a * b for a, b in zip(x, y)) / math.hypot(*x) / math.hypot(*y)


def divergence(theirs, ours):
    """KL between the softmaxes of two lists of cosines."""
    p, q = ([math.exp(x / 0.07) for x in row] for row in (theirs, ours))
    p, q = ([x / sum(row) for x in row] for row in (p, q))
    return sum(a * math.log(a / b) for a, b in zip(p, q))


def test_the_local_term_compares_pairs_of_locations():
    loss = build(loss_weight=2.0)
    student, teacher = features(6), features(5, seed=1)
    total = 0.0
    for b in range(3):
        ours = loss.local_head(student.locations[b].flatten(1).T).tolist()
        theirs = teacher.locations[b].flatten(1).T.tolist()
        for i in range(4):
            pairs = ([cosine(rows[i], row) for row in rows] for rows in (theirs, ours))
            total += divergence(*pairs)
    assert compare(loss, student, teacher)['loss_local'].item() == pytest.approx(2 * total / 12, rel=1e-4)


def test_the_queue_term_compares_with_the_latest_embeddings():
    loss = build(queue_size=7, loss_weight=2.0)
    student = features(6)
    teachers = [features(5, seed=seed) for seed in (1, 2, 3)]
    latest = []
    for teacher in teachers:
        latest = [*teacher.pooled.tolist(), *latest][:7]
        total = 0.0
        for b in range(3):
            ours = loss.global_head(student.pooled[b]).tolist()
            theirs = teacher.pooled[b].tolist()
            total += divergence(*([cosine(x, row) for row in latest] for x in (theirs, ours)))
        assert compare(loss, student, teacher)['loss_queue'].item() == pytest.approx(2 * total / 3, rel=1e-4)


def test_only_training_fills_the_queue():
    loss = build(queue_size=4).eval()
    terms = compare(loss, features(6), features(5, seed=1))
    assert not loss.queue.any()
    assert terms['loss_queue'] == 0


def test_a_resumed_run_goes_on_with_the_queue():
    loss, resumed = build(queue_size=5), build(queue_size=5)
    compare(loss, features(6), features(5, seed=1))
    resumed.load_state_dict(loss.state_dict())
    terms = [compare(x, features(6), features(5, seed=2)) for x in (loss, resumed)]
    assert torch.equal(terms[0]['loss_queue'], terms[1]['loss_queue'])


def test_processes_share_the_queue(monkeypatch):
    one, ours = build(queue_size=8), build(queue_size=8)
    student, teacher = features(6, b=4), features(5, b=4, seed=1)
    compare(one, student, teacher)
    unit = torch.nn.functional.normalize(teacher.pooled, dim=1)
    monkeypatch.setattr(dist, 'all_gather', lambda x: [x, unit[2:]])
    part = [ImageFeatures(x.pooled[:2], x.scores[:2], x.locations[:2]) for x in (student, teacher)]
    compare(ours, *part)
    assert torch.equal(ours.queue, one.queue)


def test_two_steps_can_share_a_backward():
    """Gradients may be accumulated over steps: the queue of the first is still what it was."""
    loss = build(queue_size=4)
    terms = [compare(loss, features(6), features(5, seed=seed)) for seed in (1, 2)]
    sum(sum(term.values()) for term in terms).backward()
    assert all(parameter.grad is not None for parameter in loss.parameters())


def test_it_is_shielded_from_autocast():
    loss = build(student_dims=5)
    # The heads may run in half precision, the products may not.
    loss.local_head = torch.nn.Identity()
    loss.global_head.forward = lambda vectors: vectors
    student, teacher = features(5), features(5, seed=1)
    expected = compare(loss, student, teacher)
    loss.queue.zero_()
    with torch.autocast('cpu', torch.bfloat16):
        got = compare(loss, student, teacher)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_queue_that_does_not_hold_a_step_is_refused():
    loss = build(queue_size=2)
    with pytest.raises(
        ValueError, match='queue_size=2 is less than the 3 images of a step, .* raise queue_size'
    ):
        compare(loss, features(6), features(5))
    # Outside training it stays as it is.
    assert compare(loss.eval(), features(6), features(5))['loss_queue'].isfinite()


def test_means_are_of_affinities_and_of_embeddings_and_the_queue_keeps_the_images_own(means_of):
    part = build(queue_size=8)
    targets = [read(part, features(5, seed=seed)) for seed in (1, 2)]
    means = means_of(part)
    part.with_means(targets[0], means, 5)
    changed = part.with_means(targets[1], means, 5)
    own = [x for target in targets for x in target.embedding]
    mean = sum(own) / 6
    affinity = sum(x.exp() for target in targets for x in target.affinity) / 6
    for b in range(3):
        torch.testing.assert_close(changed.embedding[b], mean / mean.norm())
        torch.testing.assert_close(changed.affinity[b].exp(), affinity)
    part(outputs_of(features(6)), changed)
    torch.testing.assert_close(part.queue[:3], targets[1].embedding)
