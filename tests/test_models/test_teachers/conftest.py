"""Generative VLMs of each kind that can be read, small and with random weights; and damaged caches."""

import json
from pathlib import Path

import pytest
import torch
from lfi.structures import InteractionMaps, packed_dtype

TEXTS = [
    'Is there a cat in the image? Answer yes or no.',
    'a dog, a red bus, a thing: yes, no. Yes No',
    'a photo of a dog. the red bus in a photo',
]
SPECIAL = ['<pad>', '<s>', '</s>', '<unk>', '<image>', '<|image_pad|>', '<|video_pad|>', '<global-img>']
SPECIAL += ['<|vision_start|>', '<|vision_end|>', '<fake_token_around_image>', '<end_of_utterance>']
SPECIAL += [f'<row_{row}_col_{col}>' for row in range(1, 4) for col in range(1, 4)]
CHAT = (
    '<s>{%% for message in messages %%}User: {%% for part in message.content %%}'
    "{%% if part.type == 'image' %%}{{ '%s' }}{%% else %%}{{ part.text }}{%% endif %%}"
    '{%% endfor %%}{%% endfor %%}'
    "{%% if add_generation_prompt %%}{{ '\\nAssistant:' }}{%% endif %%}"
)
PIXELS = dict(image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.25, 0.3])
TEXT = dict(
    vocab_size=400,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)
VISION = dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)


def make_tokenizer(kind):
    """A byte-level BPE that knows the words of `TEXTS`, as a fast tokenizer of transformers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=370, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(20 * TEXTS, trainer)
    return kind(
        tokenizer_object=tokenizer,
        bos_token='<s>',
        eos_token='</s>',
        unk_token='<unk>',
        pad_token='<pad>',
        additional_special_tokens=SPECIAL[4:],
    )


def llava(text, vision, tower='clip_vision_model', side=32):
    from transformers import (
        CLIPImageProcessor,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    tokenizer = make_tokenizer(PreTrainedTokenizerFast)
    size = dict(height=side, width=side)
    clip = tower == 'clip_vision_model'
    processor = LlavaProcessor(
        CLIPImageProcessor(size=size, crop_size=size, **PIXELS),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy='default' if clip else 'full',
        num_additional_image_tokens=int(clip),
        chat_template=CHAT % '<image>\\n',
    )
    config = LlavaConfig(
        text_config=dict(model_type='llama', **text),
        vision_config=dict(model_type=tower, image_size=side, patch_size=8, **vision),
        vision_feature_select_strategy='default' if clip else 'full',
        image_token_index=tokenizer.convert_tokens_to_ids('<image>'),
    )
    return LlavaForConditionalGeneration, config, processor


def tiled(text, vision, name, *parts):
    import transformers

    tokenizer = make_tokenizer(transformers.PreTrainedTokenizerFast)
    part = {end: getattr(transformers, name + end) for end in ('ImageProcessor', 'Processor', 'Config')}
    pixels = part['ImageProcessor'](
        size=dict(longest_edge=48), max_image_size=dict(longest_edge=24), **PIXELS
    )
    processor = part['Processor'](pixels, tokenizer, *parts, image_seq_len=9, chat_template=CHAT % '<image>')
    config = part['Config'](
        text_config=dict(model_type='llama', pad_token_id=0, **text),
        vision_config=dict(image_size=24, patch_size=4, **vision),
        image_token_id=tokenizer.convert_tokens_to_ids('<image>'),
        scale_factor=2,
        pad_token_id=0,
    )
    return getattr(transformers, f'{name}ForConditionalGeneration'), config, processor


def smolvlm(text, vision):
    import transformers
    from transformers.models.smolvlm import processing_smolvlm

    # It spells the times of videos; the processor wants it in any case.
    processing_smolvlm.num2words = processing_smolvlm.num2words or str
    return tiled(text, vision, 'SmolVLM', transformers.SmolVLMVideoProcessor())


def merged(text, vision, name):
    import transformers

    tokenizer = make_tokenizer(transformers.Qwen2TokenizerFast)
    image = dict(patch_size=4, merge_size=2, min_pixels=64, max_pixels=64 * 64, **PIXELS)
    processor = getattr(transformers, f'{name}Processor')(
        transformers.Qwen2VLImageProcessor(**image),
        tokenizer,
        transformers.Qwen2VLVideoProcessor(),
        chat_template=CHAT % '<|vision_start|><|image_pad|><|vision_end|>',
    )
    names = dict(image='<|image_pad|>', video='<|video_pad|>')
    names.update({f'vision_{end}': f'<|vision_{end}|>' for end in ('start', 'end')})
    config = getattr(transformers, f'{name}Config')(
        text_config=dict(rope_scaling=dict(type='mrope', mrope_section=[1, 1, 2]), **text),
        vision_config=dict(depth=2, num_heads=2, patch_size=4, **vision),
        **{f'{name}_token_id': tokenizer.convert_tokens_to_ids(token) for name, token in names.items()},
    )
    return getattr(transformers, f'{name}ForConditionalGeneration'), config, processor


KINDS = dict(
    llava=llava,
    # Patches of 8 do not fill 36 px, as those of 14 do not fill SigLIP's 384.
    llava_siglip=lambda text, vision: llava(text, vision, 'siglip_vision_model', 36),
    idefics3=lambda text, vision: tiled(text, vision, 'Idefics3'),
    smolvlm=smolvlm,
    qwen2_vl=lambda text, _: merged(text, dict(embed_dim=24, hidden_size=32, mlp_ratio=2), 'Qwen2VL'),
    qwen2_5_vl=lambda text, _: merged(
        text,
        dict(
            hidden_size=24,
            out_hidden_size=32,
            intermediate_size=40,
            window_size=16,
            fullatt_block_indexes=[1],
        ),
        'Qwen2_5_VL',
    ),
)


def write_generative(folder, kind):
    """Write a seeded random model of a kind, with its processor, into a folder."""
    build, config, processor = KINDS[kind](TEXT, VISION)
    torch.manual_seed(0)
    model = build(config)
    for parameter in model.parameters():
        # At their first values all tokens look at all others alike.
        parameter.data.add_(torch.randn_like(parameter), alpha=0.15)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope='session')
def generative_folder(tmp_path_factory):
    """The folder of a generative VLM, by its kind: a key of `KINDS`. Do not write into it."""
    pytest.importorskip('transformers', reason="needs what `pip install 'lfi[multimodal]'` brings")
    folders = {}

    def find(kind):
        if kind not in folders:
            folders[kind] = write_generative(tmp_path_factory.mktemp('generative') / kind, kind)
        return folders[kind]

    return find


@pytest.fixture
def set_record_maps():
    """`set_record_maps(cache, count)` writes into a cache's manifest that its records have so many maps."""

    def change(cache, count):
        file = Path(cache, 'manifest.json')
        manifest = json.loads(file.read_text())
        _, _, (n_layers, _, h, w) = manifest['record'][0]
        logits = torch.zeros(1, n_layers, count, h, w)
        maps = InteractionMaps(logits, logits[:, 0, :, 0, 0], torch.ones(1, h, w, dtype=torch.bool))
        file.write_text(json.dumps({**manifest, 'record': packed_dtype(maps).descr}))

    return change
