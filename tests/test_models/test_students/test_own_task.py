"""A task family of one's own is one file, as docs/extend.md shows: a model of a new kind, and its family."""

import pytest
import torch
from lfi.models import Student
from lfi.models.students import tasks
from lfi.models.students.config_facts import family_of, reads_labels
from lfi.models.students.tasks.task import Task, labelled_loss, task_of
from lfi.registry import MODELS
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from small_students import BACKBONE, NAMES, NORMALISE, PARTS, TERMS, parts
from torch import nn


class RankingModel(BaseModel):
    """Gives each image one number, by a backbone and a linear layer. No package of OpenMMLab knows it."""

    def __init__(self, backbone, width=16, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.backbone = MODELS.build(backbone)
        self.score = nn.Linear(width, 1)

    def extract_feat(self, inputs):
        return self.backbone(inputs)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.predict(inputs, data_samples) if mode == 'predict' else self.extract_feat(inputs)

    def loss(self, inputs, data_samples):
        rank = self.score(self.extract_feat(inputs)[-1])[:, 0]
        wanted = torch.stack([sample.rank for sample in data_samples])
        return {'loss_rank': (rank - wanted).square().mean()}

    def predict(self, inputs, data_samples=None):
        return self.score(self.extract_feat(inputs)[-1])[:, 0]


class Larger(RankingModel):
    """Of the same family."""


@pytest.fixture(autouse=True)
def ranking(monkeypatch):
    """The family, registered for a test."""
    monkeypatch.setattr(tasks.task, 'TASKS', [*tasks.TASKS])
    monkeypatch.setattr('lfi.models.students.student.TASKS', tasks.task.TASKS)
    for kind in (RankingModel, Larger):
        monkeypatch.setitem(MODELS.module_dict, kind.__name__, kind)

    class Ranking(Task):
        """Ranks stand for the first concepts."""

        package, base = __name__.partition('.')[0], 'RankingModel'
        provides = frozenset({'vector'})

        def labels(self, data_samples, num_concepts, num_classes, device):
            found = torch.zeros(len(data_samples), num_concepts, device=device)
            for row, sample in enumerate(data_samples):
                found[row, int(sample.rank)] = 1
            return found

        def loss(self, student, task_loss, batch, data_samples, wants_features):
            losses = labelled_loss(student, task_loss, batch, data_samples, lambda sample: sample)
            features = student.extract_feat(batch.inputs) if wants_features else None
            return losses, features

    return Ranking


def samples(hidden=()):
    found = []
    for row in range(3):
        info = dict(img_shape=(32, 32), img_path=f'{row}.jpg', unlabelled=row in hidden)
        found.append(BaseDataElement(metainfo=info, rank=torch.tensor(float(row))))
    return found


def inputs():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def make(teacher_folder):
    def build(task='lfi.RankingModel', **arguments):
        torch.manual_seed(0)
        teacher = dict(
            type='lfi.VLMAttentionTeacher', model=teacher_folder('vit'), extractor='maskclip', concepts=NAMES
        )
        config = dict(
            type='lfi.Student',
            task=task,
            backbone=BACKBONE,
            data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', to_rgb=True, **NORMALISE),
            teacher=teacher,
            supervision=parts('interactions', 'prior'),
        )
        return MODELS.build({**config, **arguments}).train()

    return build


@pytest.mark.parametrize(('task', 'kind'), [('lfi.RankingModel', RankingModel), ('lfi.Larger', Larger)])
def test_its_models_learn_from_interactions_beside_their_task(make, unlearnt, task, kind):
    model = make(task)
    assert isinstance(model, kind) and isinstance(model, Student)
    assert type(model).__name__ == f'Student{kind.__name__}'
    losses = model(inputs(), samples(), mode='loss')
    assert losses.keys() == {'loss_rank'} | TERMS['interactions'] | TERMS['prior']
    model.parse_losses(losses)[0].backward()
    assert not unlearnt(model)
    assert model.predict(inputs(), samples()).shape == (3,)
    assert model.ask(inputs(), model.teacher.text_embeddings).check()


def test_it_says_what_is_an_images_label(make, ranking):
    model = make()
    assert type(model.family) is ranking is task_of(Larger)
    labels = model.concept_labels(samples(hidden=(1,)), torch.device('cpu'))
    assert labels.nonzero().tolist() == [[0, 0], [2, 2]]
    config = dict(type='lfi.Student', task='lfi.Larger')
    assert family_of(config) is ranking and reads_labels(config)


def test_its_task_learns_from_labelled_images_alone(make):
    model = make(supervision=None)
    found = [model(inputs(), samples(hidden=(1,)), mode='loss')['loss_rank']]
    others = samples(hidden=(1,))
    others[1].rank = torch.tensor(5.0)
    found.append(model(inputs(), others, mode='loss')['loss_rank'])
    alone = [samples()[row] for row in (0, 2)]
    found.append(model(inputs()[[0, 2]], alone, mode='loss')['loss_rank'])
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
    none = model(inputs(), samples(hidden=(0, 1, 2)), mode='loss')['loss_rank']
    assert none == 0 and none.requires_grad


@pytest.mark.parametrize('part', [name for name in PARTS if name != 'logit_kd'])
def test_parts_read_what_it_provides(make, part):
    losses = make(supervision=parts(part))(inputs(), samples(hidden=(2,)), mode='loss')
    assert losses.keys() == {'loss_rank'} | TERMS[part]


def test_a_part_that_reads_what_it_does_not_provide_is_refused(make):
    with pytest.raises(ValueError, match="logit_kd.type=LogitKD reads the image's scores, which the task"):
        make(supervision=parts('logit_kd'))


def test_without_its_family_the_model_is_no_task(monkeypatch, make):
    monkeypatch.setattr(tasks.task, 'TASKS', tasks.task.TASKS[:-1])
    with pytest.raises(ValueError, match="task='lfi.RankingModel' is of no known family of tasks"):
        make()
