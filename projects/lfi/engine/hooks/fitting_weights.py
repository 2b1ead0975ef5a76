"""A checkpoint against the model that it is loaded into."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from lfi.errors import UsageError
from lfi.registry import HOOKS
from lfi.utils.modules import state_dict_of, unwrapped

# What a student has for training, and for answers, and no prediction of a head reads.
NOT_PREDICTING = ('readout.', 'supervision.', 'control.')
CONTRAST_TEXTS = 'readout.contrast_texts'
NO_CONTRAST_TEXTS = (
    f'it has no {CONTRAST_TEXTS}, and a student with readout.contrast_weight above 0 answers by them. It was '
    'trained without them: set model.readout.contrast_weight=0'
)


@HOOKS.register_module()
class FittingWeightsHook(Hook):
    """Refuses a checkpoint that lacks parameters of the model, or has them in another shape.

    MMEngine warns, and leaves these parameters random. `tools/test.py` adds this hook. The read-out is needed
    where the model predicts by texts (`lfi.ByTexts`), or where another hook asks what the read-out answers
    (`asks_student`). Sharded models (FSDP) are not checked.

    Raises:
        UsageError: when it is loaded, if it does not fit.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint's names and shapes with the model's."""
        if hasattr(runner, 'strategy'):
            return
        asked = any(getattr(hook, 'asks_student', False) for hook in runner.hooks)
        check_weights(unwrapped(runner.model), checkpoint, asked)


def check_weights(model: nn.Module, checkpoint: dict, asked: bool) -> None:
    """Check that a checkpoint has what a model needs, in its shapes.

    Args:
        model: The model.
        checkpoint: As it is stored, or its state dict alone.
        asked: Whether the model will be asked about concepts. What answers, and is no read-out, needs none.

    Raises:
        UsageError: If it does not fit.
    """
    shapes = {name: tuple(value.shape) for name, value in state_dict_of(checkpoint).items()}
    own = model.state_dict()
    predict_by = getattr(model, 'predict_by', None)
    answers = asked and getattr(predict_by, 'answers_by_readout', False)
    reads_out = answers or getattr(predict_by, 'reads_readout', False)
    missing, other = [], []
    for name, value in own.items():
        needed = needed_to_predict(name, model) or (reads_out and name.startswith('readout.'))
        # Only answers over locations read it.
        needed = needed and (answers or name != CONTRAST_TEXTS)
        if name not in shapes and needed:
            missing.append(name)
        elif shapes.get(name, value.shape) != tuple(value.shape):
            other.append(f'{name} {shapes[name]}, which must be {tuple(value.shape)}')
    problems = [
        f'{len(found)} {what}, such as {found[0]}'
        for found, what in ((missing, 'parameters are missing'), (other, 'have another shape'))
        if found
    ]
    if missing == [CONTRAST_TEXTS] and not other:
        raise UsageError(f'the checkpoint does not fit the config: {NO_CONTRAST_TEXTS}')
    if problems:
        read_out = any(name.startswith('readout.') for name in missing)
        advice = ', or a checkpoint with the read-out, which answers texts: baselines and exports have none'
        raise UsageError(
            f'the checkpoint does not fit the config: {"; ".join(problems)}. Give the config that it was '
            f'trained with{advice if read_out else ""}'
        )


def needed_to_predict(name: str, model: nn.Module) -> bool:
    """Whether predictions need a parameter that a checkpoint lacks.

    An untrained gate is 0, so that the patches read no queries.

    Args:
        name: The parameter's name in the model.
        model: A model with a backbone, whose predictions are not by texts.
    """
    if name.startswith(NOT_PREDICTING):
        return False
    return not name.endswith(('.interaction_queries', '.query_gate'))
