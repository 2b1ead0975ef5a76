"""Where configs are, and what became of those that moved."""

import lfi
import pytest
from lfi.config_files import configs_folder, tools_root
from lfi.engine import launch


def test_configs_and_tools_lie_side_by_side():
    assert (tools_root() / 'tools/train.py').is_file()
    assert configs_folder().resolve() == tools_root() / 'configs'


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('task-loss_vit-tiny_shapes', r"it is 'baselines/task-loss_vit-tiny_shapes.py' now"),
        (
            'attention-transfer_vit-tiny_shapes',
            r"it is 'baselines/attention-transfer_vit-tiny_shapes.py' now",
        ),
        (
            'lfi-positions_vit-tiny_shapes',
            r"it is 'classification/lfi_vit-tiny_shapes.py' now .* arm 'lfi-positions'",
        ),
        ('shuffled-attention_vit-tiny_shapes', r"'baselines/attention-transfer_vit-tiny_shapes.py' now with"),
        (
            'lfi-index_vit-tiny_shapes',
            r"'lfi-index' is of a student that recalls concepts, which lfi 0.1 has; .*lfi_vit-tiny_sh",
        ),
    ],
)
def test_an_old_name_says_what_became_of_it(old, new, tmp_path):
    with pytest.raises(FileNotFoundError, match=new):
        lfi.config_path(f'controls/{old}.py')
    child = tmp_path / 'mine.py'
    child.write_text(f"_base_ = 'lfi::controls/{old}.py'\n")
    for config in (child, f'configs/controls/{old}.py'):
        with pytest.raises(launch.UsageError, match=new):
            launch.load_config(str(config))


def test_a_teacher_is_asked_about_what_the_config_says():
    teacher = lfi.teacher_config('clip-b16', concepts=['cat'], max_concepts=1)
    assert teacher == dict(
        type='lfi.VLMAttentionTeacher',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        extractor=dict(type='clearclip'),
        concepts=['cat'],
        max_concepts=1,
    )
    with pytest.raises(FileNotFoundError, match='near it are _base_/teachers/clip-b16.py'):
        lfi.teacher_config('clip-b17')


def test_a_name_that_never_was_gets_its_neighbours():
    with pytest.raises(FileNotFoundError, match=r"no config 'controls/magic_vit.py'; near it are"):
        lfi.config_path('controls/magic_vit.py')
