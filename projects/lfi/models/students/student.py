"""The parts of every student, whatever it learns from, and its class before any task's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from mmengine.model import BaseModel
from torch import Tensor

from lfi.models.backbones import InteractionQueryViT, InteractionStates
from lfi.models.batches.raw_images import correct_image_sizes
from lfi.models.batches.samples import valid_sizes_of
from lfi.models.losses import AffinityPrior
from lfi.registry import MODELS, build_part
from lfi.utils.modules import mixed_class

if TYPE_CHECKING:

    class _TaskModel(BaseModel):
        """Of what a mixin stands before."""

        backbone: Any

        def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]: ...

        def predict(self, inputs: Tensor, data_samples: Sequence | None, **kwargs: Any) -> Sequence: ...

else:
    _TaskModel = object


class PaddedPredictMixin(_TaskModel):
    """Keeps the queries from reading padding at test time, as in training.

    It comes before the model of the task among the bases of a class. In mmseg's windows
    (`test_cfg.mode='slide'`) learned queries read it all the same: nothing says where a window lies.
    """

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None, **kwargs: Any) -> Sequence:
        """The task's predictions."""
        if data_samples is None:
            return super().predict(inputs, data_samples, **kwargs)
        with self.backbone.padded(valid_sizes_of(inputs, data_samples)):
            return super().predict(inputs, data_samples, **kwargs)


class StudentMixin(PaddedPredictMixin):
    """Adds to the task's losses the one that needs no teacher; put it before the task model among the bases.

    Every arm of a comparison has it, the task loss alone too, so that arms differ by what they learn from.

    Args:
        *args: the task model's own.
        affinity_prior: arguments of the `AffinityPrior` on the backbone's last supervised block. Defaults to
            None: no prior.
        **kwargs: the task model's own.

    Raises:
        TypeError: if the backbone records no interactions.
    """

    asks = False
    """Whether the student is asked about concepts in training."""

    training_only: ClassVar[tuple[str, ...]] = ('affinity_prior',)
    """Arguments and parts that this class adds for training alone; `training_only_of` has its bases' too."""

    def __init__(self, *args: Any, affinity_prior: Mapping | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        require_interactions(self)
        correct_image_sizes(self.data_preprocessor)
        freeze_unread_queries(self.backbone)
        if not self.asks:
            freeze_unasked(self.backbone)
            learn_locations(self.backbone, affinity_prior is not None)
        self.affinity_prior: AffinityPrior | None = None
        if affinity_prior is not None:
            self.affinity_prior = build_part('affinity_prior', affinity_prior, type='lfi.AffinityPrior')

    def loss(self, inputs: Tensor, data_samples: Sequence, **kwargs: Any) -> dict[str, Tensor]:
        """The task's losses, joined by the prior's.

        A recording around the call shares its forward pass.
        """
        valid_sizes = valid_sizes_of(inputs, data_samples)
        with self.backbone.record_interactions(valid_sizes=valid_sizes) as record:
            losses = super().loss(inputs, data_samples, **kwargs)
        return {**losses, **self.prior_losses(record.states)}

    def prior_losses(self, states: InteractionStates) -> dict[str, Tensor]:
        """The prior's losses for a recorded forward pass; empty without a prior."""
        if self.affinity_prior is None:
            return {}
        valid = None if states.valid is None else states.valid.unflatten(1, states.grid)
        return self.affinity_prior(states.locations(), valid)


def require_interactions(model: torch.nn.Module) -> None:
    """Raise a TypeError if a model's backbone records no interactions."""
    if not hasattr(model.backbone, 'record_interactions'):
        raise TypeError(
            f'{type(model).__name__} needs an lfi.InteractionQueryViT as backbone, or another one in an '
            f'lfi.InteractionQueryAdapter; got {type(model.backbone).__name__}'
        )


def freeze_unread_queries(backbone: InteractionQueryViT) -> None:
    """Freeze the learned queries where no patches read them.

    They would get no gradient, at which DDP stops.
    """
    # One's own backbone need not have this kind.
    queries = getattr(backbone, 'interaction_queries', None)
    if queries is not None and backbone.write_back == 'none':
        queries.requires_grad_(False)


def freeze_unlearnt(backbone: torch.nn.Module, positions: bool, presence: bool) -> None:
    """Freeze what of an `InteractionQueryAdapter` serves terms alone that are not learnt.

    It would get no gradient, at which DDP stops.

    Args:
        backbone: of a student that is asked.
        positions: whether the queries' attention is learnt.
        presence: whether presence is, for which the queries' final state counts.
    """
    added = getattr(backbone, 'interaction', None)
    if added is None or added.queries is not None or presence:
        return
    if positions:
        # Of what the last layer does the attention alone counts.
        added.layers[-1].attn.proj.requires_grad_(False)
    else:
        freeze_unasked(backbone)


def freeze_unasked(backbone: torch.nn.Module) -> None:
    """Freeze what asked queries alone need of an `InteractionQueryAdapter`, for a student that is not asked.

    Its layers have it for themselves; a ViT's blocks share it with the patches. It would get no gradient, at
    which DDP stops.
    """
    added = getattr(backbone, 'interaction', None)
    if added is not None and added.queries is None:
        for layer in added.layers:
            layer.ln1.requires_grad_(False)
            layer.attn.requires_grad_(False)


def learn_locations(backbone: torch.nn.Module, wanted: bool) -> None:
    """Learn how an `InteractionQueryAdapter` brings maps to locations, or freeze that.

    Where nothing reads the locations it would get no gradient, at which DDP stops.

    Args:
        backbone: of a student.
        wanted: whether a loss reads the locations.
    """
    added = getattr(backbone, 'interaction', None)
    if added is not None and added.queries is None:
        for layer in added.layers:
            layer.project_map.requires_grad_(wanted)


def with_mixin(prefix: str, mixin: type, task: str) -> type[BaseModel]:
    """A task model's class with a mixin before it.

    Args:
        prefix: how the new class's name begins.
        mixin: what comes before the task model among the bases.
        task: the registered type of the task's model, with its scope, as 'mmdet.MaskRCNN'.

    Raises:
        ValueError: if the type is not registered, or has the mixin already.
    """
    kind = MODELS.get(task)
    if not isinstance(kind, type):
        raise ValueError(f'task={task!r} is not a registered model; give its scope too, as in mmdet.MaskRCNN')
    if issubclass(kind, mixin):
        raise ValueError(f'task={task!r} has a {mixin.__name__} already: set type={task!r} in its place')
    found: type[BaseModel] = mixed_class(prefix, mixin, kind)
    return found


class AnyTask:
    """A class that builds any task model with a mixin before it, by the config's `task`.

    It stands before the mixin. The model that is built is none of the class that is called, which says to the
    tools what all of them can do.
    """

    prefix: ClassVar[str]
    """How the new class's name begins."""
    mixin: ClassVar[type]
    """The mixin before the task's model."""

    def __new__(cls, task: str, **arguments: Any) -> Any:
        """Build the model; errors as `with_mixin`, and the model's own."""
        return with_mixin(cls.prefix, cls.mixin, task)(**arguments)
