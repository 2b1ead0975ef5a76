"""A student's folder: what is written, and that the same student comes back."""

import json
from unittest.mock import Mock

import lfi
import numpy as np
import pytest
import torch
from lfi.apis import InteractionInferencer
from lfi.concepts import ConceptBank
from lfi.datasets.rendering import CLASS_NAMES
from lfi.errors import UsageError
from lfi.export import model_config
from lfi.models import Student
from lfi.models.teachers.stored_texts import StoredTexts
from lfi.models.teachers.text_tower import TextTower
from lfi.registry import MODELS
from mmdet.apis import inference_detector
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmpretrain.models.classifiers import ImageClassifier
from safetensors.torch import load_file

FILES = {'README.md', 'config.json', 'model.safetensors', 'texts.safetensors'}
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
PHOTO = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
TEXTS = torch.nn.functional.normalize(torch.eye(3, 96) + 0.1, dim=1)


def test_a_student_answers_and_predicts_as_it_was_trained(small_student, tmp_path):
    model, cfg = small_student()
    folder = lfi.save_pretrained(model, tmp_path / 'student', config=cfg)
    assert {path.name for path in folder.iterdir()} == FILES
    loaded = lfi.from_pretrained(folder)
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES), model(IMAGES))
        mine, its = model.ask(IMAGES, TEXTS), loaded.ask(IMAGES, TEXTS)
    assert torch.equal(mine.presence, its.presence)
    assert torch.equal(mine.spatial_log_probs(), its.spatial_log_probs())


def test_a_loaded_student_is_saved_again_as_it_was(run_folder, tmp_path):
    first = lfi.save_pretrained(run_folder, tmp_path / 'first')
    second = lfi.save_pretrained(lfi.from_pretrained(first), tmp_path / 'second')
    for name in ('config.json', 'model.safetensors', 'texts.safetensors'):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_without_its_readout_a_student_is_the_export(small_student, small_config, tmp_path):
    plain = dict(backbone=dict(stem=None, with_cls_token=True, out_type='cls_token'))
    cfg = small_config()
    cfg.merge_from_dict(dict(model=plain))
    model, _ = small_student(cfg)
    loaded = lfi.from_pretrained(lfi.save_pretrained(model, tmp_path, config=cfg, readout=False))
    assert type(loaded) is ImageClassifier
    assert 'teacher' not in loaded.cfg.model
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES), model(IMAGES))


def test_a_baseline_has_no_teacher_to_keep(small_student, small_config, tmp_path):
    cfg = small_config('baselines/task-loss_vit-128x6-p8_shapes.py')
    model, _ = small_student(cfg)
    loaded = lfi.from_pretrained(lfi.save_pretrained(model, tmp_path, config=cfg))
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES), model(IMAGES))


def test_a_detector_finds_the_same_boxes(tmp_path):
    cfg = Config.fromfile(lfi.config_path('detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py'))
    cfg.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5)
    # Tuples must stay: mmcv resizes to no lists.
    cfg.test_dataloader.dataset.pipeline[1].update(scale=(96, 96))
    del cfg.test_dataloader.dataset.pipeline[1]['scale_factor']
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(model_config(cfg)).eval()
    model.cfg, model.dataset_meta = cfg, dict(classes=CLASS_NAMES[::-1], palette=[(1, 2, 3), (4, 5, 6)])
    loaded = lfi.from_pretrained(lfi.save_pretrained(model, tmp_path))
    assert loaded.cfg.test_dataloader.dataset.pipeline[1].scale == (96, 96)
    assert loaded.dataset_meta == model.dataset_meta
    image = np.random.default_rng(0).integers(0, 255, (80, 96, 3), np.uint8)
    # The pipeline of the folder has no loading of files, as Shapes needs none.
    for one in (model, loaded):
        one.cfg.test_dataloader.dataset.pipeline[0] = ConfigDict(type='mmdet.LoadImageFromNDArray')
    mine, its = (inference_detector(one, image).pred_instances for one in (model, loaded))
    assert len(mine.scores) and torch.equal(mine.bboxes, its.bboxes) and torch.equal(mine.scores, its.scores)


def test_nothing_private_is_written(small_student, small_config, tmp_path):
    secret = str(tmp_path / 'secret')
    cfg = small_config(teacher=dict(cache=f'{secret}/cache'))
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=f'{secret}/start.pth')
    cfg.test_dataloader.dataset.update(
        data_root=secret,
        pipeline=[
            dict(type='LoadImageFromFile', backend_args=dict(backend='local', path=secret)),
            dict(type='PackInputs'),
        ],
    )
    cfg.work_dir = cfg.load_from = secret
    model, _ = small_student(small_config())
    cfg.model.teacher.weights_file = f'{secret}/weights.pt'
    cfg.model.teacher.model = f'{secret}/lit-lite0'
    folder = lfi.save_pretrained(model, tmp_path / 'student', config=cfg)
    assert not any(b'secret' in path.read_bytes() for path in folder.iterdir())
    assert lfi.from_pretrained(folder).cfg.model.teacher.model == 'lit-lite0'
    cfg.model.head.note = '~/labels.txt'
    with pytest.raises(UsageError, match=r"model.head.note='~/labels.txt' is a path of this machine"):
        lfi.save_pretrained(model, tmp_path / 'other', config=cfg)


@pytest.mark.parametrize(
    ('model', 'name'),
    [
        ('my teacher (v2)', 'my-teacher-v2-'),
        ('größe', 'größe'),
        ('x@y', 'x-y'),
        ('.hidden', 'hidden'),
        ('-x', 'x'),
        ('clip+x', 'clip+x'),
        ('v1.ViT.pt', 'v1-ViT-pt'),
        ('a\nb', 'a-b'),
        ('(((', 'teacher'),
        ('x' * 250, 'x' * 200),
        ('local-dir:/home/transformers:my llava', 'transformers-my-llava'),
        ('mmpretrain:/home/blip base.pth', 'mmpretrain:blip-base-pth'),
        ('transformers:me/llava', 'transformers:me/llava'),
        ('transformers:../my llava', 'transformers:my-llava'),
    ],
)
def test_a_teacher_has_a_plain_name(small_student, tmp_path, model, name):
    student, cfg = small_student()
    cfg.model.teacher.model = model if ':' in model else f'/home/{model}'
    folder = lfi.save_pretrained(student, tmp_path / 'student', config=cfg)
    assert lfi.from_pretrained(folder).cfg.model.teacher.model == name


def test_concepts_and_prompts_are_no_paths(small_student, tmp_path):
    student, cfg = small_student()
    concepts, templates = ['~home', '\\x', '/s', 'C:\\x'], ['~{}', '/r {}']
    cfg.model.teacher.update(concepts=concepts, templates=templates, background=['/wall'])
    cfg.model.teacher.extractor = dict(type='generative', question='/{}?')
    teacher = lfi.from_pretrained(lfi.save_pretrained(student, tmp_path, config=cfg)).cfg.model.teacher
    assert (teacher.concepts, teacher.templates, teacher.background) == (concepts, templates, ['/wall'])
    assert teacher.extractor.question == '/{}?'
    cfg.model.teacher.extractor = dict(type='/home/extractor')
    with pytest.raises(UsageError, match=r"teacher\.extractor\.type='/home/extractor' is a path"):
        lfi.save_pretrained(student, tmp_path, config=cfg)


def test_weights_of_any_kind_are_written(small_student, tmp_path):
    model, cfg = small_student()
    head, other = model.head.layers.head, torch.nn.Linear(16, 20)
    model.head.layers.head = other
    # Tied to a part of a larger tensor, not contiguous, and in half precision.
    store = torch.randn(16, 40).to(torch.bfloat16)
    other.weight.data, other.bias.data = store[:, ::2].T, store[0, :20]
    model.backbone.ln1.bias = model.backbone.ln1.weight
    folder = lfi.save_pretrained(model, tmp_path, config=cfg)
    written = load_file(folder / 'model.safetensors')
    assert written.keys() == model.state_dict().keys()
    assert written['head.layers.head.weight'].dtype == torch.bfloat16
    assert (folder / 'model.safetensors').stat().st_size < 1.2 * sum(
        v.nbytes for v in written.values()
    ) + 9999
    loaded = lfi.from_pretrained(folder).state_dict()
    assert all(torch.equal(loaded[name], value.float()) for name, value in model.state_dict().items())
    assert head.weight.shape == other.weight.shape


def test_the_last_checkpoint_of_a_run_is_taken_with_its_config(run_folder, tmp_path):
    trained = torch.load(run_folder / 'epoch_2.pth')['state_dict']
    for source, name in ((run_folder, 'a'), (run_folder / 'epoch_2.pth', 'b')):
        loaded = lfi.from_pretrained(lfi.save_pretrained(source, tmp_path / name))
        assert all(torch.equal(value, trained[key]) for key, value in loaded.state_dict().items())
    (run_folder / 'other.py').write_text('')
    with pytest.raises(
        UsageError,
        match=r'must have one config, and has \S+\.py, other\.py: name that of the training',
    ):
        lfi.save_pretrained(run_folder, tmp_path / 'c')


def test_what_cannot_be_saved_is_said(small_student, run_folder, small_config, tmp_path):
    model, cfg = small_student()
    with pytest.raises(UsageError, match='StudentImageClassifier has no config: set config='):
        lfi.save_pretrained(model, tmp_path / 'a')
    with pytest.raises(UsageError, match='gone is neither a checkpoint'):
        lfi.save_pretrained(tmp_path / 'gone', tmp_path / 'a')
    other = small_config(head=dict(num_classes=3))
    with pytest.raises(UsageError, match='does not fit the config'):
        lfi.save_pretrained(run_folder, tmp_path / 'a', config=other)
    with pytest.raises(
        UsageError, match=r"config's model and StudentImageClassifier differ in [0-9]+ weights, such as 'head"
    ):
        lfi.save_pretrained(model, tmp_path / 'a', config=other)
    cfg.model.head.rule = max
    with pytest.raises(UsageError, match=r'model.head.rule=.* is not plain data'):
        lfi.save_pretrained(model, tmp_path / 'a', config=cfg)
    assert not (tmp_path / 'a').exists()


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors', 'texts.safetensors'])
@pytest.mark.parametrize('content', ['{"architecture": "vit_tiny_patch16_224"}', '[1]', 'mine', ''])
def test_files_of_others_are_not_overwritten(small_student, tmp_path, name, content):
    model, cfg = small_student()
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=rf"{name} exists, is not a \w+ of LFI's.*name another"):
        lfi.save_pretrained(model, tmp_path, config=cfg)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == content


def test_what_a_killed_saving_left_is_written_anew(small_student, tmp_path, monkeypatch):
    model, cfg = small_student()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr('lfi.student_folder.folder.asdict', Mock(side_effect=KeyboardInterrupt))
        lfi.save_pretrained(model, tmp_path, config=cfg)
    assert {path.name for path in tmp_path.iterdir()} == FILES - {'config.json'}
    lfi.from_pretrained(lfi.save_pretrained(model, tmp_path, config=cfg))


@pytest.mark.parametrize(
    'files',
    [
        {'README.md': '# mine\n\nWrite\n\nlibrary_name: lfi\n\ninto a card\n', 'model.safetensors': 'mine'},
        {'config.json': '{"library_name": "lfi"}', 'model.safetensors': 'mine'},
        {'config.json': '{"library_name": "lfi"}'},
    ],
)
def test_who_speaks_of_lfi_is_not_overwritten(small_student, tmp_path, files):
    model, cfg = small_student()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match='and would be overwritten'):
        lfi.save_pretrained(model, tmp_path, config=cfg)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_a_student_without_its_page_is_written_anew(small_student, tmp_path):
    model, cfg = small_student()
    (lfi.save_pretrained(model, tmp_path, config=cfg) / 'README.md').unlink()
    lfi.from_pretrained(lfi.save_pretrained(model, tmp_path, config=cfg))


def test_a_page_of_others_is_not_overwritten(small_student, tmp_path):
    model, cfg = small_student()
    (tmp_path / 'README.md').write_text('my project')
    with pytest.raises(UsageError, match="README.md exists, is not a card of LFI's"):
        lfi.save_pretrained(model, tmp_path, config=cfg)
    assert [path.name for path in tmp_path.iterdir()] == ['README.md']
    for _ in range(2):
        lfi.save_pretrained(model, tmp_path / 'new', config=cfg)


def test_a_file_in_place_of_a_folder_is_named(small_student, tmp_path):
    model, cfg = small_student()
    (tmp_path / 'file').write_text('mine')
    for folder in ('file', 'file/below/it'):
        with pytest.raises(UsageError, match='file is a file: name a folder'):
            lfi.save_pretrained(model, tmp_path / folder, config=cfg)
    assert (tmp_path / 'file').read_text() == 'mine'


def test_a_type_of_a_lazy_config_is_written_by_its_name(small_student, tmp_path):
    model, cfg = small_student()
    cfg = Config(cfg.to_dict())
    cfg.model['type'], cfg.model['task'] = Student, ImageClassifier
    cfg.model.backbone['type'] = type(model.backbone)
    folder = lfi.save_pretrained(model, tmp_path, config=cfg)
    written = json.loads((folder / 'config.json').read_text())['model']
    assert (written['type'], written['task'], written['backbone']['type']) == (
        'lfi.Student',
        'mmpretrain.ImageClassifier',
        'lfi.InteractionQueryViT',
    )
    assert isinstance(lfi.from_pretrained(folder), Student)


def test_what_is_for_training_alone_stays_behind(small_student, small_config, tmp_path):
    parts = dict(dense=dict(type='lfi.DenseFeatures'), logits=dict(type='lfi.LogitKD'))
    cfg = small_config(supervision=parts, control=dict(type='lfi.MeanTarget'))
    model, _ = small_student(cfg)
    # As training leaves it: its shape is that of what it has seen.
    model.control.means['logits']['probabilities'].add(torch.ones(20), torch.ones(()))
    loaded = lfi.from_pretrained(lfi.save_pretrained(model, tmp_path, config=cfg))
    assert 'control' not in loaded.cfg.model
    # It says how the teacher is read.
    assert loaded.cfg.model.supervision.keys() == {'interactions'}
    names = {name for name in model.state_dict() if not name.startswith(('supervision.', 'control.'))}
    assert loaded.state_dict().keys() == names


def test_the_inferencer_takes_a_folder(run_folder, tmp_path):
    folder = lfi.save_pretrained(run_folder, tmp_path / 'student')
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    by_folder = InteractionInferencer(folder, device='cpu')
    by_run = InteractionInferencer(
        run_folder / 'lfi_vit-128x6-p8_shapes.py', run_folder / 'epoch_2.pth', device='cpu'
    )
    assert by_folder.classes == by_run.classes == tuple(CLASS_NAMES[::-1])
    mine, its = (one(image, texts=['red star'])['predictions'][0] for one in (by_run, by_folder))
    assert torch.equal(mine.presence, its.presence) and torch.equal(mine.maps, its.maps)
    assert torch.equal(mine.prediction.pred_score, its.prediction.pred_score)
    # As mmengine finds a checkpoint, too.
    again = InteractionInferencer(run_folder / 'lfi_vit-128x6-p8_shapes.py', folder, device='cpu')
    assert torch.equal(again(image)['predictions'][0].prediction.pred_score, mine.prediction.pred_score)


def test_a_saved_student_answers_without_its_teacher(run_folder, tmp_path, monkeypatch):
    expected = lfi.load(run_folder).ask(PHOTO, [CLASS_NAMES[0], 'a barn'])
    folder = lfi.save_pretrained(run_folder, tmp_path / 'texts')
    complete = lfi.save_pretrained(run_folder, tmp_path / 'tower', text_tower=True)
    assert {path.name for path in complete.iterdir()} == FILES | {'text_tower'}
    monkeypatch.setattr(
        'lfi.models.teachers.text_tower.load_vlm', Mock(side_effect=FileNotFoundError('gone'))
    )
    student = lfi.load(folder)
    torch.testing.assert_close(student.ask(PHOTO, [CLASS_NAMES[0]]).maps, expected.maps[:1])
    with pytest.raises(UsageError, match='--with-text-tower, .* LFI_TEACHER_ROOT'):
        student.ask(PHOTO, ['a barn'])
    for own in (complete, lfi.load(complete).save(tmp_path / 'again', text_tower=True)):
        torch.testing.assert_close(lfi.load(own).ask(PHOTO, [CLASS_NAMES[0], 'a barn']).maps, expected.maps)
    assert not (lfi.load(complete).save(tmp_path / 'tower', text_tower=False) / 'text_tower').exists()


def test_a_run_from_a_cache_needs_no_teacher_to_be_saved(run_folder, small_cache, tmp_path, monkeypatch):
    cfg = Config.fromfile(run_folder / 'lfi_vit-128x6-p8_shapes.py')
    bank = ConceptBank(tuple(CLASS_NAMES), ('{}',), torch.nn.functional.normalize(torch.rand(20, 96), dim=1))
    monkeypatch.setattr('lfi.hub.texts.bank_of', lambda cache: bank)
    monkeypatch.setattr(
        'lfi.models.teachers.text_tower.load_vlm', Mock(side_effect=FileNotFoundError('gone'))
    )
    cfg.model.teacher.update(cache=str(small_cache), background=[], templates=['{}'])
    folder = lfi.save_pretrained(run_folder, tmp_path / 'student', config=cfg)
    stored = StoredTexts.read(folder / 'texts.safetensors')
    assert stored.names == bank.names and torch.equal(stored.embeddings, bank.embeddings)
    # With another bank than the config's, texts are those of the teacher, which is not there.
    cfg.model.teacher.templates = ['a {}']
    other = lfi.save_pretrained(run_folder, tmp_path / 'other', config=cfg)
    assert not (other / 'texts.safetensors').exists()


def test_embeddings_of_another_teacher_are_not_saved(small_student, small_config, tmp_path, warnings):
    model, cfg = small_student(small_config(readout=dict(contrast_weight=0.9)))
    tower = TextTower(cfg.model.teacher)
    model.readout.fit_text_statistics(tower.embed((*tower.concepts, *tower.background)))
    folder = lfi.save_pretrained(model, tmp_path / 'student', config=cfg)
    assert (folder / 'texts.safetensors').is_file() and not warnings
    model.readout.contrast_texts[3] *= -1
    folder = lfi.save_pretrained(model, tmp_path / 'student', config=cfg)
    assert not (folder / 'texts.safetensors').exists()
    assert 'embeds the texts differently from that of the training' in warnings[0]


def test_a_folder_of_a_student_is_saved_again_with_its_text_tower(run_folder, tmp_path):
    first = lfi.save_pretrained(run_folder, tmp_path / 'first', text_tower=True)
    second = lfi.save_pretrained(first, tmp_path / 'second')
    assert (second / 'text_tower/open_clip_config.json').is_file()
    (second / 'text_tower/.vocab.json.partial').write_text('left by a killed saving')
    lfi.from_pretrained(second)
    third = lfi.save_pretrained(second, tmp_path / 'third', text_tower=False)
    assert not (third / 'text_tower').exists()


def test_a_linked_text_tower_is_not_written_into(run_folder, tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/vocab.json').write_text('mine')
    (tmp_path / 'student').mkdir()
    (tmp_path / 'student/text_tower').symlink_to(tmp_path / 'mine')
    with pytest.raises(UsageError, match='is a link, and its target would be changed'):
        lfi.save_pretrained(run_folder, tmp_path / 'student')
    assert (tmp_path / 'mine/vocab.json').read_text() == 'mine'


def test_without_teacher_and_cache_a_student_is_saved_with_a_warning(
    run_folder, tmp_path, monkeypatch, warnings
):
    monkeypatch.setattr(
        'lfi.models.teachers.text_tower.load_vlm', Mock(side_effect=FileNotFoundError('gone'))
    )
    folder = lfi.save_pretrained(run_folder, tmp_path / 'student')
    assert {path.name for path in folder.iterdir()} == FILES - {'texts.safetensors'}
    assert 'saved without the embeddings of its texts' in ''.join(warnings)
    with pytest.raises(UsageError, match='has no read-out'):
        lfi.save_pretrained(run_folder, tmp_path / 'export', readout=False, text_tower=True)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda folder: (folder / 'texts.safetensors').write_bytes(b'mine'),
            'texts.safetensors is missing, trunc',
        ),
        (lambda folder: (folder / 'texts.safetensors').unlink(), 'texts.safetensors is missing, trunc'),
        (
            lambda folder: (folder / 'text_tower/tokenizer.py').write_text('code'),
            'tokenizer.py is no file of this',
        ),
        (lambda folder: (folder / 'text_tower/vocab.json').write_text('{}'), 'vocab.json is no file of this'),
    ],
)
def test_foreign_files_of_texts_are_refused(run_folder, tmp_path, change, message):
    folder = lfi.save_pretrained(run_folder, tmp_path / 'student', text_tower=True)
    change(folder)
    for load in (lfi.from_pretrained, lfi.load):
        with pytest.raises(UsageError, match=message):
            load(folder)
