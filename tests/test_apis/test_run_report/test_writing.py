"""The page of a run: readable offline, complete where the run is, and with reasons where it is not."""

import base64
import json
import logging
import shutil
from html.parser import HTMLParser
from io import BytesIO

import lfi
import pytest
import torch
from lfi.apis.run_report import REPORT, report_training, write_report, writing
from lfi.errors import UsageError
from mmengine.config import Config
from mmengine.logging import MMLogger
from picture_files import write_shapes
from PIL import Image

TINY = dict(teacher='shapes-tiny', epochs=3, batch_size=4, input_size=64, weights='none', workers=0)
MODEL = 'test_resnet'
NASTY = '<img src=x onerror=alert(1)> & "star"'
SECTIONS = ['What was run', 'Curves', 'Where the student looks', 'Classes', 'What to do next']


class Page(HTMLParser):
    """A page: tags, texts by tag, and embedded pictures."""

    def __init__(self, file):
        super().__init__()
        self.tags, self.texts, self.pictures, self.names = [], {}, [], []
        self.tag = ''
        self.feed(file.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.tag = tag
        found = dict(attributes)
        # Nothing is loaded from elsewhere, and no text has become an attribute.
        assert not {'href', 'onerror', 'onload'} & {*found}
        if tag == 'img':
            head, data = found['src'].split(';base64,')
            assert head in ('data:image/png', 'data:image/jpeg')
            self.pictures.append(Image.open(BytesIO(base64.b64decode(data))))
            self.pictures[-1].load()
            self.names.append(found['alt'])

    def handle_data(self, data):
        # A node may come in pieces.
        if data.strip():
            self.texts.setdefault(self.tag, []).append(data)

    def handle_endtag(self, tag):
        self.tag = ''

    @property
    def text(self):
        return '\n'.join(text for tag, texts in self.texts.items() if tag != 'style' for text in texts)


@pytest.fixture(autouse=True)
def with_report(monkeypatch):
    monkeypatch.setenv(writing.SWITCH, '1')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Class folders with six pictures each; a class has the name of a tag."""
    root = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes('train', [root / ('circle' if i % 2 else NASTY) / f'{i}.png' for i in range(12)])
    return root


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    """Work dir of a classifier that `lfi.train` has trained, with its page."""
    out = tmp_path_factory.mktemp('runs') / 'run'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(writing.SWITCH, '1')
        lfi.train(folder, MODEL, out=out, **TINY)
    return out


def run_folder(tmp_path, student, rows=(), **changes):
    """Write the folder of a run as MMEngine leaves it."""
    cfg, checkpoint = student
    cfg = Config(cfg.to_dict())
    cfg.merge_from_dict(changes)
    folder = tmp_path / 'run'
    scalars = folder / '20260101_000000/vis_data/scalars.json'
    scalars.parent.mkdir(parents=True)
    scalars.write_text('\n'.join(map(json.dumps, rows)))
    cfg.dump(folder / 'own.py')
    shutil.copy(checkpoint, folder / 'epoch_1.pth')
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    return folder


def test_a_training_ends_with_a_page(trained):
    page = Page(trained / REPORT)
    assert page.texts['h2'] == SECTIONS
    assert 'script' not in page.tags and 'link' not in page.tags
    # Curves, 2 validation images, and the confusion matrix.
    assert [picture.format for picture in page.pictures] == ['PNG', *['JPEG'] * 2, 'PNG']
    assert 'A map shows where the student sees a text' in page.text
    assert 'accuracy/top1' in page.text and 'Machine' not in page.text
    assert '10 training images, 4 in a batch' in page.text
    assert 'of 2 validation images are right' in page.text
    commands = '\n'.join(page.texts['pre'])
    for name in ('infer', 'demo', 'export', 'test'):
        assert f'lfi {name} {trained}' in commands
    assert 'Left out' not in page.text


def test_names_of_users_are_text(trained):
    page = Page(trained / REPORT)
    assert 'onerror' not in ''.join(page.tags)
    assert NASTY in page.text and any(NASTY in name for name in page.names)


def test_the_page_is_the_same_when_it_is_written_again(trained, call_tool):
    file = trained / REPORT
    before = Page(file)
    file.unlink()
    assert f'report: {file}' in call_tool('report', trained)
    assert Page(file).text == before.text


def test_a_plain_classifier_without_validation_says_what_is_missing(toy_config, call_tool):
    call_tool('train', toy_config, '--no-validate')
    page = Page(toy_config.parent / 'work' / REPORT)
    assert 'Metrics are left out: no validation logged one.' in page.text
    assert 'Maps of texts are left out: ' in page.text and 'has no read-out' in page.text
    assert 'Test images, chosen by a fixed seed.' in page.text
    assert '--texts' not in page.text


def test_a_pretraining_shows_maps_of_its_concepts(folder, tmp_path):
    lfi.pretrain(folder, MODEL, concepts=['circle', 'star', 'ring'], out=tmp_path / 'run', **TINY)
    page = Page(tmp_path / 'run' / REPORT)
    assert 'Test images, chosen by a fixed seed.' in page.text and 'lfi test' not in page.text
    assert len(page.pictures) == 9 and page.pictures[1].width > 3 * page.pictures[1].height
    assert 'Left out: the model predicts no class, or the images have no labels.' in page.text


def test_a_detector_shows_boxes_and_its_precision_by_class(detector, tmp_path):
    rows = [
        {'loss': 2.0, 'epoch': 1, 'step': 5},
        {'coco/bbox_mAP': 0.2, 'coco/red circle_precision': 0.5, 'coco/star_precision': 0.25, 'step': 1},
    ]
    classes = ('red circle', 'star')
    cfg, checkpoint = detector
    state = torch.load(checkpoint, weights_only=False)
    state['meta']['dataset_meta'] = dict(classes=classes)
    torch.save(state, tmp_path / 'epoch_1.pth')
    options = {'val_dataloader.dataset.num_images': 3, 'val_dataloader.dataset.metainfo.classes': classes}
    page = Page(write_report(run_folder(tmp_path, (cfg, tmp_path / 'epoch_1.pth'), rows, **options)))
    assert len(page.pictures) == 4
    assert page.texts['td'][-4:] == ['star', '0.250', 'red circle', '0.500']


def test_a_detector_without_precision_by_class_names_the_setting(detector, tmp_path):
    options = {'val_dataloader.dataset.num_images': 2}
    page = Page(write_report(run_folder(tmp_path, detector, **options)))
    assert 'val_evaluator.classwise=True logs it' in page.text
    assert 'Left out: the folder of the run has no scalars' in page.text


def test_data_of_other_classes_are_not_graded(trained, tmp_path):
    copy = tmp_path / 'run'
    shutil.copytree(trained, copy)
    cfg = Config.fromfile(copy / 'lfi_shapes.py')
    names = [name.upper() for name in lfi.load(trained).classes]
    cfg.val_dataloader.dataset.metainfo = dict(classes=names)
    page = Page(write_report(copy, Config(cfg.to_dict(), filename=str(copy / 'lfi_shapes.py'))))
    assert 'validation images are right' in page.text
    for name in ('val', 'test', 'train'):
        cfg[f'{name}_dataloader'].dataset.metainfo = dict(classes=['cat', 'dog'])
    page = Page(write_report(copy, Config(cfg.to_dict(), filename=str(copy / 'lfi_shapes.py'))))
    assert "no data loader of single images with the model's classes" in page.text
    assert ' right' not in page.text


def test_data_that_are_gone_leave_the_rest_of_the_page(trained, tmp_path):
    options = {'val_dataloader.dataset': dict(type='CustomDataset', data_root=str(tmp_path / 'gone'))}
    copy = tmp_path / 'run'
    shutil.copytree(trained, copy)
    cfg = Config.fromfile(copy / 'lfi_shapes.py')
    cfg.merge_from_dict(options)
    page = Page(write_report(copy, Config(cfg.to_dict(), filename=str(copy / 'lfi_shapes.py'))))
    assert page.texts['h2'] == SECTIONS and len(page.pictures) == 1
    assert page.text.count('Left out: ') == 2 and 'gone' in page.text


def test_a_page_that_fails_does_not_fail_the_training(tmp_path, monkeypatch, caplog):
    lines = []
    monkeypatch.setattr(
        MMLogger.get_current_instance(), 'log', lambda level, text: lines.append((level, text))
    )

    def fail(*args):
        raise OSError('no space\nleft')

    monkeypatch.setattr(writing, 'write_report', fail)
    report_training(Config(dict(work_dir=str(tmp_path / 'my run'))))
    ((level, line),) = lines
    assert level == logging.WARNING
    command = f"lfi report '{tmp_path / 'my run'}'"
    assert line == f'report.html is not written: OSError: no space left. Try again: {command}'


def test_the_page_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv(writing.SWITCH, '0')
    monkeypatch.setattr(writing, 'write_report', pytest.fail)
    report_training(Config(dict(work_dir=str(tmp_path))))


def test_folders_that_are_no_runs_are_refused(tmp_path, call_tool):
    with pytest.raises(UsageError, match=r'nowhere is no folder of a run'):
        call_tool('report', 'nowhere')
    with pytest.raises(UsageError, match=r'has no checkpoint'):
        call_tool('report', tmp_path)
