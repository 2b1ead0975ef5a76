"""Check of a checkpoint against the model that loads it."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from lfi.errors import UsageError
from lfi.registry import HOOKS
from lfi.utils.modules import state_dict_of, unwrap_model

# Parts of a student for training and for answers, which the predictions of a head do not need.
NOT_PREDICTING = ('readout.', 'supervision.', 'control.')
CONTRAST_TEXTS = 'readout.contrast_texts'
NO_CONTRAST_TEXTS = (
    f'it has no {CONTRAST_TEXTS}, and a student with readout.contrast_weight above 0 answers by them. It was '
    'trained without them: set model.readout.contrast_weight=0'
)


@HOOKS.register_module()
class FittingWeightsHook(Hook):
    """Hook that refuses a checkpoint with missing parameters or parameters of another shape.

    MMEngine warns and leaves these parameters random. `tools/test.py` adds this hook. The read-out is
    required if the model predicts by texts (`lfi.ByTexts`) or another hook asks the student
    (`asks_student`). Sharded models (FSDP) are not checked.

    Raises:
        UsageError: if a loaded checkpoint does not fit the model.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare names and shapes of the checkpoint with those of the model."""
        if hasattr(runner, 'strategy'):
            return
        needs_readout = any(getattr(hook, 'asks_student', False) for hook in runner.hooks)
        check_weights(unwrap_model(runner.model), checkpoint, needs_readout)


def check_weights(model: nn.Module, checkpoint: dict, needs_readout: bool) -> None:
    """Check that a checkpoint has the parameters that a model needs, in the right shapes.

    Args:
        model: Model that loads the checkpoint.
        checkpoint: Checkpoint or bare state dict.
        needs_readout: whether the model will be asked about concepts, which needs the read-out.

    Raises:
        UsageError: If parameters are missing or have another shape.
    """
    shapes = {name: tuple(value.shape) for name, value in state_dict_of(checkpoint).items()}
    predict_by = getattr(model, 'predict_by', None)
    answers = needs_readout and getattr(predict_by, 'answers_by_readout', False)
    reads_out = answers or getattr(predict_by, 'needs_readout', False)
    missing, mismatched = [], []
    for name, value in model.state_dict().items():
        needed = needed_to_predict(name) or (reads_out and name.startswith('readout.'))
        # Only answers over locations read the contrast texts.
        needed = needed and (answers or name != CONTRAST_TEXTS)
        if name not in shapes and needed:
            missing.append(name)
        elif shapes.get(name, value.shape) != tuple(value.shape):
            mismatched.append(f'{name} {shapes[name]}, which must be {tuple(value.shape)}')
    problems = [
        f'{len(names)} {problem}, such as {names[0]}'
        for names, problem in ((missing, 'parameters are missing'), (mismatched, 'have another shape'))
        if names
    ]
    if missing == [CONTRAST_TEXTS] and not mismatched:
        raise UsageError(f'the checkpoint does not fit the config: {NO_CONTRAST_TEXTS}')
    if problems:
        read_out = any(name.startswith('readout.') for name in missing)
        advice = ', or a checkpoint with the read-out for texts: baselines and exports have none'
        raise UsageError(
            f'the checkpoint does not fit the config: {"; ".join(problems)}. Give the config that it was '
            f'trained with{advice if read_out else ""}'
        )


def needed_to_predict(name: str) -> bool:
    """Whether the predictions of a model that does not predict by texts need a parameter.

    Queries are not needed, because an untrained gate is 0 and the patches then read no queries.

    Args:
        name: Name of the parameter in the model.
    """
    if name.startswith(NOT_PREDICTING):
        return False
    return not name.endswith(('.interaction_queries', '.query_gate'))
