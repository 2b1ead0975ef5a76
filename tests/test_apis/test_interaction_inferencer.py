"""`InteractionInferencer`: its predictions and answers, against the model's own."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import cv2
import numpy as np
import pytest
import torch
from lfi.apis import InteractionInferencer
from lfi.datasets.rendering import CLASS_NAMES
from lfi.engine import UnsafeCheckpointError
from lfi.models.teachers import text_tower
from lfi.models.teachers.loading.weights import load_vlm
from mmengine.runner import CheckpointLoader

TEXTS = ['star', 'red circle', 'ring']


@pytest.fixture(scope='module')
def classify(classifier):
    return InteractionInferencer(*classifier, device='cpu')


@pytest.fixture(scope='module')
def detect(detector):
    return InteractionInferencer(*detector, device='cpu')


def noise(*size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def assert_same(found, expected):
    assert found.name == expected.name and found.frame == expected.frame
    torch.testing.assert_close(found.presence, expected.presence)
    torch.testing.assert_close(found.maps, expected.maps)
    torch.testing.assert_close(found.view, expected.view)


def batch_of(inferencer, images):
    """What the model gets of the images, by the inferencer's own pipeline."""
    packed = [
        inferencer.pipeline(dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2]))[0]
        for image in images
    ]
    data = dict(inputs=[p['inputs'] for p in packed], data_samples=[p['data_samples'] for p in packed])
    return inferencer.model.data_preprocessor(data, False)


@torch.no_grad()
def test_maps_are_the_students_own_of_the_same_concepts(classify, photos):
    results = classify(str(photos))['predictions']
    images = [cv2.imread(str(file)) for file in sorted(photos.iterdir())]
    data = batch_of(classify, images)
    for sample in data['data_samples']:
        sample.set_gt_label(0)
    _, student = classify.model.predict_interactions(data['inputs'], data['data_samples'])
    assert [result.name for result in results] == [str(file) for file in sorted(photos.iterdir())]
    expected = student.spatial_log_probs().exp()[:, -1]
    for result, image, maps in zip(results, images, expected, strict=True):
        np.testing.assert_array_equal(result.image, image)
        assert list(result.texts) == list(CLASS_NAMES)
        assert result.maps.dtype == torch.float32 and result.maps.shape == (20, 8, 8)
        # The bank ends with the background.
        torch.testing.assert_close(result.maps, maps[:20], rtol=0, atol=1e-4)
        torch.testing.assert_close(result.maps.sum((1, 2)), torch.ones(20))
        torch.testing.assert_close(result.view, torch.eye(2, 3))


@torch.no_grad()
def test_predictions_and_presence_are_the_models(classify, photos):
    results = classify(photos, texts=TEXTS)['predictions']
    data = batch_of(classify, [cv2.imread(str(file)) for file in sorted(photos.iterdir())])
    expected = classify.model(**data, mode='predict')
    vlm, tokenizer = load_vlm('shapes-tiny', None, False)
    texts = vlm.encode_text(tokenizer([f'a photo of a {text}.' for text in TEXTS]))
    answers = classify.model.ask(data['inputs'], torch.nn.functional.normalize(texts, dim=-1))
    for result, sample, presence in zip(results, expected, answers.presence, strict=True):
        assert result.presence.min() >= 0 and result.presence.max() <= 1
        torch.testing.assert_close(result.prediction.pred_score, sample.pred_score)
        torch.testing.assert_close(result.presence, presence)
        assert result.texts == tuple(TEXTS)


def test_a_text_alone_and_among_others_is_the_same(classify):
    image = noise(64, 64)
    (alone,) = classify(image, texts=['ring'])['predictions']
    (among,) = classify(image, texts=TEXTS)['predictions']
    torch.testing.assert_close(alone.maps[0], among.maps[2])
    torch.testing.assert_close(alone.presence[0], among.presence[2])


def test_a_model_in_training_mode_answers_as_in_evaluation_mode(classify, monkeypatch):
    image = noise(64, 64)
    (expected,) = classify(image, texts=TEXTS)['predictions']
    monkeypatch.setattr(classify.model.backbone.drop_after_pos, 'p', 0.5)
    classify.model.train()
    try:
        (found,) = classify(image, texts=TEXTS)['predictions']
        assert all(module.training for module in classify.model.modules())
    finally:
        classify.model.eval()
    assert_same(found, expected)
    torch.testing.assert_close(found.prediction.pred_score, expected.prediction.pred_score)


def test_an_answer_is_the_images_where_the_task_looks_at_windows(classify, monkeypatch):
    (whole,) = classify(noise(64, 64), texts=TEXTS)['predictions']
    predict = classify.model.predict

    def by_windows(inputs, data_samples):
        for window in inputs.split(32, dim=3):
            classify.model.backbone(window)
        return predict(inputs, data_samples)

    # The last pass may see as many locations as the image has.
    for windows in (by_windows, lambda *args: (predict(*args), classify.model.backbone(args[0].flip(3)))[0]):
        monkeypatch.setattr(classify.model, 'predict', windows)
        (found,) = classify(noise(64, 64), texts=TEXTS)['predictions']
        assert_same(found, whole)


@pytest.mark.parametrize('task', ['classify', 'detect'])
def test_no_result_depends_on_the_batch(task, request):
    inferencer = request.getfixturevalue(task)
    sizes = [(64, 64), (64, 64), (50, 90), (64, 64), (90, 50), (90, 50), (30, 20)]
    images = [noise(*size, seed=i) for i, size in enumerate(sizes)]
    together = inferencer(images, texts=TEXTS, batch_size=4)['predictions']
    one_by_one = inferencer(images, texts=TEXTS, batch_size=1)['predictions']
    for found, expected in zip(together, one_by_one, strict=True):
        assert_same(found, expected)
        if task == 'classify':
            torch.testing.assert_close(found.prediction.pred_score, expected.prediction.pred_score)
        else:
            scores = (each.prediction.pred_instances.scores for each in (found, expected))
            torch.testing.assert_close(*scores)


@torch.no_grad()
def test_maps_of_a_padded_image_show_what_is_image(detect):
    image = noise(116, 192)
    (result,) = detect(image)['predictions']
    # 58 of 64 rows of pixels; the last row of patches shows the image by a quarter.
    assert result.maps.shape == (20, 7, 12)
    torch.testing.assert_close(result.maps.sum((1, 2)), torch.ones(20))
    data = batch_of(detect, [image])
    _, student = detect.model.predict_interactions(data['inputs'], data['data_samples'])
    expected = student.spatial_log_probs().exp()[0, -1, :20]
    torch.testing.assert_close(result.maps, expected[:, :7], rtol=0, atol=1e-4)
    assert not expected[:, 7:].any()
    # 7 rows of 8 pixels are 56 of the image's 58.
    torch.testing.assert_close(result.view, torch.tensor([[1, 0, 0], [0, 56 / 58, 56 / 58 - 1]]))
    boxes = result.prediction.pred_instances.bboxes
    assert boxes[:, 0::2].max() <= 192 and boxes[:, 1::2].max() <= 116 and boxes.max() > 96


def test_patches_that_reach_beyond_the_image_lie_where_they_are(classifier):
    cfg, checkpoint = classifier
    cfg = deepcopy(cfg)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(59, 59)),
        dict(type='PackInputs'),
    ]
    (result,) = InteractionInferencer(cfg, checkpoint, device='cpu')(noise(59, 59))['predictions']
    # The eighth patch of 8 pixels shows 3 of the image's 59, less than half, and is left out.
    assert result.maps.shape == (20, 7, 7)
    reach = 56 / 59
    torch.testing.assert_close(result.view, torch.tensor([[reach, 0, reach - 1], [0, reach, reach - 1]]))


@pytest.mark.parametrize('regions', [False, True])
def test_maps_of_a_cropped_image_lie_where_the_crop_was(classifier, regions):
    cfg, checkpoint = classifier
    cfg = deepcopy(cfg)
    moves = [dict(type='ResizeEdge', scale=80, edge='short'), dict(type='CenterCrop', crop_size=64)]
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        *([dict(type='lfi.LoadRegions', transforms=moves)] if regions else moves),
        dict(type='PackInputs'),
    ]
    image = noise(160, 320)
    (result,) = InteractionInferencer(cfg, checkpoint, device='cpu')(image, texts=TEXTS)['predictions']
    # 64 of 80 rows and of 160 columns, from the middle.
    torch.testing.assert_close(result.view, torch.tensor([[0.4, 0, 0], [0, 0.8, 0]]))
    seen = ~result.maps_on_image()[0].isnan()
    assert seen[16:144, 96:224].all() and seen.sum() == 128 * 128


def test_texts_are_embedded_once_and_no_image_is(classifier, monkeypatch):
    loaded, embedded = [], []

    def load_watched(*args):
        vlm, tokenizer = load_vlm(*args)
        loaded.append(vlm)
        monkeypatch.setattr(type(vlm.visual), 'forward', lambda *args: pytest.fail('an image was embedded'))
        return vlm, lambda texts: embedded.extend(texts) or tokenizer(texts)

    monkeypatch.setattr(text_tower, 'load_vlm', load_watched)
    inferencer = InteractionInferencer(*classifier, device='cpu', templates=['{}', 'my {}'])
    for texts in (TEXTS, TEXTS[:2], ['ring', 'star', 'kite']):
        inferencer(noise(64, 64), texts=texts)
    assert len(loaded) == 1
    assert embedded == [*TEXTS, *(f'my {text}' for text in TEXTS), 'kite', 'my kite']


def test_without_its_teacher_a_model_predicts(classifier, warnings):
    cfg, checkpoint = classifier
    cfg = deepcopy(cfg)
    cfg.merge_from_dict(dict(model=dict(teacher=dict(model='/nowhere/teacher'))))
    inferencer = InteractionInferencer(cfg, checkpoint, device='cpu')
    for _ in range(2):
        (result,) = inferencer(noise(64, 64))['predictions']
    assert result.texts == () and result.presence.shape == (0,) and len(result.maps) == 0
    assert result.prediction.pred_score.sum() == pytest.approx(1)
    (warning,) = warnings
    assert warning.startswith('Predictions only, without texts: teacher folder not found: /nowhere/teacher')
    with pytest.raises(FileNotFoundError, match='/nowhere/teacher'):
        inferencer(noise(64, 64), texts=TEXTS)


def test_no_network_is_asked_for_texts_that_nobody_gave(classifier, warnings, monkeypatch):
    asked = []

    def load(*_):
        asked.append('loaded')
        with socket.create_server(('127.0.0.1', 0)) as server:
            socket.create_connection(server.getsockname()).close()
        asked.append('connected')
        raise RuntimeError('no more is needed')

    monkeypatch.setattr(text_tower, 'load_vlm', load)
    inferencer = InteractionInferencer(*classifier, device='cpu')
    (result,) = inferencer(noise(64, 64))['predictions']
    assert result.texts == () and asked == ['loaded']
    (warning,) = warnings
    assert '--cfg-options model.teacher.model=FOLDER' in warning and '\n' not in warning
    with pytest.raises(RuntimeError, match='no more is needed'):
        inferencer(noise(64, 64), texts=TEXTS)
    assert asked == ['loaded', 'loaded', 'connected']


def test_a_baseline_predicts_and_says_that_it_answers_no_texts(make_student, classifier):
    control = make_student('baselines/task-loss_vit-128x6-p8_shapes.py')
    inferencer = InteractionInferencer(*control, device='cpu')
    (own,) = inferencer(noise(64, 64))['predictions']
    assert own.texts == () and own.prediction.pred_score.shape == (20,)
    with pytest.raises(ValueError, match='cannot be answered: StudentImageClassifier has no read-out'):
        inferencer(noise(64, 64), texts=TEXTS)

    # The control's weights in the config of the method, whose gates are closed.
    inferencer = InteractionInferencer(classifier[0], control[1], device='cpu')
    (result,) = inferencer(noise(64, 64))['predictions']
    torch.testing.assert_close(result.prediction.pred_score, own.prediction.pred_score)
    with pytest.raises(ValueError, match=r'student\.pth has no read-out \(it lacks .*\): it holds a'):
        inferencer(noise(64, 64), texts=TEXTS)


def test_a_student_that_kept_no_rivals_says_how_it_answers(classifier, tmp_path):
    cfg, checkpoint = classifier
    state = torch.load(checkpoint)['state_dict']
    del state['readout.contrast_texts']
    without = tmp_path / 'without.pth'
    torch.save(state, without)
    with pytest.raises(
        ValueError, match=r'without\.pth does not fit .*: set model\.readout\.contrast_weight=0'
    ):
        InteractionInferencer(cfg, without, device='cpu')(noise(64, 64), texts=TEXTS)
    cfg = deepcopy(cfg)
    cfg.model.readout.contrast_weight = 0
    for weights in (without, checkpoint):
        found = InteractionInferencer(cfg, weights, device='cpu')(noise(64, 64), texts=TEXTS)
        assert found['predictions'][0].texts == tuple(TEXTS)


def test_weights_of_another_model_are_refused(make_student, classifier):
    cfg, checkpoint = make_student('baselines/task-loss_vit-128x6-p8_shapes.py', head=dict(num_classes=7))
    with pytest.raises(ValueError, match=r'student\.pth do not fit the model: (?s:.*)size mismatch for head'):
        InteractionInferencer(classifier[0], checkpoint, device='cpu')
    state = torch.load(checkpoint)['state_dict']
    torch.save({name: value for name, value in state.items() if 'backbone.layers.2' not in name}, checkpoint)
    with pytest.raises(ValueError, match=r'lack 12 parameters of the model, such as .*backbone\.layers\.2'):
        InteractionInferencer(cfg, checkpoint, device='cpu')


def test_code_in_a_checkpoint_is_not_run_and_mmengine_stays_as_it_was(classifier, tmp_path):
    loaders = dict(CheckpointLoader._schemes)
    mark, file = tmp_path / 'mark', tmp_path / 'malicious.pth'
    torch.save(dict(state_dict={}, payload=MakeFolder(mark)), file)
    with pytest.raises(UnsafeCheckpointError, match=r'malicious\.pth was refused'):
        InteractionInferencer(classifier[0], file, 'cpu')
    assert not mark.exists()
    assert dict(CheckpointLoader._schemes) == loaders


class MakeFolder:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_student_without_learned_queries_answers(make_student):
    student = make_student('classification/lfi_vit-128x6-p8_shapes.py', backbone=dict(num_queries=0))
    (result,) = InteractionInferencer(*student, device='cpu')(noise(64, 64), texts=TEXTS)['predictions']
    assert result.maps.shape == (3, 8, 8) and result.presence.shape == (3,)


def test_a_read_out_that_lacks_a_part_answers_no_texts(classifier, tmp_path):
    cfg, checkpoint = classifier
    state = torch.load(checkpoint)['state_dict']
    state = {name.replace('question_head', 'query_head'): value for name, value in state.items()}
    torch.save(dict(state_dict=state), tmp_path / 'old.pth')
    inferencer = InteractionInferencer(cfg, tmp_path / 'old.pth', device='cpu')
    with pytest.raises(ValueError, match=r'cannot be answered: .*old\.pth .* lacks readout\.question_head'):
        inferencer(noise(64, 64), texts=TEXTS)


def test_a_zero_shot_model_answers_the_classes_of_its_test(classifier):
    cfg, checkpoint = classifier
    cfg = deepcopy(cfg)
    cfg.model.update(head=None, predict_by=dict(type='lfi.ByTexts', concepts=TEXTS, templates=['{}']))
    (result,) = InteractionInferencer(cfg, checkpoint, device='cpu')(noise(64, 64))['predictions']
    assert result.texts == tuple(TEXTS) and result.maps.shape == (3, 8, 8)
    torch.testing.assert_close(result.prediction.pred_score, result.presence.logit().softmax(0))
    # Other texts, in the pass that tells the classes.
    (other,) = InteractionInferencer(cfg, checkpoint, device='cpu')(noise(64, 64), texts=TEXTS[1:2])[
        'predictions'
    ]
    torch.testing.assert_close(other.presence, result.presence[1:2])
    torch.testing.assert_close(other.maps, result.maps[1:2])
    torch.testing.assert_close(other.prediction.pred_score, result.prediction.pred_score)


def test_a_zero_shot_model_names_its_own_classes(classifier, tmp_path):
    cfg, checkpoint = classifier
    cfg = deepcopy(cfg)
    cfg.model.update(head=None, predict_by=dict(type='lfi.ByTexts', concepts=TEXTS, templates=['{}']))
    state = torch.load(checkpoint)['state_dict']
    # As a Runner writes it, with the classes of the training.
    meta = dict(dataset_meta=dict(classes=('ring', 'star')))
    torch.save(dict(state_dict=state, meta=meta), tmp_path / 'trained.pth')
    assert InteractionInferencer(cfg, tmp_path / 'trained.pth', device='cpu').classes == tuple(TEXTS)


def test_what_cannot_be_read_is_skipped_named_and_counted(classify, photos, tmp_path, warnings):
    good, truncated, text = sorted(photos.iterdir())[0], tmp_path / 'truncated.png', tmp_path / 'text.jpg'
    truncated.write_bytes(good.read_bytes()[:2000])
    text.write_text('not an image')
    inputs = [truncated, good, text, tmp_path / 'missing.png', tmp_path / 'missing.mp4', good]
    found = classify(inputs, texts=TEXTS)
    assert [result.name for result in found['predictions']] == [str(good)] * 2
    assert found['skipped'] == [str(inputs[i]) for i in (0, 2, 3, 4)]
    assert [warning.rsplit('; ')[-1] for warning in warnings] == [
        f'skipped, {i} so far' for i in (1, 2, 3, 4)
    ]
    for name, warning in zip(found['skipped'], warnings):
        assert warning.startswith(f'{name}: this ') and 'cannot be read' in warning
    assert classify(good, texts=TEXTS)['skipped'] == []


def test_an_image_too_thin_for_the_pipeline_is_skipped_by_name(detect, tmp_path, warnings):
    thin, good = tmp_path / 'thin.png', tmp_path / 'good.png'
    cv2.imwrite(str(thin), noise(2, 900))
    cv2.imwrite(str(good), noise(64, 96))
    found = detect([thin, good], texts=TEXTS)
    assert (found['skipped'], len(found['predictions'])) == ([str(thin)], 1)
    assert warnings[0].startswith(f'{thin}: the test pipeline cannot take an image of 900 x 2 pixels')


def test_a_test_pipeline_that_pads_is_refused(detector):
    cfg, weights = detector
    cfg = deepcopy(cfg)
    cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='Pad', size_divisor=32))
    with pytest.raises(ValueError, match='^test_dataloader: its pipeline pads by Pad, .* count as image'):
        InteractionInferencer(cfg, weights, device='cpu')


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(device='cuda:77'), "device='cuda:77' cannot be used"),
        (dict(device='nowhere'), "device='nowhere' cannot be used"),
        (dict(templates=['no braces']), r"templates must be strings with \{\} .*\['no braces'\]"),
        (dict(templates='all of them'), "templates='all of them' is unknown"),
    ],
)
def test_a_device_or_templates_that_cannot_be_used(classifier, arguments, message):
    with pytest.raises(ValueError, match=message):
        InteractionInferencer(*classifier, **arguments)


def write_clip(path, frames):
    """Write a video; skips where OpenCV writes none."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    if not writer.isOpened():
        pytest.skip('OpenCV cannot write a video here')
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture
def clip(tmp_path):
    """A video of 7 frames that grow brighter."""
    return write_clip(tmp_path / 'clip.avi', [np.full((48, 64, 3), 30 * i, np.uint8) for i in range(7)])


def test_a_video_is_taken_frame_by_frame(classify, clip):
    results = classify(clip, texts=TEXTS, frame_stride=3, batch_size=2)['predictions']
    assert [(result.name, result.frame) for result in results] == [(str(clip), i) for i in (0, 3, 6)]
    assert [round(result.image.mean() / 30) for result in results] == [0, 3, 6]
    streamed = classify.stream(clip, TEXTS, frame_stride=3)
    assert_same(next(streamed), results[0])


def test_a_video_that_ends_early_is_named(classify, tmp_path, warnings):
    clip = write_clip(tmp_path / 'clip.avi', [noise(48, 64, seed=i) for i in range(60)])
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    found = classify(clip, texts=TEXTS)
    assert 0 < len(found['predictions']) < 60 and found['skipped'] == [str(clip)]
    assert f'ends after {len(found["predictions"])} of the 60 frames' in warnings[-1]


def test_arrays_and_files_of_the_same_image_are_the_same(classify, photos):
    file = sorted(photos.iterdir())[1]
    of_file, of_array = classify([file, cv2.imread(str(file))], texts=TEXTS)['predictions']
    assert of_array.name == 'inputs[1]'
    torch.testing.assert_close(of_file.maps, of_array.maps)
    torch.testing.assert_close(of_file.prediction.pred_score, of_array.prediction.pred_score)


def test_pictures_are_drawn_on_request(classify, detect):
    assert classify(noise(64, 64), texts=TEXTS)['visualization'] == []
    for inferencer in (classify, detect):
        images = [noise(60, 120), noise(60, 120, seed=1)]
        pictures = inferencer(images, texts=TEXTS, return_vis=True)['visualization']
        assert len(pictures) == 2
        assert pictures[0].dtype == np.uint8 and pictures[0].shape == pictures[1].shape
    assert len(classify([noise(1, 5000), noise(5000, 1)], texts=TEXTS, return_vis=True)['visualization']) == 2


def test_threads_get_the_answers_of_their_own_images(classify):
    images = [noise(40 + 8 * i, 64, seed=i) for i in range(6)]
    alone = [classify(image, texts=TEXTS)['predictions'][0] for image in images]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda image: classify(image, texts=TEXTS)['predictions'][0], images * 4))
    for found, expected in zip(together, alone * 4):
        assert_same(found, expected)


def test_arguments_out_of_range_say_so(classify):
    with pytest.raises(ValueError, match='batch_size=0 must be a whole number of 1'):
        classify(noise(64, 64), batch_size=0)
    with pytest.raises(ValueError, match='frame_stride=0 must be a whole number of 1'):
        classify.stream('clip.mp4', frame_stride=0)
    for texts in ('star', []):
        with pytest.raises(ValueError, match='must be a list of one or more texts'):
            classify(noise(64, 64), texts=texts)
    with pytest.raises(ValueError, match=r"texts=.*'star'\] names a text more than once"):
        classify(noise(64, 64), texts=['star', 'ring', 'star'])
    with pytest.raises(ValueError, match='concepts and background must be non-empty strings'):
        classify(noise(64, 64), texts=['star', ' '])


def test_a_config_file_and_random_weights_will_do(classifier, tmp_path):
    cfg, _ = classifier
    cfg.dump(tmp_path / 'config.py')
    with pytest.warns(UserWarning, match='Checkpoint is not loaded'):
        inferencer = InteractionInferencer(tmp_path / 'config.py', device='cpu')
    assert inferencer.classes == tuple(CLASS_NAMES)
    with pytest.raises(FileNotFoundError):
        InteractionInferencer(tmp_path / 'missing.py')


@pytest.mark.cuda
def test_a_gpu_finds_what_the_cpu_finds(classifier, classify, photos):
    on_gpu = InteractionInferencer(*classifier, device='cuda')(photos, texts=TEXTS)['predictions']
    for found, expected in zip(on_gpu, classify(photos, texts=TEXTS)['predictions'], strict=True):
        assert found.maps.device.type == found.prediction.pred_score.device.type == 'cpu'
        torch.testing.assert_close(found.maps, expected.maps, rtol=1e-2, atol=1e-4)
        torch.testing.assert_close(found.presence, expected.presence, rtol=1e-2, atol=1e-2)
