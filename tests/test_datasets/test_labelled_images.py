import numpy as np
import pytest
from lfi.datasets import Shapes
from lfi.datasets.labelled_images import labelled_images
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset

SHAPES = dict(type='lfi.Shapes', split='train', num_images=20, img_size=32)
HIDDEN = dict(type='lfi.FewLabels', labels_per_class=0, dataset=SHAPES)


class Infos(BaseDataset):
    def __init__(self, infos):
        self.infos = infos
        super().__init__()

    def load_data_list(self):
        return self.infos


def test_a_label_below_0_none_and_a_mark_are_no_label():
    unlabelled = [dict(gt_label=-1), dict(), dict(gt_label=2, unlabelled=True)]
    labelled = [dict(gt_label=0), dict(gt_label=[1, 2])]
    assert labelled_images(Infos([*unlabelled, *labelled])).tolist() == [False] * 3 + [True] * 2


def test_wrappers_are_looked_into():
    both = ConcatDataset([SHAPES, HIDDEN])
    assert labelled_images(both).tolist() == [True] * 20 + [False] * 20
    part = Infos([dict(gt_label=0), dict(gt_label=-1)])
    assert labelled_images(RepeatDataset(part, 2)).tolist() == [True, False, True, False]


def test_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(Shapes, '_sample', lambda *args: pytest.fail('drawn'))
    assert np.array_equal(labelled_images(ConcatDataset([SHAPES])), [True] * 20)
