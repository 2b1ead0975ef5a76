"""`lfi export --to hub`: a folder that `lfi.from_pretrained` reads, and its upload."""

from types import SimpleNamespace

import lfi
import lfi.hub.pushing
import pytest
import torch

TOOL = 'export --to hub'
SHAPES = 'classification/lfi_vit-128x6-p8_shapes.py'


@pytest.fixture
def uploaded(monkeypatch):
    """What is uploaded in place of going to the Hub."""
    found = []

    def push(folder, repository, **settings):
        found.append((folder, repository, settings))
        return SimpleNamespace(commit_url='https://hub/commit/1')

    monkeypatch.setattr(lfi.hub.pushing, 'push_to_hub', push)
    return found


def test_the_folder_is_a_student_that_answers_texts(call_tool, small_training, uploaded, tmp_path):
    out = call_tool(TOOL, *small_training(SHAPES), 'student')
    assert "Wrote student: lfi.load('student') reads it." in out and not uploaded
    student = lfi.from_pretrained(tmp_path / 'student')
    weights = torch.load(tmp_path / 'training.pth')['state_dict']
    assert all(torch.equal(value, weights[name]) for name, value in student.state_dict().items())
    assert any(name.startswith('readout.') for name in student.state_dict())


def test_the_plain_student_is_uploaded(call_tool, small_training, uploaded, tmp_path):
    options = ('--no-readout', '--push', 'me/student', '--private')
    out = call_tool(TOOL, *small_training(SHAPES), 'student', *options)
    ((folder, repository, settings),) = uploaded
    assert (str(folder), repository, settings) == ('student', 'me/student', dict(private=True))
    assert 'Uploaded: https://hub/commit/1' in out
    names = lfi.from_pretrained(tmp_path / 'student').state_dict()
    assert not any(name.startswith('readout.') for name in names)


def test_private_without_a_repository_is_refused(tool_arguments, capsys):
    with pytest.raises(SystemExit):
        tool_arguments(TOOL, 'lfi_vit-128x6-p8_shapes', 'x.pth', 'student', '--private')
    assert '--private needs a repository: name one by --push' in capsys.readouterr().err


def test_a_text_tower_is_stored_on_request(call_tool, small_training, tmp_path):
    call_tool(TOOL, *small_training(SHAPES), 'student', '--with-text-tower')
    assert (tmp_path / 'student/text_tower/open_clip_model.safetensors').is_file()


def test_a_text_tower_without_a_readout_is_refused(tool_arguments, capsys):
    options = ('--no-readout', '--with-text-tower')
    with pytest.raises(SystemExit):
        tool_arguments(TOOL, 'lfi_vit-128x6-p8_shapes', 'x.pth', 'student', *options)
    assert '--with-text-tower is for the read-out' in capsys.readouterr().err


def test_a_saved_student_is_written_again_by_its_folder_alone(call_tool, small_training, tmp_path):
    call_tool(TOOL, *small_training(SHAPES), 'student', '--with-text-tower')
    call_tool(TOOL, 'student', 'student', 'again')
    for name in ('model.safetensors', 'text_tower/open_clip_model.safetensors'):
        assert (tmp_path / 'student' / name).read_bytes() == (tmp_path / 'again' / name).read_bytes()
