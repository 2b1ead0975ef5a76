from types import SimpleNamespace

import pytest
import torch
from lfi.engine import FittingWeightsHook
from lfi.errors import UsageError
from lfi.models import ByClassActivation, ByHead, ByTexts
from lfi.registry import HOOKS
from torch import nn


class Student(nn.Module):
    def __init__(self, width=4, predict_by=None):
        super().__init__()
        self.predict_by = predict_by or ByHead()
        self.backbone = nn.Linear(3, width)
        self.backbone.write_back = 'gated'
        self.backbone.query_gate = nn.Parameter(torch.zeros(()))
        self.readout = nn.Linear(width, 2)


def load(checkpoint, model=None, hooks=()):
    runner = SimpleNamespace(model=model or Student(), hooks=hooks)
    FittingWeightsHook().after_load_checkpoint(runner, checkpoint)


def test_what_fits_is_loaded():
    state = Student().state_dict()
    load(dict(state_dict={f'module.{name}': value for name, value in state.items()}))
    load({name: value for name, value in state.items() if not name.startswith('readout')})
    # A gate that was not trained is 0.
    load({name: value for name, value in state.items() if name != 'backbone.query_gate'})
    wrapped = nn.DataParallel(Student())
    load(dict(state_dict=state, meta={}), wrapped)


def test_what_does_not_fit_is_refused():
    state = Student().state_dict()
    with pytest.raises(UsageError, match=r'1 parameters are missing, such as backbone\.bias'):
        load({name: value for name, value in state.items() if name != 'backbone.bias'})
    with pytest.raises(UsageError, match=r'2 have another shape, such as backbone\.weight \(8, 3\)'):
        load({k: v for k, v in Student(8).state_dict().items() if not k.startswith('readout')})


def test_a_model_that_predicts_by_text_needs_its_read_out():
    model = Student()
    baseline = {name: value for name, value in model.state_dict().items() if not name.startswith('readout')}
    load(baseline, model)
    model.predict_by = ByTexts()
    load(model.state_dict(), model)
    with pytest.raises(UsageError, match=r'2 parameters are missing, such as readout\.weight'):
        load(baseline, model)


ASKING = [
    HOOKS.build(dict(type='lfi.InteractionMapsHook')),
    HOOKS.build(dict(type='lfi.InteractionVisualizationHook', test_out_dir='pictures')),
]


@pytest.mark.parametrize('hook', ASKING, ids=['maps', 'pictures'])
def test_a_model_that_is_asked_needs_its_read_out(hook):
    model = Student(predict_by=ByClassActivation())
    model.readout.register_buffer('text_centre', torch.zeros(3))
    whole = model.state_dict()
    baseline = {name: value for name, value in whole.items() if not name.startswith('readout')}
    # Nothing of the read-out answers for it.
    load(baseline, model, [hook])
    model.predict_by = ByHead()
    load(baseline, model, [HOOKS.build(dict(type='lfi.InteractionVisualizationHook'))])
    load(whole, model, [hook])
    with pytest.raises(
        UsageError, match=r'3 parameters are missing, such as readout\..* or a checkpoint with'
    ):
        load(baseline, model, [hook])
    del whole['readout.text_centre']
    with pytest.raises(UsageError, match=r'1 parameters are missing, such as readout\.text_centre\.'):
        load(whole, model, [hook])


@pytest.mark.parametrize('hook', ASKING, ids=['maps', 'pictures'])
def test_only_answers_over_locations_need_the_rivals(hook):
    model = Student(predict_by=ByTexts())
    model.readout.register_buffer('contrast_texts', torch.zeros(3))
    without = {name: value for name, value in model.state_dict().items() if name != 'readout.contrast_texts'}
    load(without, model)
    with pytest.raises(UsageError, match=r'has no readout\.contrast_texts.*: set .*contrast_weight=0$'):
        load(without, model, [hook])
