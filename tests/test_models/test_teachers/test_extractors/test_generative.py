"""Generative VLMs against the attentions that their own forward pass returns, prompt by prompt."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from lfi.concepts import ConceptBank
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers.extractors import GenerativeExtractor, MaskCLIPExtractor
from lfi.models.teachers.generative.generative_vlm import GenerativeTokenizer
from lfi.models.teachers.loading.weights import load_vlm
from lfi.structures import PixelFormat
from slow_vit import random

NAMES = ('cat', 'red bus', 'xylophone')
QUESTION = 'Is there a {} in the image? Answer yes or no.'
SIZES = dict(llava=(32, 32), idefics3=(48, 24), smolvlm=(48, 24), qwen2_vl=(24, 40), qwen2_5_vl=(24, 40))
TILED = ('idefics3', 'smolvlm')
each_kind = pytest.mark.parametrize('kind', SIZES)


def bank_of(vlm, tokenizer, names=NAMES, templates=('{}',)):
    with torch.no_grad():
        return ConceptBank.encode(names, templates, lambda texts: vlm.encode_text(tokenizer(texts)))


@pytest.fixture
def make_extractor(generative_folder):
    """An extractor of a fresh model, and the model; `edit` may change the model before."""

    def make(kind, edit=lambda visual: None, **options):
        vlm, tokenizer = load_vlm(f'transformers:{generative_folder(kind)}', None, allow_random=False)
        edit(vlm.visual)
        return GenerativeExtractor.from_vlm(vlm, tokenizer, bank_of(vlm, tokenizer), **options), vlm

    return make


def prompt_of(question, image):
    return f'<s>User: {image}{question}\nAssistant:'


TILES = (
    f'<fake_token_around_image><row_1_col_1>{"<image>" * 9}\n'
    f'<fake_token_around_image><row_2_col_1>{"<image>" * 9}\n\n'
    f'<fake_token_around_image><global-img>{"<image>" * 9}<fake_token_around_image>'
)
MERGED = f'<|vision_start|>{"<|image_pad|>" * 15}<|vision_end|>'
IMAGES = dict(
    llava='<image>' * 16 + '\n',
    idefics3=TILES,
    smolvlm=TILES,
    qwen2_vl=MERGED,
    qwen2_5_vl=MERGED,
)
"""What stands for an image of its kind's size in `SIZES` in a prompt, as its processor puts it."""


def lay_back(kind, row):
    """The values of image tokens (N,) on the grid."""
    if kind == 'llava':
        return row.view(4, 4)
    if kind not in TILED:
        return row.view(3, 5)
    upper, lower, complete = row.view(3, 3, 3)
    grid = torch.cat((upper, lower))
    for y in range(6):
        for x in range(3):
            grid[y, x] += complete[y // 2, x] / 2
    return grid


def find(ids, part):
    """The indices of the last place where ids hold a part."""
    starts = [i for i in range(len(ids) - len(part) + 1) if ids[i : i + len(part)] == part]
    return list(range(starts[-1], starts[-1] + len(part)))


@torch.no_grad()
def slow_answer(vlm, kind, image, question, word):
    """The attention (L, heads, h, w) of a word's tokens, and P(yes), by the model's own forward pass."""
    tokenizer, model = vlm.processor.tokenizer, vlm.visual.model
    prompt = prompt_of(question.replace('{}', word), IMAGES[kind])
    ids = tokenizer(prompt).input_ids
    # A space that is a token by itself is none of the word's.
    own = tokenizer(f' {word}', add_special_tokens=False).input_ids
    words = find(ids, own[own[0] == tokenizer.convert_tokens_to_ids('Ġ') :])
    tokens = tokenizer.convert_tokens_to_ids(['<|image_pad|>', '<image>'])
    places = [i for i, one in enumerate(ids) if one in tokens]
    output = model(
        input_ids=torch.tensor([ids]), **vlm.visual.model_inputs(image[None]), output_attentions=True
    )
    layers = [layer[0][:, words][:, :, places].mean(1) for layer in output.attentions]  # [heads, N]
    maps = torch.stack([torch.stack([lay_back(kind, head) for head in layer]) for layer in layers])
    probabilities = output.logits[0, -1].softmax(0)
    yes, no = (
        sum(probabilities[i] for token, i in tokenizer.get_vocab().items() if token.strip('Ġ') in spelt)
        for spelt in (('yes', 'Yes'), ('no', 'No'))
    )
    return maps, yes / (yes + no)


@each_kind
@torch.no_grad()
def test_maps_are_the_models_own_attention_relative_to_a_neutral_word(make_extractor, kind):
    extractor, vlm = make_extractor(kind)
    images = random(2, 3, *SIZES[kind])
    maps, presence = extractor.maps_and_presence(images)
    for image, image_maps, image_presence in zip(images, maps, presence):
        neutral, _ = slow_answer(vlm, kind, image, QUESTION, 'thing')
        for c, name in enumerate(NAMES):
            attention, yes = slow_answer(vlm, kind, image, QUESTION, name)
            expected = attention.mean(1).log() - neutral.mean(1).log()
            torch.testing.assert_close(image_maps[:, c], expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(image_presence[c], yes, atol=1e-5, rtol=1e-5)
    assert maps.std((-2, -1)).min() > 0.05 and presence.std() > 1e-3


@torch.no_grad()
def test_question_neutral_word_layers_and_heads_are_options(make_extractor):
    question = 'a {}: yes, no.'
    extractor, vlm = make_extractor('llava', question=question, neutral='dog', layers=[-1], heads=[2, 0])
    image = random(3, 32, 32)
    maps, presence = extractor.maps_and_presence(image[None])
    attention, yes = slow_answer(vlm, 'llava', image, question, 'red bus')
    neutral, _ = slow_answer(vlm, 'llava', image, question, 'dog')
    expected = attention[1:, [0, 2]].mean(1).log() - neutral[1:, [0, 2]].mean(1).log()
    torch.testing.assert_close(maps[0, :, 1], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(presence[0, 1], yes, atol=1e-5, rtol=1e-5)


@each_kind
@torch.no_grad()
def test_neither_the_batch_of_images_nor_that_of_questions_matters(make_extractor, kind):
    images = random(3, 3, *SIZES[kind])
    together = make_extractor(kind)[0].maps_and_presence(images)
    extractor, _ = make_extractor(kind, batch_size=1)
    for alone in (
        extractor.maps_and_presence(images),
        [torch.cat(x) for x in zip(*map(extractor.maps_and_presence, images.split(1)))],
    ):
        for a, b in zip(alone, together):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def forget_positions(visual):
    """Neither the tower nor the decoder knows where a token is."""
    for name, module in visual.model.named_modules():
        if name.endswith('position_embedding'):
            module.weight.data.zero_()
        if hasattr(module, 'inv_freq'):
            module.inv_freq.zero_()


# The tower of Qwen2.5-VL looks through windows, where much changes with a patch.
@pytest.mark.parametrize('kind', [kind for kind in SIZES if kind != 'qwen2_5_vl'])
@torch.no_grad()
def test_the_peak_of_the_first_layer_moves_with_a_patch(make_extractor, kind):
    # A later layer's keys have seen the image tokens before them, and those alone.
    extractor, _ = make_extractor(kind, forget_positions, layers=[0])
    patch = 3 * random(3, 8, 8, seed=2)
    plain = torch.full((1, 3, *SIZES[kind]), 0.1)
    h, w = extractor.visual.grid(SIZES[kind])
    others, _ = extractor.maps_and_presence(plain)
    found = []
    for y in range(h):
        for x in range(w):
            image = plain.clone()
            image[0, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = patch
            maps = extractor.maps_and_presence(image)[0] - others
            found.append(maps)
            peaks = (maps - maps.flatten(-2).median(-1).values[..., None, None]).abs().flatten(-2).argmax(-1)
            assert (peaks == y * w + x).all(), (y, x)
    # The complete image's tokens are wider than a cell.
    if kind not in TILED:
        for i, maps in enumerate(found):
            expected = found[0].roll((i // w, i % w), (-2, -1))
            torch.testing.assert_close(maps, expected, atol=1e-4, rtol=1e-4)


@each_kind
@torch.no_grad()
def test_the_embeddings_are_means_of_image_tokens_and_of_the_words_own_tokens(make_extractor, kind):
    extractor, vlm = make_extractor(kind)
    images = random(2, 3, *SIZES[kind])
    model, tokenizer = vlm.visual.model, vlm.processor.tokenizer
    features = model.get_image_features(**vlm.visual.model_inputs(images))
    expected = F.normalize(torch.stack(list(features)).view(2, -1, 32).mean(1), dim=-1)
    texts = torch.zeros(3, 32)
    torch.testing.assert_close(extractor.pooled(images, texts), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vlm.encode_image(images), expected, atol=1e-5, rtol=1e-5)
    # A space before the last one would be a token more.
    words = [
        tokenizer(text, add_special_tokens=False).input_ids for text in (' cat', ' red bus', 'xylophone')
    ]
    words = [model.get_input_embeddings()(torch.tensor(ids)).mean(0) for ids in words]
    bank = bank_of(vlm, GenerativeTokenizer(tokenizer))
    torch.testing.assert_close(bank.embeddings, F.normalize(torch.stack(words), dim=-1))


def test_a_folder_that_brings_code_is_refused(generative_folder, tmp_path):
    folder = shutil.copytree(generative_folder('llava'), tmp_path / 'vlm')
    (folder / 'custom_generate').mkdir()
    (folder / 'custom_generate/generate.py').write_text('raise SystemExit')
    with pytest.raises(ValueError, match=r'custom_generate is code, which transformers would run'):
        load_vlm(f'transformers:{folder}', None, allow_random=False)


@each_kind
@torch.no_grad()
def test_a_teacher_reads_it(generative_folder, kind):
    teacher = VLMAttentionTeacher(
        f'transformers:{generative_folder(kind)}',
        extractor=dict(type='generative'),
        concepts=NAMES,
        templates=('{}',),
        input_size=SIZES[kind],
        max_concepts=2,
    )
    # The batch's pixels are the model's own.
    pixels = PixelFormat((127.5, 102.0, 76.5), (51.0, 63.75, 76.5), rgb=True)
    images = random(2, 3, *SIZES[kind])
    maps, presence = teacher.extractor.maps_and_presence(images)
    every = teacher.maps_of_bank(images, pixels).check()
    torch.testing.assert_close(every.logits, maps, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(every.presence, presence, atol=1e-5, rtol=1e-5)
    assert every.directions == ('spatial',) and teacher.presence_kind == 'the answer, concept by concept'
    kept = teacher(images, pixels, labels=torch.eye(2, 3)).check()
    assert kept.concepts[:, 0].tolist() == [0, 1]


@torch.no_grad()
def test_an_answer_that_is_no_number_is_refused(make_extractor):
    extractor, vlm = make_extractor('llava')
    images = random(1, 3, *SIZES['llava'])
    vlm.visual.model.lm_head.weight[extractor.yes[0]] = float('nan')
    with pytest.raises(ValueError, match=r'answer of the teacher .*llava is not finite'):
        extractor.maps_and_presence(images)


def test_by_default_four_layers_of_the_middle_half_are_read(make_extractor):
    def stretch(n):
        def edit(visual):
            visual.decoder.config.num_hidden_layers = n

        return edit

    for n, expected in ((1, [0]), (2, [0, 1]), (30, [7, 12, 17, 22]), (32, [8, 13, 18, 24])):
        assert make_extractor('llava', stretch(n))[0].layers == expected


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(layers=[2]), r"layers=\[2\] must be some of the decoder's 2, from -2 to 1"),
        (dict(layers=[]), r'layers=\[\] must be some of'),
        (dict(heads=[0, 4]), r"heads=\[0, 4\] must be some of the decoder's 4, from -4 to 3"),
        (dict(question='Is it there?'), r"question='Is it there\?' must have one {} for the concept"),
        (dict(question='{} or {}?'), 'must have one {}'),
        (dict(neutral=' '), "neutral=' ' must be a word"),
        (dict(batch_size=0), 'batch_size=0 must be at least 1'),
    ],
)
def test_an_option_out_of_its_range_is_refused(make_extractor, options, message):
    with pytest.raises(ValueError, match=message):
        make_extractor('llava', **options)


def test_templates_are_no_prompts(generative_folder):
    vlm, tokenizer = load_vlm(f'transformers:{generative_folder("llava")}', None, allow_random=False)
    with pytest.raises(ValueError, match=r"templates=\('a {}',\) must be \('{}',\) .* extractor.question is"):
        GenerativeExtractor.from_vlm(vlm, tokenizer, bank_of(vlm, tokenizer, templates=('a {}',)))


def test_a_model_of_another_kind_is_refused_and_so_is_another_extractor(generative_folder, teacher_folder):
    vlm, tokenizer = load_vlm(teacher_folder('vit'), None, allow_random=False)
    with pytest.raises(ValueError, match="'generative' reads generative VLMs .*, not this model's CLIP"):
        GenerativeExtractor.from_vlm(vlm, tokenizer, bank_of(vlm, tokenizer))
    vlm, tokenizer = load_vlm(f'transformers:{generative_folder("llava")}', None, allow_random=False)
    with pytest.raises(ValueError, match="no extractor reads this model's image tower, a PlainGrid"):
        MaskCLIPExtractor.from_vlm(vlm, tokenizer, bank_of(vlm, tokenizer))
