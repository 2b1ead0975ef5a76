from types import SimpleNamespace

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import pytest
import torch
from lfi.errors import UsageError
from lfi.structures import InteractionMaps
from lfi.visualization import presence_words
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

from research.studies import Run
from research.studies.job import read_config
from research.studies.run_report import (
    choose_questions,
    draw_questions,
    draw_report,
    load_student,
    next_steps,
)


def test_the_student_in_the_report_sees_its_images_as_in_training(tmp_path):
    cfg = read_config('configs/classification/lfi_vit-128x6-p8_shapes.py')
    cfg.dump(tmp_path / 'config.py')
    init_default_scope('mmpretrain')
    # As the Runner builds it.
    trained = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor}).eval()
    torch.save({'state_dict': trained.state_dict()}, tmp_path / 'epoch_1.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))

    shown, dataset = load_student(tmp_path)

    data = pseudo_collate([dataset[i] for i in range(4)])
    with torch.no_grad():
        scores = [m(**m.data_preprocessor(data), mode='tensor') for m in (shown, trained)]
    torch.testing.assert_close(scores[0], scores[1])
    torch.save({'state_dict': dict(list(trained.state_dict().items())[:1])}, tmp_path / 'epoch_1.pth')
    with pytest.raises(UsageError, match='parameters are missing'):
        load_student(tmp_path)


@pytest.mark.parametrize('left', [[], ['config.py'], ['epoch_1.pth']])
def test_of_a_run_without_a_config_or_a_checkpoint_there_are_curves_alone(left, tmp_path):
    for name in left:
        # None of them is read.
        (tmp_path / name).write_text('no Python')
    figure = draw_report([Run('plain', (1.0, 2.0), 1.0, {})], [tmp_path], 2)
    assert [axes.get_xlabel() for axes in figure.axes] == ['epoch']
    assert next_steps([tmp_path]) == ''


class Images(list):
    """Images by what they show, the label first."""

    def __getitem__(self, index):
        sample = DataSample(metainfo=dict(index=index))
        return dict(inputs=torch.full((3, 16, 16), index, dtype=torch.uint8), data_samples=sample)

    def get_data_info(self, index):
        shown = list(self)[index]
        return dict(gt_label=shown[0], gt_bboxes_labels=shown) if len(shown) > 1 else dict(gt_label=shown[0])


IMAGES = Images([[0], [1, 2, 3], [5, 5, 4], [2]])


def test_two_images_are_asked_about_what_is_there_and_what_is_not():
    (first, asked, there), (second, others, none) = choose_questions(IMAGES, 6)
    # The only one that shows two classes.
    assert (first, asked[:2], there) == (2, [5, 4], [True, True, False])
    assert asked[2] in (0, 1, 2, 3)
    assert second != first and none == [False] * 3
    assert len({*others} - {*list(IMAGES)[second]}) == 3


def test_images_that_show_one_class_are_asked_about_two_that_are_not_there():
    (first, asked, there), _ = choose_questions(Images([[0], [1]]), 4)
    assert (asked[0], there) == (first, [True, False, False])
    assert len({*asked}) == 3


def test_answers_are_drawn_with_the_presence_of_each():
    def ask(images, texts):
        assert images.unique().numel() == 1
        presence = texts[:, 0] / 10
        maps = torch.zeros(1, 1, len(texts), 2, 2)
        return InteractionMaps(maps, presence[None], torch.ones(1, 2, 2, dtype=torch.bool))

    model = SimpleNamespace(
        teacher=SimpleNamespace(
            text_embeddings=torch.arange(6.0)[:, None], bank=SimpleNamespace(names='abcdef', num_concepts=6)
        ),
        data_preprocessor=lambda data, training: dict(inputs=torch.stack(data['inputs']).float()),
        ask=ask,
    )
    _, axes = plt.subplots(2, 4)
    draw_questions(axes, model, IMAGES)
    for row, (index, concepts, there) in zip(axes, choose_questions(IMAGES, 6)):
        assert (row[0].images[0].get_array() == index).all()
        titles = [
            f'{"abcdef"[c]} ({"there" if t else "not there"})\n{presence_words(c / 10)}'
            for c, t in zip(concepts, there)
        ]
        assert [cell.get_title() for cell in row[1:]] == titles
