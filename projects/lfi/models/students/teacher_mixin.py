"""What every model does that learns from a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from lfi.models.batches.mixtures import recorded_mixture
from lfi.models.batches.raw_images import check_images
from lfi.models.batches.samples import (
    pixel_format,
    recorded_pieces,
    recorded_views,
    stored_maps,
    valid_sizes_of,
)
from lfi.models.teachers import CachedOutputs, CachedTeacher, PixelFormat, TeacherBatch, VLMAttentionTeacher
from lfi.registry import TEACHERS
from lfi.structures import InteractionMaps

from .student import StudentMixin


class TeacherMixin(StudentMixin):
    """Builds the teacher when training begins, or opens its cache.

    Args:
        *args: of `StudentMixin`.
        teacher: config of the `VLMAttentionTeacher`.
        teacher_cache: folder of what `lfi cache` wrote for the config, or None.
        **kwargs: of `StudentMixin`.

    Raises:
        TypeError: as of `StudentMixin`.
        ValueError: as of `check_images`.
    """

    training_only: ClassVar[tuple[str, ...]] = ('teacher', 'teacher_cache')

    cached_kind: type[CachedOutputs] = CachedTeacher
    """What stands in for the teacher where there is a cache."""

    _teacher: VLMAttentionTeacher | CachedOutputs | None = None
    _pixels: tuple[nn.Module, PixelFormat] | None = None

    def __init__(self, *args: Any, teacher: dict, teacher_cache: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_images(self.data_preprocessor, teacher_cache)
        self.teacher_cfg = teacher
        self._teacher_cache = teacher_cache

    @property
    def teacher(self) -> VLMAttentionTeacher | CachedOutputs:
        """The teacher; building it loads its weights and embeds the concepts, or opens the cache."""
        if self._teacher is None:
            if self._teacher_cache is None:
                teacher = TEACHERS.build(self.teacher_cfg)
            else:
                teacher = self.cached_kind(self._teacher_cache, self.teacher_cfg)
            self.check_teacher(teacher)
            self._teacher = teacher
        return self._teacher

    @property
    def online_teacher(self) -> VLMAttentionTeacher:
        """The teacher itself.

        Raises:
            TypeError: if the model reads a cache.
        """
        if not isinstance(self.teacher, VLMAttentionTeacher):
            raise TypeError(
                f'teacher_cache={self._teacher_cache!r} stands in for the teacher: set it to None'
            )
        return self.teacher

    def check_teacher(self, teacher: VLMAttentionTeacher | CachedOutputs) -> None:
        """Check that the teacher fits the model."""

    @property
    def pixels(self) -> PixelFormat:
        """How the data preprocessor makes its pixels; read once, for that waits for the device."""
        if self._pixels is None or self._pixels[0] is not self.data_preprocessor:
            # In a tuple, lest the preprocessor be registered twice.
            self._pixels = self.data_preprocessor, pixel_format(self.data_preprocessor)
        return self._pixels[1]

    def teacher_batch(
        self, inputs: Tensor, data_samples: Sequence, labels: Tensor | None = None
    ) -> TeacherBatch:
        """A batch as the teacher is shown it.

        Args:
            inputs: (B, 3, H, W), preprocessed.
            data_samples: of the images.
            labels: (B, C), among the concepts. Defaults to None: none is asked about.
        """
        return TeacherBatch(
            inputs,
            self.pixels,
            valid_sizes_of(inputs, data_samples),
            labels,
            stored_maps(data_samples),
            recorded_views(data_samples),
            recorded_pieces(data_samples),
            recorded_mixture(data_samples),
        )

    def maps_to_cache(self, batch: TeacherBatch, data_samples: Sequence) -> InteractionMaps:
        """What a cache keeps of unaugmented images.

        Args:
            batch: the images.
            data_samples: of the images.
        """
        raise NotImplementedError

    def cache_identity(self) -> dict:
        """What a cache for this model must be of."""
        return self.cached_kind.identity(self.teacher_cfg)

    def init_weights(self) -> None:
        """As the model's own; builds the teacher, or opens its cache."""
        super().init_weights()
        # The Runner calls this before training only: a missing teacher is known before the first step.
        _ = self.teacher, self.pixels
