from hashlib import blake2b

import pytest
from lfi.models.teachers import VLMAttentionTeacher, teacher_identity
from lfi.models.teachers.extractors import MaskCLIPExtractor
from lfi.registry import TEACHERS


def identity(**changes):
    config = dict(model='shapes-tiny', extractor=dict(type='dense'), concepts=['a'])
    return teacher_identity(config | changes)


@TEACHERS.register_module(force=True)
class SharperTeacher(VLMAttentionTeacher):
    def __init__(self, *args, sharpness=2.0, **kwargs):
        super().__init__(*args, **kwargs)


@TEACHERS.register_module(force=True)
class FixedTeacher:
    def __init__(self, folder, depth=3):
        pass


def test_another_kind_of_teacher_is_another_with_arguments_of_its_own():
    plain = identity(type='lfi.VLMAttentionTeacher')
    assert plain == identity(type='VLMAttentionTeacher') == identity() == identity(type=VLMAttentionTeacher)
    sharper = identity(type='lfi.SharperTeacher')
    assert sharper == {**plain, 'type': 'SharperTeacher', 'sharpness': 2.0}
    assert identity(type='lfi.SharperTeacher', sharpness=3)['sharpness'] == 3
    assert teacher_identity(dict(type='lfi.FixedTeacher', folder='a')) == dict(
        type='FixedTeacher', folder='a', depth=3, weights=None
    )


def test_what_presence_is_compared_with_counts_unless_it_is_the_bank():
    assert identity(presence_against='bank') == identity()
    assert identity(presence_against='names') == {**identity(), 'presence_against': 'names'}
    assert 'presence_against' not in identity()


def test_an_argument_that_is_missing_or_of_another_teacher_is_refused():
    with pytest.raises(TypeError, match="missing a required argument: 'folder'"):
        teacher_identity(dict(type='lfi.FixedTeacher'))
    with pytest.raises(TypeError, match="unexpected keyword argument 'sharpness'"):
        teacher_identity(dict(type='lfi.FixedTeacher', folder='a', sharpness=1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'sharpness'"):
        identity(sharpness=1)


def test_a_teacher_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match=r"teacher\.type='mine.Teacher' is unknown; choose from \[.*VLMAtt"):
        identity(type='mine.Teacher')


def test_an_extractor_that_is_unknown_is_no_other_cache():
    with pytest.raises(ValueError, match=r"extractor\.type='gradcam' is unknown; choose from"):
        identity(extractor=dict(type='gradcam'))


def test_an_argument_that_no_teacher_has_is_refused():
    with pytest.raises(TypeError, match='VLMAttentionTeacher: got an unexpected keyword'):
        identity(extractors=[])


def test_blip_is_known_by_its_weights_and_its_config(tmp_path):
    def of(weights, config):
        for name, content in (('blip.pth', weights), ('blip.py', config)):
            (tmp_path / name).write_text(content)
        return teacher_identity(
            dict(
                model=f'mmpretrain:{tmp_path}/blip.py',
                pretrained=str(tmp_path / 'blip.pth'),
                extractor=dict(type='blip'),
                concepts=['a'],
            )
        )

    first = of('weights', 'config')
    assert (first['model'], first['pretrained']) == ('mmpretrain:blip.py', None)
    assert (
        len({of(*both)['weights'] for both in (('weights', 'config'), ('w', 'config'), ('weights', 'c'))})
        == 3
    )
    (tmp_path / 'blip.pth').unlink()
    arguments = dict(extractor=dict(type='blip'), concepts=['a'], pretrained=str(tmp_path / 'blip.pth'))
    assert teacher_identity(dict(model=f'mmpretrain:{tmp_path}/blip.py', **arguments))['weights'] is None


def digest_of_files(folder):
    """As 0.1 had it."""
    digest = blake2b(digest_size=16)
    for path in sorted(path for path in folder.iterdir() if path.suffix in ('.safetensors', '.json')):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def test_an_extractors_class_is_known_by_its_name(teacher_folder):
    by_class = identity(model=teacher_folder('vit'), extractor=dict(type=MaskCLIPExtractor))
    assert by_class == identity(model=teacher_folder('vit'), extractor=dict(type='maskclip'))


def test_a_generative_vlm_is_known_by_what_is_in_its_folder(tmp_path):
    folder = tmp_path / 'vlm'
    folder.mkdir()

    def of(**files):
        for name, content in files.items():
            (folder / name.replace('__', '.')).write_text(content)
        return identity(model=f'transformers:{folder}', extractor=dict(type='generative'))

    first = of(model__safetensors='a', config__json='b', chat_template__jinja='c', README__md='d')
    assert (first['model'], first['pretrained']) == ('transformers:vlm', None) and first['weights']
    assert of(README__md='other') == first
    changes = (dict(model__safetensors='x'), dict(config__json='x'), dict(chat_template__jinja='x'))
    assert len({of(**change)['weights'] for change in changes} | {first['weights']}) == 4
    moved = folder.rename(tmp_path / 'elsewhere')
    gone = identity(model=f'transformers:{folder}', extractor=dict(type='generative'))
    assert gone == {**first, 'weights': None}
    (tmp_path / 'again').mkdir()
    moved = moved.rename(tmp_path / 'again' / 'vlm')
    same = identity(model=f'transformers:{moved}', extractor=dict(type='generative'))
    assert same['model'] == first['model'] and same['weights'] not in (None, first['weights'])
    assert identity(model='transformers:owner/name')['model'] == 'transformers:owner/name'


def test_a_named_models_weights_file_is_known_by_its_bytes_and_its_training(tmp_path):
    file = tmp_path / 'weights.pt'
    file.write_text('weights')

    def of(**source):
        return identity(model='ViT-B-16', **source)

    alone = of(pretrained=str(file))
    assert alone == of(weights_file=str(file)) == of(weights_file=dict(path=str(file)))
    assert 'weights_file' not in alone and alone['weights'] is not None
    tagged = of(pretrained='openai', weights_file=str(file))
    assert (tagged['pretrained'], tagged['weights']) == ('openai', alone['weights'])
    stated = dict(mean=[0.5] * 3, std=[0.5] * 3, quick_gelu=False)
    assert of(weights_file=dict(path=str(file), **stated)) == {**alone, 'weights_file': stated}
    (tmp_path / 'open_clip_config.json').write_text('{}')
    assert of(weights_file=str(file))['weights'] != alone['weights']
    assert of(pretrained='openai', weights_file=str(file)) == tagged


@pytest.mark.parametrize(
    ('model', 'size', 'expected'),
    [
        # Patches of 14 px fill 378 of its own 384.
        ('ViT-SO400M-14-SigLIP-384', None, True),
        ('ViT-SO400M-14-SigLIP-384', 384, True),
        ('ViT-SO400M-14-SigLIP-384', [384, 384], True),
        ('ViT-SO400M-14-SigLIP-384', 448, None),
        ('ViT-B-16-SigLIP-384', None, None),
        ('ViT-B-16', 384, None),
    ],
)
def test_an_own_size_that_patches_do_not_fill_is_noted(model, size, expected):
    found = teacher_identity(dict(model=model, pretrained='a tag', concepts=['cat'], input_size=size))
    assert found['input_size'] == size and found.get('whole_patches') is expected
