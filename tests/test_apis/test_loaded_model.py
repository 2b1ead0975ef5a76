"""`lfi.load`, and the model that it gives."""

import lfi
import numpy as np
import pytest
from lfi.errors import UsageError
from mmengine.config import Config
from PIL import Image

TEXTS = ['red circle', 'star']


@pytest.fixture(scope='module')
def model(classifier):
    return lfi.load(classifier, device='cpu')


@pytest.fixture(scope='module')
def photo(photos):
    return photos / 'photo0.png'


def test_a_path_an_array_and_a_pil_image_give_equal_answers(model, photo):
    image = Image.open(photo)
    answer = model.ask(photo, TEXTS)
    assert answer.texts == tuple(TEXTS)
    assert answer.presence.shape == (2,)
    assert answer.maps.shape == (2, 8, 8)
    for other in (image, np.asarray(image), str(photo)):
        found = model.ask(other, TEXTS)
        assert found.presence == pytest.approx(answer.presence, rel=1e-4)
        assert found.maps == pytest.approx(answer.maps, rel=1e-4, abs=1e-5)
        assert found.scores == pytest.approx(answer.scores, rel=1e-4)
        assert found.image.tolist() == np.asarray(image).tolist()
    swapped = model.ask(np.asarray(image)[..., ::-1], TEXTS)
    assert swapped.scores != pytest.approx(answer.scores)


def test_lists_and_folders_give_lists(model, photos, photo):
    answers = model.ask([photo, Image.open(photo)], 'star')
    assert [answer.name for answer in answers] == [str(photo)] * 2
    assert answers[0].texts == ('star',)
    assert len(model.predict(photos)) == 5
    assert 'Model(' in repr(model) and '20 classes: ' in repr(model)


def test_a_prediction_asks_no_texts(model, photo):
    prediction = model.predict(photo)
    assert prediction.texts == ()
    assert prediction.predicted in model.classes
    assert prediction.scores == pytest.approx(model.ask(photo, TEXTS).scores)
    assert model.ask(photo).texts == model.classes


def test_a_detector_predicts_boxes(detector, photo):
    prediction = lfi.load(detector, device='cpu').predict(photo)
    assert prediction.boxes.shape == (len(prediction.labels), 4)
    assert len(prediction.scores) == len(prediction.labels)


def test_what_is_saved_is_loaded(model, photo, tmp_path, capsys):
    saved = lfi.load(model.save(tmp_path / 'saved'), device='cpu')
    assert saved.ask(photo, TEXTS).presence == pytest.approx(model.ask(photo, TEXTS).presence, abs=1e-5)
    again = lfi.load(saved.save(tmp_path / 'again'), device='cpu')
    assert again.predict(photo).scores == pytest.approx(model.predict(photo).scores, abs=1e-5)
    again.show(photo, TEXTS)
    assert '.png' in capsys.readouterr().out


def test_an_export_lies_beside_its_config_and_is_loaded(model, photo, tmp_path):
    file = model.export(tmp_path / 'student.pth')
    plain = lfi.load(file, device='cpu')
    assert plain.predict(photo).scores == pytest.approx(model.predict(photo).scores, abs=1e-5)
    with pytest.raises(UsageError, match='has no read-out'):
        plain.ask(photo, TEXTS)


def test_graphs_are_exported_by_their_suffix(model, tmp_path):
    assert model.export(tmp_path / 'student.pt2').stat().st_size > 1e5


@pytest.mark.parametrize(
    ('out', 'to', 'message'),
    [
        ('a.pth', 'tim', r"to='tim' is unknown \(did you mean timm\?\): choose from student \(.pth or"),
        ('a.xyz', None, r"out='a.xyz' has an unknown suffix: choose from"),
        ('a.pth', 'onnx', r"out='a.pth': the format onnx takes a .onnx file"),
    ],
)
def test_other_formats_are_refused(model, out, to, message):
    with pytest.raises(UsageError, match=message):
        model.export(out, to=to)


def test_a_run_is_loaded_by_its_folder_or_a_checkpoint(classifier, photo, model, tmp_path):
    config, file = classifier
    checkpoint = tmp_path / 'epoch_1.pth'
    checkpoint.write_bytes(file.read_bytes())
    Config(config.to_dict()).dump(tmp_path / 'run.py')
    for source in (tmp_path, str(checkpoint), (tmp_path / 'run.py', checkpoint)):
        found = lfi.load(source, device='cpu')
        assert found.checkpoint == str(checkpoint)
        assert found.predict(photo).scores == pytest.approx(model.predict(photo).scores)


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('nowhere', r"source='nowhere' does not exist: give a folder of a run"),
        ('https://a.b/c.pth', r'is an address: give its config too'),
        ('config.py', r'config.py is a config, which has no weights: give \(config, checkpoint\)'),
        (('config.py',), r'source has 1 parts: a tuple must be \(config, checkpoint\)'),
        (('config.py', 'nowhere.pth'), r'checkpoint nowhere.pth does not exist'),
        ('empty', r'empty has no checkpoint'),
        ('maps', r'maps is a cache and no model: lfi.from_pretrained opens it'),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'config.py').touch()
    for name in ('empty', 'maps'):
        (tmp_path / name).mkdir()
    (tmp_path / 'maps/manifest.json').touch()
    with pytest.raises(UsageError, match=message):
        lfi.load(source)


def test_unreadable_images_are_refused(model, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no image')
    with pytest.raises(UsageError, match=r'images: .*broken.png cannot be read'):
        model.predict(tmp_path / 'broken.png')


@pytest.mark.parametrize('texts', [[], ['a', 'a']])
def test_texts_are_checked(model, photo, texts):
    with pytest.raises(UsageError, match='texts='):
        model.ask(photo, texts)
