"""The questions that a generative VLM is asked about concepts, as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lfi.utils.repositories import first_line

MOST_TEMPLATE = 2**16
"""Characters of a chat template: published ones have a few thousand."""


@dataclass(frozen=True)
class Questions:
    """Prompts with an image and one word each, cut where they begin to differ.

    Args:
        prefix: (P,), the token ids that all share, the image's among them.
        rest: (Q, S), the others of each prompt, padded at the right.
        words: (Q, S), the weights of the mean over the tokens of the prompt's word, 0 elsewhere.
        last: (Q,), the index of the prompt's last token in `rest`.
    """

    prefix: Tensor
    rest: Tensor
    words: Tensor
    last: Tensor

    @classmethod
    def of(
        cls, processor: Any, question: str, words: Sequence[str], image_text: str, bare_image: str
    ) -> Questions:
        """Ask about words.

        Args:
            processor: the model's; its chat template, where it has one, puts the question.
            question: with one `{}` for the word.
            words: Q of them.
            image_text: what takes the place of the image token in the prompt.
            bare_image: what stands for the image where there is no chat template.

        Raises:
            ValueError: if the chat template is too long or cannot be run, a prompt does not begin with one
                image, or does not hold the question as it is, or the tokenizer cannot say which characters a
                token is of.
        """
        if not processor.tokenizer.is_fast:
            raise ValueError(
                f'{type(processor.tokenizer).__name__} does not say which characters a token is of: a fast '
                'tokenizer (tokenizer.json) is needed'
            )
        token = processor.image_token
        prompts, starts = [], []
        for word in words:
            asked = question.replace('{}', word)
            prompt = _prompt(processor, asked, bare_image)
            if prompt.count(token) != 1 or asked not in prompt.partition(token)[2]:
                raise ValueError(
                    f'the chat template makes the prompt {prompt!r}: it must hold one {token!r}, and after '
                    f'it the question {asked!r}'
                )
            prompts.append(prompt.replace(token, image_text))
            starts.append(prompts[-1].rindex(asked) + question.index('{}'))
        encoded = processor.tokenizer(prompts, return_offsets_mapping=True)
        ids = [torch.tensor(row) for row in encoded['input_ids']]
        marks = [
            torch.tensor([a < start + len(word) and b > max(a, start) for a, b in offsets])
            for offsets, start, word in zip(encoded['offset_mapping'], starts, words)
        ]
        n = min(_n_shared(ids), *(int(mark.nonzero()[0]) for mark in marks))
        weights = [mark[n:] / mark.sum() for mark in marks]
        return cls(
            prefix=ids[0][:n],
            rest=pad_sequence([row[n:] for row in ids], batch_first=True),
            words=pad_sequence(weights, batch_first=True),
            last=torch.tensor([len(row) - n - 1 for row in ids]),
        )


def answer_ids(tokenizer: Any, answer: str) -> list[int]:
    """The single tokens that say an answer: 'yes' and 'Yes', alone or after a space.

    Raises:
        ValueError: if the tokenizer has none.
    """
    vocabulary = tokenizer.get_vocab()
    # How byte-level BPE and SentencePiece write a space.
    spelt = [space + word for word in (answer, answer.capitalize()) for space in ('', 'Ġ', '▁')]
    ids = [vocabulary[token] for token in spelt if token in vocabulary]
    if not ids:
        raise ValueError(f'the tokenizer has no token for the answer {answer!r}: presence cannot be read')
    return ids


def _prompt(processor: Any, question: str, bare_image: str) -> str:
    if not processor.chat_template:
        return f'{bare_image}\n{question}'
    length = len(str(processor.chat_template))
    if length > MOST_TEMPLATE:
        raise ValueError(f'the chat template has {length:,} characters, more than {MOST_TEMPLATE:,}')
    content = [dict(type='image'), dict(type='text', text=question)]
    messages = [dict(role='user', content=content)]
    try:
        return str(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    # It is a program of someone else.
    except Exception as error:
        raise ValueError(f'the chat template cannot be run: {first_line(error)}') from error


def _n_shared(rows: Sequence[Tensor]) -> int:
    """How many ids at the front are the same in all rows."""
    n = min(map(len, rows))
    same = (torch.stack([row[:n] for row in rows]) == rows[0][:n]).all(0)
    return int(same.long().cumprod(0).sum())
