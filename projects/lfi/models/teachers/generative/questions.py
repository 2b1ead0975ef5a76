"""Questions about concepts for a generative VLM, as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lfi.utils.repositories import first_lines

MAX_TEMPLATE_LENGTH = 2**16
"""Largest number of characters of a chat template: published templates have a few thousand."""


@dataclass(frozen=True)
class Questions:
    """Prompts with an image and one word each, split into a shared prefix and suffixes.

    Args:
        prefix: (P,), token ids of the shared prefix, including the image's.
        suffixes: (Q, S), token ids after the prefix, padded at the right.
        word_weights: (Q, S), weights that average the tokens of the prompt's word, 0 for other tokens.
        last_index: (Q,), index of the prompt's last token in `suffixes`.
    """

    prefix: Tensor
    suffixes: Tensor
    word_weights: Tensor
    last_index: Tensor

    @classmethod
    def of(
        cls, processor: Any, question: str, words: Sequence[str], image_text: str, bare_image: str
    ) -> Questions:
        """Build one question for each word.

        Args:
            processor: processor of the model, with or without a chat template.
            question: question with one `{}` for the word.
            words: Q words.
            image_text: text that replaces the image token in the prompt.
            bare_image: text for the image if the processor has no chat template.

        Raises:
            ValueError: if the chat template is too long or fails, a prompt does not have one image and then
                the unchanged question, or the tokenizer gives no character offsets.
        """
        if not processor.tokenizer.is_fast:
            raise ValueError(
                f'{type(processor.tokenizer).__name__} gives no character offsets of tokens: a fast '
                'tokenizer (tokenizer.json) is needed'
            )
        token = processor.image_token
        prompts, starts = [], []
        for word in words:
            filled = question.replace('{}', word)
            prompt = _prompt(processor, filled, bare_image)
            if prompt.count(token) != 1 or filled not in prompt.partition(token)[2]:
                raise ValueError(
                    f'the chat template makes the prompt {prompt!r}: it must have one {token!r}, and after '
                    f'it the question {filled!r}'
                )
            prompts.append(prompt.replace(token, image_text))
            starts.append(prompts[-1].rindex(filled) + question.index('{}'))
        encoded = processor.tokenizer(prompts, return_offsets_mapping=True)
        ids = [torch.tensor(row) for row in encoded['input_ids']]
        word_masks = [
            torch.tensor([a < start + len(word) and b > max(a, start) for a, b in offsets])
            for offsets, start, word in zip(encoded['offset_mapping'], starts, words)
        ]
        n_shared = min(_n_equal(ids), *(int(mask.nonzero()[0]) for mask in word_masks))
        weights = [mask[n_shared:] / mask.sum() for mask in word_masks]
        return cls(
            prefix=ids[0][:n_shared],
            suffixes=pad_sequence([row[n_shared:] for row in ids], batch_first=True),
            word_weights=pad_sequence(weights, batch_first=True),
            last_index=torch.tensor([len(row) - n_shared - 1 for row in ids]),
        )


def answer_ids(tokenizer: Any, answer: str) -> list[int]:
    """Ids of the single tokens that spell an answer: 'yes' and 'Yes', alone or after a space.

    Raises:
        ValueError: if the tokenizer has no such token.
    """
    vocabulary = tokenizer.get_vocab()
    # Byte-level BPE and SentencePiece write a space as 'Ġ' and '▁'.
    spellings = [space + word for word in (answer, answer.capitalize()) for space in ('', 'Ġ', '▁')]
    ids = [vocabulary[token] for token in spellings if token in vocabulary]
    if not ids:
        raise ValueError(f'the tokenizer has no token for the answer {answer!r}: presence cannot be read')
    return ids


def _prompt(processor: Any, question: str, bare_image: str) -> str:
    if not processor.chat_template:
        return f'{bare_image}\n{question}'
    length = len(str(processor.chat_template))
    if length > MAX_TEMPLATE_LENGTH:
        raise ValueError(f'the chat template has {length:,} characters, more than {MAX_TEMPLATE_LENGTH:,}')
    content = [dict(type='image'), dict(type='text', text=question)]
    messages = [dict(role='user', content=content)]
    try:
        return str(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    # The template is a foreign program and may raise any error.
    except Exception as error:
        raise ValueError(f'the chat template cannot be run: {first_lines(error)}') from error


def _n_equal(rows: Sequence[Tensor]) -> int:
    """Number of ids at the front that are the same in all rows."""
    n = min(map(len, rows))
    same = (torch.stack([row[:n] for row in rows]) == rows[0][:n]).all(0)
    return int(same.long().cumprod(0).sum())
