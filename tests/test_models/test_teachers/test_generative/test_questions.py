"""Questions to generative VLMs as token ids."""

import pytest
import torch
from lfi.models.teachers.generative.questions import Questions, answer_ids
from lfi.models.teachers.loading.weights import load_vlm


@pytest.fixture
def make_questions(generative_folder):
    """Questions to a tiny LLaVA, and the model; `changes` are of its processor."""

    def make(words=('cat', 'red bus', 'red cat'), question='a {}: yes, no.', **changes):
        vlm, _ = load_vlm(f'transformers:{generative_folder("llava")}', None, allow_random=False)
        for name, value in changes.items():
            setattr(vlm.processor, name, value)
        see = vlm.visual
        return Questions.of(vlm.processor, question, words, see.text((32, 32)), see.bare_image), vlm

    return make


def test_prompts_are_cut_before_the_first_word(make_questions):
    asked, vlm = make_questions()
    decode = vlm.processor.tokenizer.decode
    # Two words begin alike: their first token is not part of what all share.
    assert decode(asked.prefix) == f'<s>User: {"<image>" * 16}\na'
    for row, words, last, text in zip(
        asked.suffixes, asked.word_weights, asked.last_index, ('cat', 'red bus', 'red cat')
    ):
        assert decode(row[: last + 1]) == f' {text}: yes, no.\nAssistant:'
        assert decode(row[words > 0]).strip() == text
        torch.testing.assert_close(words.sum(), torch.tensor(1.0))
        assert len(words[words > 0].unique()) == 1


def test_without_a_chat_template_the_question_follows_the_image(make_questions):
    asked, vlm = make_questions(chat_template=None)
    decode = vlm.processor.tokenizer.decode
    assert decode(asked.prefix) == f'{"<image>" * 16}\na'
    assert decode(asked.suffixes[0, : asked.last_index[0] + 1]) == ' cat: yes, no.'


@pytest.mark.parametrize(
    'template',
    ['{{ messages[0].content[1].text }}<image>', '<image>{{ messages[0].content[1].text | upper }}'],
)
def test_a_template_that_hides_the_question_or_puts_the_image_after_it_is_refused(make_questions, template):
    with pytest.raises(ValueError, match="the chat template makes the prompt .* one '<image>', and after it"):
        make_questions(chat_template=template)


@pytest.mark.parametrize(
    ('template', 'message'),
    [
        ("{{ ''.__class__.__mro__ }}", "cannot be run: access to attribute '__class__' of 'str' .* unsafe"),
        ('{% if %}', 'cannot be run: '),
        ("{% include '/etc/passwd' %}", 'cannot be run: no loader'),
        ('{{ 1 / 0 }}', 'cannot be run: division by zero'),
        ('x' * 100_000, 'has 100,000 characters, more than 65,536'),
    ],
)
def test_a_template_that_fails_or_is_long_is_refused_in_a_line(make_questions, template, message):
    with pytest.raises(ValueError, match=f'the chat template {message}') as refused:
        make_questions(chat_template=template)
    assert '\n' not in str(refused.value)


def test_a_slow_tokenizer_is_refused(make_questions, monkeypatch):
    _, vlm = make_questions()
    monkeypatch.setattr(type(vlm.processor.tokenizer), 'is_fast', False)
    with pytest.raises(
        ValueError, match=r'PreTrainedTokenizerFast gives no .* \(tokenizer\.json\) is needed'
    ):
        make_questions()


def test_answers_are_single_tokens_in_each_spelling(make_questions):
    tokenizer = make_questions()[1].processor.tokenizer
    yes = tokenizer.convert_ids_to_tokens(answer_ids(tokenizer, 'yes'))
    assert sorted(yes) == sorted(['yes', 'Yes', 'Ġyes', 'ĠYes'])
    with pytest.raises(ValueError, match="no token for the answer 'xylophone'"):
        answer_ids(tokenizer, 'xylophone')
