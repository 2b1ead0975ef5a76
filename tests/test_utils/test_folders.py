"""Which files below a folder are images, which are left out, and the folder of what is written."""

import pytest
from lfi.errors import UsageError
from lfi.utils.folders import image_names, make_folder


def test_images_of_other_formats_are_counted(tmp_path, warnings):
    for name in ('a.JPG', 'below/b.png', 'c.gif', 'below/d.GIF', 'e.heic', 'f.MP4', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(image_names(tmp_path)) == ['a.JPG', 'below/b.png']
    assert len(warnings) == 1 and 'are left out: 2 .gif, 1 .heic, 1 .mp4' in warnings[0]


def test_other_files_are_no_images(tmp_path, warnings):
    (tmp_path / 'notes.txt').touch()
    assert image_names(tmp_path) == [] and not warnings


def test_a_folder_for_results_is_made_or_named(tmp_path):
    assert make_folder(tmp_path / 'a/b', '--out') == tmp_path / 'a/b'
    assert make_folder(str(tmp_path / 'a/b'), '--out').is_dir()
    (tmp_path / 'file').touch()
    for folder in ('file', 'file/below'):
        with pytest.raises(UsageError, match=rf'^--out: the folder .*{folder} cannot be made: .*'):
            make_folder(tmp_path / folder, '--out')


def test_a_folder_that_cannot_be_written_into_is_named(tmp_path, monkeypatch):
    # Who runs tests as root may write everywhere.
    monkeypatch.setattr('os.access', lambda path, mode: False)
    with pytest.raises(UsageError, match='^--csv: nothing can be written into'):
        make_folder(tmp_path, '--csv')
