"""Image tokens against the models' own processors, and their way back to the grid."""

import pytest
import torch
from lfi.models.teachers.loading.weights import load_vlm
from PIL import Image

SIZES = dict(
    llava=[(32, 32)],
    idefics3=[(24, 24), (48, 48), (48, 24), (24, 72)],
    smolvlm=[(24, 24), (48, 24)],
    qwen2_vl=[(32, 32), (16, 40), (24, 8)],
    qwen2_5_vl=[(32, 32), (24, 40)],
)
EACH = [(kind, size) for kind, sizes in SIZES.items() for size in sizes]
CELL = 8
"""The side in pixels of each kind's locations."""


def picture(size, seed=0):
    """A picture of smooth random colours, and the same normalised as the models expect."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size, mode='bicubic', align_corners=False)
    levels = (255 * smooth[0].clamp(0, 1)).round()
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    pixels = (levels / 255 - mean[:, None, None]) / std[:, None, None]
    return Image.fromarray(levels.byte().permute(1, 2, 0).numpy()), pixels[None]


def processed(processor, size, text):
    """What the processor makes of a text and a picture whose size needs no change."""
    image, pixels = picture(size)
    inputs = processor(text=[text], images=[image], do_resize=False, return_tensors='pt')
    return inputs, pixels


@pytest.fixture
def load(generative_folder):
    def load(kind):
        vlm, _ = load_vlm(f'transformers:{generative_folder(kind)}', None, allow_random=False)
        return vlm

    return load


@pytest.mark.parametrize(('kind', 'size'), EACH)
@pytest.mark.filterwarnings('ignore')
def test_pixels_are_prepared_as_the_processor_prepares_them(load, kind, size):
    vlm = load(kind)
    see, processor = vlm.visual, vlm.processor
    # Lanczos is not at hand on tensors.
    processor.image_processor.resample = Image.Resampling.BICUBIC
    inputs, pixels = processed(processor, size, see.image_token)
    ours = see.model_inputs(pixels)
    assert set(ours) <= set(inputs)
    expected, got = inputs['pixel_values'], ours['pixel_values']
    assert got.shape == expected.shape
    if kind in ('idefics3', 'smolvlm'):
        # The processor rounds the complete image to bytes after scaling its rows, and after its columns.
        torch.testing.assert_close(got[:, -1], expected[:, -1], atol=2 / 255 / 0.2, rtol=0)
        got, expected = got[:, :-1], expected[:, :-1]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    if kind.startswith('qwen'):
        assert ours['image_grid_thw'].equal(inputs['image_grid_thw'])


@pytest.mark.parametrize(('kind', 'size'), EACH)
def test_a_prompt_has_the_tokens_that_the_processor_puts_for_the_image(load, kind, size):
    vlm = load(kind)
    see, processor = vlm.visual, vlm.processor
    text = f'a {see.bare_image} cat'
    inputs, pixels = processed(processor, size, text)
    ids = processor.tokenizer(text.replace(see.image_token, see.text(size)), return_tensors='pt').input_ids
    assert ids.equal(inputs['input_ids'])
    with torch.no_grad():
        assert see(pixels).shape[1] == (ids == see.image_token_id).sum()


@pytest.mark.parametrize(('kind', 'size'), EACH)
@torch.no_grad()
def test_a_marked_cell_is_found_where_it_is(load, kind, size):
    see = load(kind).visual
    h, w = see.grid(size)
    assert (h, w) == (size[0] // CELL, size[1] // CELL)
    plain = torch.full((h * w, 3, *size), 0.1)
    marked = plain.clone()
    for i in range(h * w):
        y, x = CELL * (i // w), CELL * (i % w)
        marked[i, :, y : y + CELL, x : x + CELL] += torch.randn(
            3, CELL, CELL, generator=torch.Generator().manual_seed(i)
        )
    moved = (see(marked) - see(plain)).norm(dim=-1)
    assert see.to_grid(moved, size).flatten(1).argmax(1).tolist() == list(range(h * w))


def test_the_complete_image_is_laid_over_the_tiles_and_nothing_is_lost(load):
    see = load('idefics3').visual
    values = torch.rand(2, 3 * 9)
    grid = see.to_grid(values, (24, 48))
    expected = torch.zeros(2, 3, 6)
    for tile in range(2):
        for token in range(9):
            expected[:, token // 3, 3 * tile + token % 3] += values[:, 9 * tile + token]
    for token in range(9):
        for x in range(2):
            expected[:, token // 3, 2 * (token % 3) + x] += values[:, 18 + token] / 2
    torch.testing.assert_close(grid, expected)
    torch.testing.assert_close(grid.sum((-2, -1)), values.sum(-1))


@torch.no_grad()
def test_a_tile_of_zeros_is_no_padding(load):
    see = load('idefics3').visual
    images = torch.zeros(1, 3, 48, 24)
    assert see(images).shape[1] == 27
    torch.testing.assert_close(see(images), see(images + 1e-7), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_llava_interpolates_the_towers_position_embeddings(load):
    see = load('llava').visual
    images = torch.randn(1, 3, 48, 40, generator=torch.Generator().manual_seed(0))
    tower = see.model.model.vision_tower
    hidden = tower(images, output_hidden_states=True, interpolate_pos_encoding=True).hidden_states[-2]
    torch.testing.assert_close(see(images), see.model.model.multi_modal_projector(hidden[:, 1:]))
    assert see.grid((48, 40)) == (6, 5)


@torch.no_grad()
def test_an_own_size_that_patches_do_not_fill_is_made_one_of_whole_patches(load):
    vlm = load('llava_siglip')
    see = vlm.visual
    assert see.preprocess_cfg['size'] == 32 and see.grid((32, 32)) == (4, 4)
    images = torch.randn(2, 3, 36, 36, generator=torch.Generator().manual_seed(0))
    tower, projector = see.model.model.vision_tower, see.model.model.multi_modal_projector
    # The tower reads no more of its own size.
    hidden = tower(images, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(see(images[..., :32, :32]), projector(hidden), atol=1e-5, rtol=1e-5)
    assert see(images[..., :24, :32]).shape[1] == 12


@pytest.mark.parametrize(
    ('kind', 'size'), [('llava', (32, 36)), ('idefics3', (48, 32)), ('qwen2_vl', (36, 32))]
)
def test_a_size_that_cuts_cells_is_refused(load, kind, size):
    with pytest.raises(
        ValueError, match=rf'input_size=\({size[0]}, {size[1]}\) must be a multiple of (8|24)'
    ):
        load(kind).visual.grid(size)


def rebuilt(vlm):
    return type(vlm.visual)(vlm.visual.model, vlm.processor)


def test_what_cannot_be_laid_back_is_refused_by_name(load):
    vlm = load('llava')
    vlm.visual.model.config.vision_feature_select_strategy = 'full'
    with pytest.raises(ValueError, match=r"select_strategy='full' .* leaves no plain grid .* 'default'"):
        rebuilt(vlm)
    vlm.visual.model.config.vision_config.model_type = 'pixtral'
    with pytest.raises(ValueError, match="vision tower 'pixtral' have no known grid"):
        rebuilt(vlm)
    vlm = load('idefics3')
    vlm.processor.image_seq_len = 64
    with pytest.raises(
        ValueError, match='image_seq_len=64 .* must be the number of tokens of a tile: 24 px in cells of 8'
    ):
        rebuilt(vlm)


def test_a_processor_that_does_not_split_has_one_tile(load):
    vlm = load('idefics3')
    vlm.processor.image_processor.do_image_splitting = False
    see = rebuilt(vlm)
    assert see.preprocess_cfg['size'] == 24 and see.grid((24, 24)) == (3, 3)
    with pytest.raises(ValueError, match=r'input_size=\(48, 48\) must be 24: .* do_image_splitting=False'):
        see.grid((48, 48))


def test_mean_std_and_interpolation_are_the_processors(load):
    vlm = load('qwen2_vl')
    own = vlm.visual.preprocess_cfg
    assert own == dict(size=128, mean=[0.5, 0.4, 0.3], std=[0.2, 0.25, 0.3], interpolation='bicubic')
    vlm.processor.image_processor.resample = Image.Resampling.BILINEAR
    vlm.processor.image_processor.do_normalize = False
    assert rebuilt(vlm).preprocess_cfg == dict(
        size=128, mean=[0.0] * 3, std=[1.0] * 3, interpolation='bilinear'
    )
    vlm.processor.image_processor.rescale_factor = 1 / 127.5
    with pytest.raises(ValueError, match=r'rescale_factor=0\.0078\d*: pixels must be scaled to \[0, 1\]'):
        rebuilt(vlm)
