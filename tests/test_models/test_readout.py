"""`InteractionReadout` against loops over images, concepts, queries and places."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from lfi.models import InteractionReadout, InteractionStates
from lfi.structures import REST

B, K, N, C, E = 2, 5, 12, 16, 8
LAYERS, GRID, BANK = (1, 3), (3, 4), 6


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def states():
    return InteractionStates(
        queries=random(B, K, C, seed=1),
        attention=tuple((2 * random(B, K, N, seed=2 + i)).softmax(-1) for i in range(2)),
        tokens=tuple(3 * random(B, N + 1, C, seed=4 + i) for i in range(2)),
        layers=LAYERS,
        grid=GRID,
    )


@pytest.fixture
def texts():
    return F.normalize(random(BANK, E, seed=6), dim=-1)


@pytest.fixture
def make_readout():
    def make(**kwargs):
        torch.manual_seed(0)
        readout = InteractionReadout(C, E, **kwargs)
        for parameter in readout.parameters():
            torch.nn.init.normal_(parameter)
        return readout

    return make


@pytest.fixture
def like(make_maps):
    """Maps that ask one image about concepts 4, 0 and the rest, the other about 2, 5 and the rest."""
    return make_maps(
        shape=(B, 1, 3, *GRID),
        concepts=torch.tensor([[4, 0, REST], [2, 5, REST]]),
        presence=torch.tensor([[1.0, 0.3, 0.0], [0.5, 0.2, 0.0]]),
    )


def best_matching(cosine):
    """The query of each row of (M, K) cosines, by trying all matchings; who is left takes the nearest."""
    m, k = cosine.shape
    best, result = -math.inf, None
    if m <= k:
        candidates = (list(enumerate(p)) for p in itertools.permutations(range(k), m))
    else:
        candidates = (list(zip(p, range(k))) for p in itertools.permutations(range(m), k))
    for pairs in candidates:
        total = sum(cosine[i, j].item() for i, j in pairs)
        if total > best:
            best, result = total, dict(pairs)
    return [result.get(i, cosine[i].argmax().item()) for i in range(m)]


def slow_assignment(readout, queries, texts, concepts):
    """(M, K) of one image's concepts, none of them the rest."""
    cosine = torch.stack([torch.stack([texts[c] @ q for q in queries]) for c in concepts])
    if readout.assign == 'soft':
        return torch.stack([(row / readout.assign_temperature).softmax(0) for row in cosine])
    chosen = concepts if readout.assign == 'index' else best_matching(cosine)
    return torch.stack([torch.eye(len(queries))[k] for k in chosen])


@pytest.mark.parametrize('assign', ['soft', 'index', 'hungarian'])
def test_maps_over_positions_are_the_queries_attention_mixed_by_the_assignment(
    make_readout, states, texts, like, assign
):
    readout = make_readout(assign=assign, assign_temperature=0.3)
    like = replace(like, concepts=like.concepts.clamp_max(4))
    queries = readout.query_embeddings(states)
    torch.testing.assert_close(queries.norm(dim=-1), torch.ones(B, K))
    got = readout.text_to_image(states, queries, texts, like)
    assert (got.directions, got.layers) == (('positions',), LAYERS)
    assert torch.equal(got.presence, like.presence)
    assert torch.equal(got.concepts, like.concepts)
    for b in range(B):
        concepts = [c for c in like.concepts[b].tolist() if c != REST]
        assignment = slow_assignment(readout, queries[b], texts, concepts)
        for (layer, attention), m in itertools.product(enumerate(states.attention), range(len(concepts))):
            mixture = sum(assignment[m, k] * attention[b, k] for k in range(K)).view(GRID)
            torch.testing.assert_close(got.logits[b, layer, m].exp(), mixture)


@pytest.mark.parametrize('n_concepts', [3, 5, 7])
def test_hungarian_matches_best_with_fewer_as_many_and_more_concepts_than_queries(
    make_readout, make_maps, states, n_concepts
):
    readout = make_readout(assign='hungarian')
    texts = F.normalize(random(n_concepts, E, seed=11), dim=-1)
    queries = readout.query_embeddings(states)
    # Without its own place in the matching, `REST` must not take a query from a concept.
    concepts = torch.cat((torch.arange(n_concepts), torch.tensor([REST]))).expand(B, -1)
    like = make_maps(shape=(B, 1, n_concepts + 1, *GRID), concepts=concepts)
    got = readout.text_to_image(states, queries, texts, like).logits[:, 0, :-1].flatten(-2).exp()
    for b in range(B):
        chosen = best_matching(texts @ queries[b].T)
        torch.testing.assert_close(got[b], states.attention[0][b][chosen])


def test_maps_over_concepts_compare_every_place_and_the_rest_is_the_others_logsumexp(
    make_readout, states, texts, like
):
    readout = make_readout(concept_scale=7.0)
    got = readout.image_to_text(states, texts, like)
    assert (got.directions, got.layers) == (('concepts',), LAYERS)
    for b, layer, n in itertools.product(range(B), range(2), range(N)):
        patch = F.layer_norm(
            states.tokens[layer][b, n + 1], (C,), readout.patch_norm.weight, readout.patch_norm.bias
        )
        scores = []
        for text in texts:
            weight = readout.patch_head.weight @ text
            scores.append(7.0 / math.sqrt(C) * (patch @ weight) / weight.norm())
        kept = like.concepts[b, :2].tolist()
        others = torch.stack([s for c, s in enumerate(scores) if c not in kept])
        expected = torch.stack([*(scores[c] for c in kept), others.exp().sum().log()])
        torch.testing.assert_close(got.logits[b, layer, :, n // 4, n % 4], expected, rtol=1e-4, atol=1e-4)


def test_readings_over_concepts_of_kept_and_rest_sum_up_the_whole_bank(
    make_readout, make_maps, states, texts
):
    readout = make_readout(concept_scale=1.0)
    whole = readout.image_to_text(states, texts, make_maps(shape=(B, 1, BANK, *GRID)))
    for concepts in ([[4, 0, REST]] * 2, [[REST, 1, 3]] * 2):
        like = make_maps(shape=(B, 1, 3, *GRID), concepts=torch.tensor(concepts))
        kept = [c for c in concepts[0] if c != REST]
        got = readout.image_to_text(states, texts, like).over_concepts()
        place = [i for i, c in enumerate(concepts[0]) if c != REST]
        torch.testing.assert_close(got[:, :, place], whole.over_concepts()[:, :, kept], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('assign', ['soft', 'hungarian'])
def test_no_concepts_means_the_whole_bank_in_order(make_readout, make_maps, states, texts, assign):
    readout = make_readout(assign=assign)
    implicit = make_maps(shape=(B, 1, BANK, *GRID))
    explicit = replace(implicit, concepts=torch.arange(BANK).expand(B, -1))
    queries = readout.query_embeddings(states)
    for read in (
        lambda like: readout.text_to_image(states, queries, texts, like),
        lambda like: readout.image_to_text(states, texts, like),
    ):
        assert torch.equal(read(implicit).logits, read(explicit).logits)
        assert read(implicit).concepts is None


def test_class_scores_are_the_logsumexp_over_queries(make_readout, states, texts):
    readout = make_readout(assign_temperature=0.2)
    queries = readout.query_embeddings(states)
    got = readout.class_scores(queries, texts)
    for b, c in itertools.product(range(B), range(BANK)):
        expected = sum((q @ texts[c] / 0.2).exp() for q in queries[b]).log()
        torch.testing.assert_close(got[b, c], expected)


def test_readings_stay_in_float32_under_autocast(make_readout, states, texts, like):
    readout = make_readout()
    with torch.autocast('cpu', torch.bfloat16):
        queries = readout.query_embeddings(states)
        positions = readout.text_to_image(states, queries, texts, like)
        concepts = readout.image_to_text(states, texts, like)
        scores = readout.class_scores(queries, texts)
    assert queries.dtype == positions.logits.dtype == concepts.logits.dtype == scores.dtype == torch.float32
    assert torch.equal(concepts.logits, readout.image_to_text(states, texts, like).logits)
    assert torch.equal(positions.logits, readout.text_to_image(states, queries, texts, like).logits)


def test_attention_that_is_zero_somewhere_gives_finite_maps_and_gradients(make_readout, states, texts, like):
    attention = torch.zeros(B, K, N)
    attention[..., 0] = 1
    attention.requires_grad_()
    states = replace(states, attention=(attention, attention))
    readout = make_readout()
    got = readout.text_to_image(states, readout.query_embeddings(states), texts, like)
    got.over_positions().sum().backward()
    assert got.check().logits.isfinite().all()
    assert attention.grad.isfinite().all()


def test_a_bank_that_does_not_fit_is_refused(make_readout):
    with pytest.raises(ValueError, match='readout.text_dims=8, but the teacher embeds its texts in 512 dims'):
        make_readout().check_bank(num_concepts=3, text_dims=512, num_queries=5)
    with pytest.raises(ValueError, match="assign='index' needs a query for each concept: num_queries=5"):
        make_readout(assign='index').check_bank(num_concepts=6, text_dims=8, num_queries=5)
    for assign in ('soft', 'hungarian'):
        assert make_readout(assign=assign).check_bank(num_concepts=6, text_dims=8, num_queries=5) is None


def test_an_unknown_assignment_is_named():
    with pytest.raises(ValueError, match=r"assign='best' is unknown; choose from \('soft', 'index', 'hung"):
        InteractionReadout(C, E, assign='best')
