"""Reading the config of an open_clip model in a folder."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers.loading.folder_config import read_folder_config
from lfi.models.teachers.loading.weights import BUILT_IN

CONFIG = json.loads((BUILT_IN / 'shapes-tiny/open_clip_config.json').read_text())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.text(max_size=3) | st.just(1e308),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
PLACES = [
    (),
    *((key,) for key in CONFIG),
    *(('model_cfg', key) for key in CONFIG['model_cfg']),
    *(('model_cfg', part, key) for part in ('vision_cfg', 'text_cfg') for key in CONFIG['model_cfg'][part]),
    ('model_cfg', 'text_cfg', 'hf_tokenizer_name'),
    ('model_cfg', 'text_cfg', 'hf_model_name'),
    ('model_cfg', 'text_cfg', 'tokenizer_kwargs'),
    ('model_cfg', 'multimodal_cfg'),
    ('model_cfg', 'unknown'),
    ('model_cfg', 'vision_cfg', 'unknown'),
    ('model_cfg', 'vision_cfg', 'timm_model_name'),
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return shutil.copytree(BUILT_IN / 'shapes-tiny', tmp_path_factory.mktemp('teacher') / 'teacher')


def write(folder, place, value):
    config = json.loads(json.dumps(CONFIG))
    part = config
    for key in place[:-1]:
        part = part[key]
    if place:
        part[place[-1]] = value
    (folder / 'open_clip_config.json').write_text(json.dumps(config if place else value))


@settings(max_examples=25, deadline=None)
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_whatever_a_config_holds_it_is_read_or_refused_in_a_line(folder, place, value):
    write(folder, place, value)
    try:
        VLMAttentionTeacher(str(folder), concepts=['a'])
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        assert 'teacher' in str(error) or '_cfg' in str(error)


@pytest.mark.parametrize(
    ('place', 'value', 'message'),
    [
        (('model_cfg', 'vision_cfg'), [], r'model_cfg\.vision_cfg=\[\] must be a dict'),
        (('model_cfg', 'text_cfg', 'evil'), 1, r'model_cfg\.text_cfg has evil, which open_clip'),
        (('model_cfg', 'embed_dim'), 1.5, r'model_cfg\.embed_dim=1\.5 must be a whole number'),
        (('model_cfg', 'vision_cfg', 'image_size'), None, r'image_size=None must be pixels'),
        (('preprocess_cfg',), [1], 'is not a config of an open_clip model'),
        (('model_cfg', 'vision_cfg', 'timm_model_name'), 'local-dir:/tmp/x', r"timm_model_name='local-dir:"),
        (('model_cfg', 'vision_cfg', 'timm_model_name'), 'hf-hub:a/b', r"timm_model_name='hf-hub:"),
    ],
)
def test_the_field_is_named(folder, place, value, message):
    write(folder, place, value)
    with pytest.raises(ValueError, match=rf'open_clip_config\.json .*{message}'):
        read_folder_config(folder / 'open_clip_config.json')


@pytest.mark.parametrize('content', ['', '{', '[' * 100_000, '\xff', ' ' * 2**20 + '{}'])
def test_what_is_no_json_is_named(folder, content):
    (folder / 'open_clip_config.json').write_text(content, encoding='latin-1')
    with pytest.raises(ValueError, match=r'open_clip_config\.json is not a config of an open_clip model'):
        read_folder_config(folder / 'open_clip_config.json')
