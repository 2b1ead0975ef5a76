"""`lfi init`: what it writes for data of each format trains, and what is wrong is said in one line."""

import shlex
from functools import partial
from pathlib import Path

import pytest
import torch
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from picture_files import write_noise
from small_data_sets import (
    change_json,
    write_class_folders,
    write_coco,
    write_hugging_face,
    write_masks,
    write_table,
    write_voc,
    write_yolo,
)

SMALL = ('--epochs', '1', '--batch-size', '2', '--workers', '0', '--input-size', '64')
QUICK = ('--epochs', '1', '--batch-size', '2', '--workers', '0', '--weights', 'none')
CLASSIFIER = ('--model', 'mobilenetv3_small_050', '--input-size', '64', *QUICK)
DETECTOR = ('--input-size', '64', *QUICK)


@pytest.fixture
def init(call_tool):
    """Run the command with the built-in teacher, and return what it printed."""
    # The command silences what it builds, and ends its process.
    logger = MMLogger.get_current_instance()
    level = logger.level
    yield lambda data, *args: call_tool('init', data, '--teacher', 'shapes-tiny', *args)
    logger.setLevel(level)


def several_labels(root):
    root.mkdir()
    rows = [(f'{number}.jpg', 'cat|red' if number % 2 else 'red') for number in range(6)]
    return write_table(root / 'labels.tsv', [('image', 'tags'), *rows], count=6, delimiter='\t').parent


def absolute_paths(root):
    root.mkdir()
    rows = [(root / f'{number}.jpg', 'cat' if number % 2 else 'dog') for number in range(6)]
    return write_table(root / 'labels.csv', rows, count=6).parent


def flat(root):
    for number in range(4):
        write_noise(root / f'{number}.jpg', number)
    return root


def masked_objects(root):
    return write_coco(root, with_masks=True)


@pytest.mark.parametrize(
    ('write', 'package', 'arguments', 'files'),
    [
        (write_class_folders, None, (*CLASSIFIER, '--model', 'resnet18'), ['train.txt', 'val.txt']),
        (write_class_folders, None, (*CLASSIFIER, '--labels-per-class', '1'), ['train.txt', 'val.txt']),
        (absolute_paths, None, CLASSIFIER, ['train.txt', 'val.txt']),
        (several_labels, None, CLASSIFIER, ['train.json', 'val.json']),
        (write_hugging_face, 'datasets', CLASSIFIER, ['train', 'train.txt', 'val.txt']),
        (flat, None, CLASSIFIER, []),
        (write_yolo, 'supervision', DETECTOR, ['train.json', 'val.json']),
        (write_voc, 'supervision', DETECTOR, ['train.json', 'val.json']),
        (
            masked_objects,
            'supervision',
            (*DETECTOR, '--model', 'rtmdet-ins_tiny'),
            ['train.json', 'val.json'],
        ),
        (write_masks, 'mmseg', DETECTOR, ['train.txt', 'val.txt']),
    ],
)
def test_what_it_writes_trains(write, package, arguments, files, init, call_tool, tmp_path, monkeypatch):
    """A folder with a space and an umlaut, a config in another folder, and a training started elsewhere."""
    if package is not None:
        pytest.importorskip(package)
    printed = init(write(tmp_path / 'my dätä'), '--out', 'configs/mine.py', *arguments)
    config = tmp_path / 'configs/mine.py'
    folder = tmp_path / 'configs/mine_data'
    assert sorted(path.name for path in folder.glob('*')) == files
    assert [path.name for path in config.parent.iterdir() if path.suffix] == ['mine.py']
    commands = printed.partition('Next:\n')[2].splitlines()
    assert commands[0] == '  lfi train configs/mine.py --cache-teacher'
    (tmp_path / 'elsewhere').mkdir()
    there = partial(call_tool, folder=tmp_path / 'elsewhere')
    cached = there('cache', config, '--out', 'maps', '--num-workers', 0)
    trained = there(*shlex.split(cached.partition('Next:\n')[2])[1:])
    checkpoint = Path(shlex.split(commands[1])[3])
    assert (tmp_path / 'elsewhere' / checkpoint).is_file()
    command = 'infer' if write is flat else 'test'
    assert commands[1].startswith(f'  lfi {command} configs/mine.py {checkpoint}')
    if command == 'test':
        # The config that ran, beside the best checkpoint.
        then = shlex.split(trained.partition('Next:\n')[2].splitlines()[0])
        assert 'Next:\n  lfi infer' in there(*then[1:])


@pytest.mark.parametrize(
    ('write', 'package', 'arguments'),
    [
        (write_class_folders, None, (*CLASSIFIER, '--model', 'resnet18')),
        (several_labels, None, CLASSIFIER),
        (write_yolo, 'supervision', DETECTOR),
        (masked_objects, 'supervision', (*DETECTOR, '--model', 'mask-rcnn_r50')),
        (write_masks, 'mmseg', DETECTOR),
    ],
)
def test_unlabelled_images_train_beside_labelled_ones(write, package, arguments, init, call_tool, tmp_path):
    if package is not None:
        pytest.importorskip(package)
    (tmp_path / 'more/of them').mkdir(parents=True)
    flat(tmp_path / 'more/of them')
    (tmp_path / 'more/broken.jpg').write_bytes(b'no image')
    data = write(tmp_path / 'data')
    printed = init(data, '--unlabelled', 'more', '--out', 'mine.py', *arguments)
    assert f'{tmp_path}/more: 4 images without labels' in printed and 'broken.jpg' in printed
    trained = call_tool('train', 'mine.py', '--cache-teacher')
    assert 'Next:\n  lfi test' in trained
    init(data, '--out', 'plain.py', *arguments)
    cfg, plain = load_config('mine.py'), load_config('plain.py')
    labelled, unlabelled = cfg.train_dataloader.dataset.datasets
    own = plain.train_dataloader.dataset
    assert labelled.to_dict() == {**own, 'ann_file': own.ann_file.replace('plain_data', 'mine_data')}
    assert Path(unlabelled.data_root) == tmp_path / 'more'


def test_it_says_what_it_found_and_what_to_type_next(init, tmp_path):
    write_class_folders(tmp_path / 'photos', ('cat, tabby', 'red_car'), 10)
    lines = init(tmp_path / 'photos', *CLASSIFIER).splitlines()
    assert lines[:4] == [
        f'{tmp_path}/photos: class folders, for classification; 16 images to train, 4 to validate; typically '
        '64 x 64 pixels',
        '2 classes: cat, tabby | red_car',
        '4 of 20 images were split off for validation (a fifth of each class, seed 0).',
        'lfi_photos.py trains 1 epochs, 2 images in a batch',
    ]
    assert lines[-3:] == [
        'Next:',
        '  lfi train lfi_photos.py --cache-teacher',
        '  lfi test lfi_photos.py work_dirs/lfi_photos/epoch_1.pth',
    ]
    cfg = load_config(str(tmp_path / 'lfi_photos.py'))
    assert cfg.model.teacher.concepts == ['cat, tabby', 'red car']
    assert cfg.model.head.num_classes == 2


def test_images_without_labels_are_asked_for_texts(init, tmp_path):
    (tmp_path / 'names.txt').write_text('a dog\na red_car\n')
    printed = init(flat(tmp_path / 'photos'), *CLASSIFIER, '--concepts', 'names.txt')
    assert printed.splitlines()[-1] == (
        f'  lfi infer lfi_photos.py work_dirs/lfi_photos/epoch_1.pth {tmp_path}/photos --texts '
        "dog 'red car' --out-dir work_dirs/lfi_photos/seen"
    )
    assert load_config(str(tmp_path / 'lfi_photos.py')).model.teacher.concepts == ['a dog', 'a red car']


def test_it_prints_nothing_else(init, tmp_path, capsys, recwarn):
    pytest.importorskip('supervision')
    printed = init(write_coco(tmp_path / 'data'), *DETECTOR)
    assert printed.startswith(f'{tmp_path}/data: COCO JSON')
    assert not capsys.readouterr().err and not recwarn.list


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--model', 'resnet19'), r'--model resnet19 is no model of mmpretrain or timm; similar names are '),
        (
            ('--teacher', 'clip-b61'),
            '--teacher clip-b61 is not a folder and none of .*. Did you mean clip-b16',
        ),
        (('--out', 'mine.txt'), '--out mine.txt must be a .py file'),
        (('--out', 'there.py'), '--out there.py exists already: remove it, or name another file'),
        (
            ('--weights', 'gone.pth'),
            '--weights gone.pth: there is no such file, and it is neither timm nor none',
        ),
        (
            ('--weights', 'timm'),
            '--weights timm is for models of timm, and ResNet is none: give a checkpoint of',
        ),
        (('--labels-per-class', '9'), "--labels-per-class 9: the class 'cat' has 3 training images"),
        (
            ('--concepts', 'names.txt'),
            '--concepts names.txt: there is no such file',
        ),
        (('--input-size', '64', '--model', 'levit_128s'), 'the backbone takes no images of 64 pixels .*224'),
        (('--model', 'levit_128s'), 'the last two maps of .* have strides of 32 and 56 pixels, and queries'),
        (('--epochs', '0'), '--epochs 0 must be at least 1'),
        (('--unlabelled', ''), "--unlabelled '' is empty: name a folder"),
        (('--unlabelled', 'gone'), 'gone is not a folder: give the folder of your images'),
        (
            ('--unlabelled', '.'),
            '--unlabelled . holds 8 images of the labelled data, such as data/cat/0.jpg: give a folder',
        ),
        (
            ('--unlabelled', 'data', '--labels-per-class', '1'),
            '--unlabelled data and --labels-per-class 1 exclude each other',
        ),
    ],
)
def test_wrong_options_are_refused_in_one_line(arguments, message, init, tmp_path):
    """And leave nothing behind."""
    (tmp_path / 'there.py').touch()
    write_class_folders(tmp_path / 'data')
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(UsageError, match=message) as error:
        init(tmp_path / 'data', *arguments)
    assert '\n' not in str(error.value)
    assert sorted(tmp_path.rglob('*')) == before


def test_detectors_are_refused_for_other_data(init, tmp_path):
    pytest.importorskip('supervision')
    file = write_coco(tmp_path / 'data')
    for arguments, message in (
        (
            ('--model', 'mask-rcnn_r50'),
            '--model mask-rcnn_r50.* predicts masks, and COCO JSON, .* has boxes alone',
        ),
        (('--model', 'rtmdet-ins_tiny'), '--model rtmdet-ins_tiny.* predicts masks, and COCO JSON'),
        (
            ('--model', 'ssd300', '--input-size', '96'),
            '--input-size 96: ssd300 takes no images of 96 x 96 pixels .*Kernel size.*: give a larger size',
        ),
        (('--labels-per-class', '2'), '--labels-per-class is for images with one label, .* object detection'),
        (('--model', 'resnet18'), '--model resnet18 is no config of mmdet; similar names are '),
    ):
        with pytest.raises(UsageError, match=message):
            init(file, *arguments)
    assert not list(tmp_path.glob('lfi_*'))


def test_images_of_other_formats_are_counted(init, tmp_path, warnings):
    write_class_folders(tmp_path / 'data')
    (tmp_path / 'data/cat/phone.HEIC').touch()
    init(tmp_path / 'data', *CLASSIFIER)
    assert any('are left out: 1 .heic' in warning for warning in warnings)


def test_a_class_may_not_be_the_background(init, tmp_path):
    """One text competes with a background, since the softmax over it alone is 1 everywhere."""
    pytest.importorskip('supervision')

    def rename(content):
        content['categories'] = [{'id': 0, 'name': 'Background'}]
        content['annotations'] = [{**item, 'category_id': 0} for item in content['annotations']]

    with pytest.raises(UsageError, match="'background' is a class, and a text of the background .*: rename"):
        init(change_json(write_coco(tmp_path / 'data'), rename), *DETECTOR)


def test_a_config_of_the_user_beside_it_stays(init, tmp_path):
    (tmp_path / 'lfi_data_task.py').write_text('mine = 1\n')
    init(write_class_folders(tmp_path / 'data'), *CLASSIFIER)
    assert (tmp_path / 'lfi_data_task.py').read_text() == 'mine = 1\n'


def test_weights_of_a_pretraining_begin_a_model_of_labels(init, tmp_path):
    """The prefix of a whole model's weights is found in the file; a backbone's own have none."""
    write_class_folders(tmp_path / 'data')
    resnet = MODELS.build(dict(type='mmpretrain.ResNet', depth=18))
    for number, prefix in enumerate(('backbone.', None)):
        file = tmp_path / f'{number}.pth'
        weights = {f'{prefix or ""}{name}': value for name, value in resnet.state_dict().items()}
        torch.save({'state_dict': weights}, file)
        init(tmp_path / 'data', '--model', 'resnet18', *SMALL, '--weights', file, '--out', f'{number}.py')
        written = load_config(str(tmp_path / f'{number}.py')).model.backbone.backbone.init_cfg
        assert written == dict(type='Pretrained', checkpoint=str(file), prefix=prefix)
    (tmp_path / 'no.pth').write_text('no weights')
    with pytest.raises(UsageError, match=r'no\.pth'):
        init(tmp_path / 'data', '--weights', tmp_path / 'no.pth', '--out', 'no.py')
