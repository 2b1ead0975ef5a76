"""The model itself, inside what only runs it."""

from lfi.model_wrappers import unwrapped
from mmengine.model import BaseModel, BaseTTAModel
from torch import nn


class Model(BaseModel):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


class TTA(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


def test_a_model_is_taken_out_of_what_runs_it():
    model = Model()
    assert unwrapped(model) is model
    assert unwrapped(TTA(model)) is model
    assert unwrapped(nn.DataParallel(TTA(model))) is model
