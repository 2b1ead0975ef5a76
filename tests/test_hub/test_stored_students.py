"""Students in an object store: written as a whole, and read as a folder is."""

import lfi
import numpy as np
import pytest
from lfi.errors import UsageError
from lfi.utils.repositories import is_student
from lfi.utils.stores import StoreError, join, list_files, remove_file, write_file

from tools.dev.s3_store import BUCKET, s3_server

pytest.importorskip('s3fs')
pytest.importorskip('moto')
PHOTO = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.fixture
def address(request, monkeypatch, tmp_path):
    monkeypatch.setenv('LFI_COPIES', str(tmp_path / 'copies'))
    with s3_server():
        yield f's3://{BUCKET}/students/{request.node.name}'


def test_a_student_comes_back_from_a_store(saved_student, address, call_tool, tmp_path):
    assert lfi.save_pretrained(saved_student, address) == address
    assert sorted(list_files(address)) == sorted(path.name for path in saved_student.iterdir())
    model, expected = lfi.load(address), lfi.load(saved_student)
    texts = expected.classes[:2]
    assert model.ask(PHOTO, texts).presence.tolist() == expected.ask(PHOTO, texts).presence.tolist()
    # It is copied once.
    (copy,) = (tmp_path / 'copies/lfi_students').iterdir()
    lfi.load(address)
    assert list((tmp_path / 'copies/lfi_students').iterdir()) == [copy]
    # A copy that lacks a file is made again, readable by all.
    (copy / 'config.json').unlink()
    assert lfi.load(address).classes == expected.classes and copy.stat().st_mode & 0o055 == 0o055
    # By the command, too.
    again = f'{address}-2'
    assert f'Wrote {again}' in call_tool('export', '--to', 'hub', address, address, again)
    assert lfi.load(again).ask(PHOTO, texts).presence.tolist() == model.ask(PHOTO, texts).presence.tolist()


def test_a_checkpoint_is_read_from_a_store(finished_run, address):
    file = f'{address}/epoch_2.pth'
    write_file(file, (finished_run / 'epoch_2.pth').read_bytes())
    config = finished_run / 'lfi_vit-128x6-p8_shapes.py'
    model, expected = lfi.load((config, file)), lfi.load((config, finished_run / 'epoch_2.pth'))
    answers = [loaded.ask(PHOTO, expected.classes).presence.tolist() for loaded in (model, expected)]
    assert answers[0] == answers[1]
    with pytest.raises(UsageError, match='gone.pth: there is no such object'):
        lfi.load((config, f'{address}/gone.pth'))


def test_a_student_is_not_written_over_other_files_and_not_read_by_halves(saved_student, address):
    lfi.save_pretrained(saved_student, address)
    with pytest.raises(UsageError, match=r'has files already, such as README.md: choose another folder'):
        lfi.save_pretrained(saved_student, address)
    remove_file(join(address, 'config.json'))
    with pytest.raises(StoreError, match='is not there, or has no config.json: give a folder of'):
        lfi.load(address)
    with pytest.raises(UsageError, match='n.pth would be read as a checkpoint'):
        lfi.save_pretrained(saved_student, f'{address}/n.pth')
    with pytest.raises(UsageError, match='is a repository: lfi.push_to_hub writes it'):
        lfi.save_pretrained(saved_student, 'hf://me/student')


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        ('s3://bucket/student', True),
        ('s3://bucket/epoch_10.pth', False),
        ('s3://bucket/model.safetensors', False),
        ('https://example.com/epoch_1.pth?download=1', False),
        ('https://example.com/config.py', False),
        ('torchvision://resnet50', False),
        ('open-mmlab://detectron2/resnet50_caffe', False),
    ],
)
def test_addresses_of_checkpoints_are_no_students(source, expected):
    assert is_student(source) == expected
