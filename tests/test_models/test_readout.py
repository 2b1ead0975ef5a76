"""`InteractionReadout` against loops over images, concepts and locations."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from lfi.models import InteractionReadout, InteractionStates
from lfi.models.readout import NUM_CONTRAST_TEXTS
from lfi.structures import OTHER, InteractionMaps

B, M, N, C, E = 2, 3, 12, 16, 8
LAYERS, GRID, BANK = (1, 3), (3, 4), 6


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def states():
    return InteractionStates(
        asked_queries=random(B, M, C, seed=1),
        attention=tuple((2 * random(B, M, N, seed=2 + i)).softmax(-1) for i in range(2)),
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


def like_all(count):
    """Maps that ask every image about the first texts."""
    return InteractionMaps(
        logits=torch.zeros(B, 1, count, *GRID),
        presence=torch.ones(B, count),
        valid=torch.ones(B, *GRID, dtype=torch.bool),
    )


@pytest.fixture
def like(make_maps):
    """Maps that ask one image about concepts 4, 0 and the rest, the other about 2, 5 and the rest."""
    return make_maps(
        shape=(B, 1, 3, *GRID),
        concepts=torch.tensor([[4, 0, OTHER], [2, 5, OTHER]]),
        presence=torch.tensor([[1.0, 0.3, 0.0], [0.5, 0.2, 0.0]]),
    )


def test_texts_count_by_what_tells_them_from_their_mean(make_readout, states, texts, like):
    """The same as a read-out of texts that are centred already; texts of a later question need no bank."""
    readout, plain = make_readout(), make_readout()
    readout.fit_text_statistics(texts)
    centred = texts - sum(texts) / len(texts)
    assert not torch.allclose(readout.asked_queries(texts), plain.asked_queries(texts))
    torch.testing.assert_close(readout.asked_queries(texts), plain.asked_queries(centred))
    torch.testing.assert_close(readout.asked_queries(texts[2:3]), plain.asked_queries(centred[2:3]))
    torch.testing.assert_close(
        readout(states, texts, like).logits, plain(states, centred, like).logits, rtol=1e-4, atol=1e-4
    )
    assert torch.equal(readout.state_dict()['text_centre'], readout.text_centre)
    # Their length tells nothing.
    torch.testing.assert_close(readout.asked_queries(10 * texts), readout.asked_queries(texts))


def test_a_question_is_one_linear_map_of_its_text_with_an_offset(make_readout, texts):
    readout = make_readout()
    head = readout.question_head
    expected = torch.stack([math.sqrt(E) * (head.weight @ text) + head.bias for text in texts])
    torch.testing.assert_close(readout.asked_queries(texts), expected)
    concepts = torch.tensor([[4, 0, OTHER], [2, 5, 5]])
    got = readout.asked_queries(texts, concepts)
    assert got.shape == (B, 3, C)
    for b, m in itertools.product(range(B), range(3)):
        if concepts[b, m] != OTHER:
            assert torch.equal(got[b, m], readout.asked_queries(texts)[concepts[b, m]])
    assert got[0, 2].isfinite().all()


def test_presence_compares_what_a_query_looks_at_with_its_concept(make_readout, states, texts, like):
    readout = make_readout()
    state_norm, head, patch_norm = readout.presence_norm, readout.presence_head, readout.patch_norm
    got = readout.answers(states, texts, like)
    for b, m in itertools.product(range(B), range(M)):
        if like.concepts[b, m] == OTHER:
            continue
        state = F.layer_norm(states.asked_queries[b, m], (C,), state_norm.weight, state_norm.bias)
        weight = readout.patch_head.weight @ texts[like.concepts[b, m]]
        score = head.weight[0] @ state + head.bias[0]
        for n in range(N):
            patch = F.layer_norm(states.tokens[-1][b, n + 1], (C,), patch_norm.weight, patch_norm.bias)
            share = states.attention[-1][b, m, n]
            score = score + share * 15 / math.sqrt(C) * (patch @ weight) / weight.norm()
        score = 15 * torch.tanh(score / 15)
        torch.testing.assert_close(readout.presence_logits(states, texts, like.concepts)[b, m], score)
        torch.testing.assert_close(got.presence[b, m], 1 / (1 + (-score).exp()))


def test_a_wrong_answer_can_be_unlearned_however_sure_it_is(make_readout, states, texts, like):
    readout = make_readout()
    torch.nn.init.constant_(readout.presence_head.bias, 40.0)
    presence = readout.answers(states, texts, like).presence
    assert (presence < 1).all()
    F.binary_cross_entropy(presence, torch.zeros_like(presence)).backward()
    assert readout.presence_head.bias.grad > 0.001


def test_all_others_are_never_present(make_readout, states, texts, like):
    presence = make_readout().answers(states, texts, like).presence
    assert not presence[like.concepts == OTHER].any() and (presence[like.concepts != OTHER] > 0).all()


def test_a_fit_corrects_the_presence_of_answers_alone(make_readout, states, texts, like):
    plain, fitted = make_readout(), make_readout(presence_fit=[0.5, -1])
    got, before = (readout.answers(states, texts, like) for readout in (fitted, plain))
    logits = plain.presence_logits(states, texts, like.concepts)
    expected = (0.5 * logits - 1).sigmoid().masked_fill(like.concepts == OTHER, 0)
    torch.testing.assert_close(got.presence, expected)
    assert torch.equal(got.logits, before.logits)
    # Losses and predictions of classes read these two.
    assert torch.equal(fitted(states, texts, like).presence, plain(states, texts, like).presence)
    assert torch.equal(fitted.presence_logits(states, texts, like.concepts), logits)


@pytest.mark.parametrize('fit', [[1], [0, 1], [1, math.inf], 'ab', 3, [1, 2, 3]])
def test_a_fit_that_is_none_is_refused(make_readout, fit):
    with pytest.raises(ValueError, match='presence_fit=.* a scale above 0 and an offset'):
        make_readout(presence_fit=fit)


def test_the_map_of_a_concept_is_the_attention_of_its_query(make_readout, states, texts, like):
    got = make_readout().answers(states, texts, like)
    assert (got.directions, got.layers) == (('spatial',), LAYERS)
    assert torch.equal(got.concepts, like.concepts) and torch.equal(got.valid, like.valid)
    for layer, attention in enumerate(states.attention):
        torch.testing.assert_close(got.spatial_log_probs()[:, layer].exp(), attention.view(B, M, *GRID))


def test_maps_over_concepts_compare_every_location_and_the_rest_is_the_others_logsumexp(
    make_readout, states, texts, like
):
    readout = make_readout()
    got = readout(states, texts, like)
    for b, layer, n in itertools.product(range(B), range(2), range(N)):
        patch = F.layer_norm(
            states.tokens[layer][b, n + 1], (C,), readout.patch_norm.weight, readout.patch_norm.bias
        )
        scores = []
        for text in texts:
            weight = readout.patch_head.weight @ text
            scores.append(15 / math.sqrt(C) * (patch @ weight) / weight.norm())
        kept = like.concepts[b, :2].tolist()
        others = torch.stack([s for c, s in enumerate(scores) if c not in kept])
        expected = torch.stack([*(scores[c] for c in kept), others.exp().sum().log()])
        torch.testing.assert_close(got.logits[b, layer, :, n // 4, n % 4], expected, rtol=1e-4, atol=1e-4)


def asked_about_all(states):
    """The states of a pass that was asked about the whole bank."""
    return replace(
        states,
        asked_queries=random(B, BANK, C),
        attention=tuple(random(B, BANK, N, seed=i).softmax(-1) for i in range(2)),
    )


def test_no_concepts_means_the_whole_bank_in_order(make_readout, make_maps, states, texts):
    readout, states = make_readout(), asked_about_all(states)
    implicit = make_maps(shape=(B, 1, BANK, *GRID))
    explicit = replace(implicit, concepts=torch.arange(BANK).expand(B, -1))
    assert torch.equal(readout(states, texts, implicit).logits, readout(states, texts, explicit).logits)
    assert readout(states, texts, implicit).concepts is None
    assert torch.equal(
        readout.asked_queries(texts, explicit.concepts), readout.asked_queries(texts).expand(B, -1, -1)
    )


def test_readings_stay_in_float32_under_autocast(make_readout, states, texts, like):
    readout = make_readout()
    with torch.autocast('cpu', torch.bfloat16):
        got, logits = readout(states, texts, like), readout.presence_logits(states, texts, like.concepts)
    expected, full = readout(states, texts, like), readout.presence_logits(states, texts, like.concepts)
    assert logits.dtype == torch.float32 and torch.equal(logits, full)
    for field in ('logits', 'spatial_logits', 'presence'):
        assert getattr(got, field).dtype == torch.float32
        assert torch.equal(getattr(got, field), getattr(expected, field))


def test_attention_that_is_zero_somewhere_gives_finite_maps_and_gradients(make_readout, states, texts, like):
    attention = torch.zeros(B, M, N)
    attention[..., 0] = 1
    attention.requires_grad_()
    got = make_readout().answers(replace(states, attention=(attention, attention)), texts, like)
    got.spatial_log_probs().sum().backward()
    assert got.check().logits.isfinite().all()
    assert attention.grad.isfinite().all()


def test_texts_that_do_not_fit_are_refused(make_readout):
    with pytest.raises(ValueError, match='readout.text_dims=8, but the teacher embeds its texts in 512 dims'):
        make_readout().check_texts(512)
    assert make_readout().check_texts(8) is None


@pytest.fixture
def rival_readout(make_readout, texts):
    """Asks the fixture's texts of 3 images; its answers weigh the share among all of them but the last."""
    readout = make_readout(contrast_weight=0.75)
    readout.fit_text_statistics(texts[:-1])
    return readout


def test_answers_weigh_attention_by_the_share_among_the_rivals(rival_readout, states, texts):
    asked = texts[[1, 2, 5]]  # the last is none of the rivals, and competes with them all the same
    maps = rival_readout.answers(states, asked, like_all(3)).logits
    weights = rival_readout._concept_vectors(torch.cat((texts, asked)))[:BANK]
    for b, layer, n in itertools.product(range(B), range(2), range(N)):
        patch = rival_readout.patch_norm(states.tokens[layer][b, 1 + n])
        scores = [float(patch @ w) for w in weights]
        for m, concept in enumerate((1, 2, 5)):
            others = scores[:-1] + ([scores[5]] if concept == 5 else [])
            share = math.exp(scores[concept]) / sum(math.exp(score) for score in others)
            expected = 0.25 * math.log(float(states.attention[layer][b, m, n])) + 1.5 * math.log(share)
            assert float(maps[b, layer, m].flatten()[n]) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_answers_do_not_depend_on_what_else_is_asked(rival_readout, states, texts):
    together = rival_readout.answers(states, texts[[1, 2, 5]], like_all(3)).logits
    for m, concept in enumerate((1, 2, 5)):
        one = replace(
            states,
            asked_queries=states.asked_queries[:, m : m + 1],
            attention=tuple(of_layer[:, m : m + 1] for of_layer in states.attention),
        )
        alone = rival_readout.answers(one, texts[[concept]], like_all(1)).logits
        torch.testing.assert_close(alone[:, :, 0], together[:, :, m], rtol=0, atol=1e-5)


def test_a_student_that_has_met_no_texts_answers_in_the_order_of_its_attention(make_readout, states, texts):
    plain, rival = (
        make_readout(contrast_weight=value).answers(states, texts[:M], like_all(M)) for value in (0.0, 0.5)
    )
    torch.testing.assert_close(rival.logits, plain.logits / 2)


def test_what_learns_over_positions_is_the_attention_alone(rival_readout, states, texts, like):
    learns = rival_readout(states, texts, like)
    expected = torch.stack(states.attention, 1).log().unflatten(-1, GRID)
    torch.testing.assert_close(learns.spatial_logits, expected)
    assert learns.presence.equal(rival_readout.answers(states, texts, like).presence)


def test_rivals_are_met_without_the_mean(rival_readout, texts):
    centre = rival_readout.text_centre.clone()
    rival_readout.set_contrast_texts(texts[:2])
    assert (
        torch.equal(rival_readout.contrast_texts[:2], texts[:2])
        and not rival_readout.contrast_texts[2:].any()
    )
    assert torch.equal(rival_readout.text_centre, centre)


@pytest.mark.parametrize('count', (1, 2, NUM_CONTRAST_TEXTS, NUM_CONTRAST_TEXTS + 1, 1000))
def test_a_readout_keeps_as_many_rivals_as_fit(make_readout, count):
    readout = make_readout(contrast_weight=1.0)
    texts = F.normalize(random(count, E), dim=-1)
    readout.fit_text_statistics(texts)
    kept = readout.contrast_texts[readout.contrast_texts.any(1)]
    assert len(kept) == min(count, NUM_CONTRAST_TEXTS)
    assert all((texts == text).all(1).any() for text in kept)
    other = make_readout(contrast_weight=1.0)
    other.load_state_dict(readout.state_dict())
    assert other.contrast_texts.equal(readout.contrast_texts)


@pytest.mark.parametrize('background', (1, 3, NUM_CONTRAST_TEXTS, 300))
@pytest.mark.parametrize('concepts', (1, NUM_CONTRAST_TEXTS - 2, NUM_CONTRAST_TEXTS, 200, 1203))
def test_the_background_stays_a_rival(make_readout, concepts, background):
    readout = make_readout(contrast_weight=1.0)
    # Each text tells its place in the bank.
    texts = torch.arange(1.0, concepts + background + 1)[:, None].expand(-1, E)
    readout.fit_text_statistics(texts, background)
    kept = [int(place) - 1 for place in readout.contrast_texts[:, 0] if place]
    assert len(set(kept)) == len(kept) == min(len(texts), NUM_CONTRAST_TEXTS)
    assert kept == sorted(kept)
    behind = [place for place in kept if place >= concepts]
    assert len(behind) == min(background, NUM_CONTRAST_TEXTS)


def test_answers_among_rivals_stay_in_float32_under_autocast(rival_readout, states, texts):
    expected = rival_readout.answers(states, texts[[1, 2, 5]], like_all(3)).logits
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast('cpu', dtype):
            got = rival_readout.answers(states, texts[[1, 2, 5]], like_all(3)).logits
        assert torch.equal(got, expected)


def test_a_rival_that_was_rounded_is_no_other_text(rival_readout, states, texts):
    """As half precision rounds; counted as its own rival it would have half of its share everywhere."""
    expected = rival_readout.answers(states, texts[:M], like_all(M)).logits
    for dtype in (torch.float16, torch.bfloat16):
        got = rival_readout.answers(states, texts[:M].to(dtype).float(), like_all(M)).logits
        torch.testing.assert_close(got, expected, rtol=0.02, atol=0.2)


@pytest.mark.parametrize('contrast_weight', [-1, 1.01, math.nan])
def test_rivalry_that_weighs_nothing_is_refused(make_readout, contrast_weight):
    with pytest.raises(ValueError, match=rf'contrast_weight={contrast_weight} must lie in \[0, 1\]'):
        make_readout(contrast_weight=contrast_weight)


def test_attention_of_half_precision_is_read_in_float32(make_readout, states, texts, like):
    """As a backbone of one's own records it under autocast."""
    readout = make_readout()
    rounded = tuple(each.bfloat16() for each in states.attention)
    half = replace(states, attention=rounded)
    full = replace(states, attention=tuple(each.float() for each in rounded))
    with torch.autocast('cpu', torch.bfloat16):
        found, expected = readout(half, texts, like), readout(full, texts, like)
    assert found.spatial_logits.dtype == found.presence.dtype == torch.float32
    assert torch.equal(found.spatial_logits, expected.spatial_logits)
    assert torch.equal(found.presence, expected.presence)
