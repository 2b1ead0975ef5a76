"""Concepts that a picture is asked about, against references that go through the bank one by one."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.concepts import ConceptBank
from lfi.models.teachers.asked_concepts import choose_concepts, maps_of_concepts, topk_concepts
from lfi.structures import OTHER, InteractionMaps

few_examples = settings(max_examples=20, derandomize=True)
BANK = ConceptBank(tuple(f'c{i}' for i in range(8)), ('{}',), torch.eye(8), 1)
"""Seven concepts and a background."""


def full_maps(b, seed):
    """Maps of the whole bank."""
    generator = torch.Generator().manual_seed(seed)
    return InteractionMaps(
        logits=3 * torch.randn(b, 2, len(BANK), 3, 3, generator=generator),
        presence=torch.rand(b, len(BANK), generator=generator),
        valid=torch.ones(b, 3, 3, dtype=torch.bool),
        layers=(0, 1),
    )


def kept_maps(b, seed, kept):
    """Maps of the `kept` most present concepts and of all others; of the whole bank for None."""
    maps = full_maps(b, seed)
    return maps if kept is None else topk_concepts(maps, None, BANK, kept)


def concepts_of(maps, b):
    return list(range(len(BANK))) if maps.concepts is None else maps.concepts[b].tolist()


@few_examples
@given(
    seed=st.integers(0, 99),
    kept=st.sampled_from([None, 4, 5]),
    n=st.integers(1, 3),
    m=st.integers(1, 4),
    labelled=st.booleans(),
)
def test_labels_come_first_and_then_presence_in_all_images(seed, kept, n, m, labelled):
    images = [kept_maps(3, seed + 100 * i, kept) for i in range(n)]
    generator = torch.Generator().manual_seed(seed)
    area = torch.rand(3, n, generator=generator).softmax(1)
    labels = 0.1 * (torch.rand(3, len(BANK), generator=generator) < 0.2).float() if labelled else None
    chosen = choose_concepts(images, area, labels, BANK, m)
    for b in range(3):
        presence = {}
        for i, maps in enumerate(images):
            for concept, value in zip(concepts_of(maps, b), maps.presence[b].tolist()):
                if 0 <= concept < BANK.num_concepts:
                    presence[concept] = presence.get(concept, 0) + area[b, i].item() * value
        own_labels = () if labels is None else labels[b].nonzero().flatten().tolist()
        order = sorted((concept not in own_labels, -value, concept) for concept, value in presence.items())
        assert chosen[b].tolist() == [concept for _, _, concept in order[:m]]


def test_an_image_of_which_nothing_is_visible_brings_no_concept():
    first, second = (kept_maps(1, seed, 4) for seed in (0, 1))
    own = set(first.concepts[0, :4].tolist())
    labels = torch.ones(1, len(BANK))
    assert set(second.concepts[0, :4].tolist()) != own
    chosen = choose_concepts([first, second], torch.tensor([[1.0, 0.0]]), labels, BANK, 4)
    assert set(chosen[0].tolist()) == own


@few_examples
@given(seed=st.integers(0, 99), kept=st.sampled_from([None, 3, 5]), m=st.integers(1, 6))
def test_the_rest_has_the_probability_of_all_other_texts(seed, kept, m):
    maps = kept_maps(2, seed, kept)
    concepts = torch.rand(2, len(BANK), generator=torch.Generator().manual_seed(seed)).topk(m, 1).indices
    found = maps_of_concepts(maps, concepts, len(BANK)).check()
    assert found.concepts.tolist() == [[*row, OTHER] for row in concepts.tolist()]
    for b in range(2):
        own = concepts_of(maps, b)
        p = maps.logits[b].double().softmax(1)  # [L, K, h, w]
        # The rest of the maps is divided evenly among the texts that have none.
        spread = p[:, -1] / (len(BANK) - len(own) + 1)
        every = torch.stack([p[:, own.index(c)] if c in own else spread for c in range(len(BANK))], 1)
        asked = every[:, concepts[b]]
        expected = torch.cat((asked, 1 - asked.sum(1, keepdim=True)), 1)
        torch.testing.assert_close(found.logits[b].double().softmax(1), expected, atol=1e-5, rtol=1e-4)
        presence = [maps.presence[b, own.index(c)].item() if c in own else 0.0 for c in concepts[b].tolist()]
        assert found.presence[b].tolist() == pytest.approx([*presence, 0.0])


def test_the_scale_of_scores_stays():
    maps = full_maps(2, 0)
    found = topk_concepts(replace(maps, logits=maps.logits + 5), None, BANK, 3)
    torch.testing.assert_close(found.logits, topk_concepts(maps, None, BANK, 3).logits + 5)
