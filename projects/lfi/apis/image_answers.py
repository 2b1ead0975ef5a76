"""Answers about images for Python: arrays, a short text, and a picture."""

from __future__ import annotations

import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageShow

from lfi.concepts.names import class_name
from lfi.visualization.figures import MIN_SCORE

from .drawing import draw_result, strongest_texts
from .interaction_result import InteractionResult, result_record

DRAWN_TEXTS = 9
"""Largest number of maps in a picture: two rows, with the image."""
DRAWN_IMAGES = 20
"""Largest number of images in the picture of a list."""
PRINTED = 5
"""Largest number of texts, classes and images that a repr names."""


class Drawable(ABC):
    """Result that draws itself, in a notebook too."""

    @abstractmethod
    def draw(self) -> Image.Image:
        """Draw the result as an RGB image."""

    def show(self) -> None:
        """Show the picture in the notebook; else write and print a file, and open it if there is a screen."""
        ipython = sys.modules.get('IPython')
        if ipython is not None and ipython.get_ipython() is not None:
            sys.modules['IPython.display'].display(self)
            return
        picture = self.draw()
        with tempfile.NamedTemporaryFile(prefix='lfi_', suffix='.png', delete=False) as file:
            picture.save(file, format='PNG')
        print(f'{self!r}\n{file.name}')
        if (
            not sys.platform.startswith('linux')
            or os.environ.get('DISPLAY')
            or os.environ.get('WAYLAND_DISPLAY')
        ):
            ImageShow.show(picture)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.draw().save(buffer, format='PNG')
        return buffer.getvalue()


class ImageAnswer(Drawable):
    """Answer about an image: presence and maps of T texts, and the prediction of the task.

    Args:
        result: result of a student or a teacher.
        classes: class names of the task, by label. Defaults to none.
    """

    def __init__(self, result: InteractionResult, classes: Sequence[str] = ()) -> None:
        self.result, self.classes = result, tuple(classes)

    @property
    def name(self) -> str:
        """Path of the file, or `images[i]` for an image in memory."""
        return self.result.name

    @property
    def frame(self) -> int | None:
        """Number of the frame of a video, from 0; None for an image."""
        return self.result.frame

    @property
    def image(self) -> np.ndarray:
        """Image, (H, W, 3) uint8 RGB."""
        return np.ascontiguousarray(self.result.image[..., ::-1])

    @property
    def texts(self) -> tuple[str, ...]:
        """The T texts."""
        return self.result.texts

    @property
    def presence(self) -> np.ndarray:
        """Presence of each text, (T,) float32 in [0, 1]."""
        return self.result.presence.numpy()

    @property
    def maps(self) -> np.ndarray:
        """Maps of the texts on the model's grid, (T, h, w) float32: each sums to 1 over the locations."""
        return self.result.maps.numpy()

    def maps_on_image(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """Resize the maps bilinearly to the image.

        Args:
            size: height and width of the result in pixels. Defaults to None: the image's own.

        Returns:
            (T, H, W) float32; NaN where the model did not see the image.
        """
        return self.result.maps_on_image(size).numpy()

    @property
    def labels(self) -> np.ndarray | None:
        """Predicted labels; None without a prediction.

        (C,) of a classifier: all classes, the best first. (N,) of a detector: its objects. (H, W) of a
        segmentor.
        """
        prediction = self.result.prediction
        if 'pred_score' in prediction:
            return self._order
        if 'pred_instances' in prediction:
            return prediction.pred_instances.labels.numpy()
        return prediction.pred_sem_seg.data[0].numpy() if 'pred_sem_seg' in prediction else None

    @property
    def scores(self) -> np.ndarray | None:
        """Scores in [0, 1] in the order of `labels`: (C,) of a classifier, (N,) of a detector; else None."""
        prediction = self.result.prediction
        if 'pred_score' in prediction:
            return prediction.pred_score.numpy()[self._order]
        return prediction.pred_instances.scores.numpy() if 'pred_instances' in prediction else None

    @property
    def boxes(self) -> np.ndarray | None:
        """Boxes of a detector, (N, 4) float32 as x1, y1, x2, y2 in pixels of the image; else None."""
        prediction = self.result.prediction
        return prediction.pred_instances.bboxes.numpy() if 'pred_instances' in prediction else None

    @property
    def masks(self) -> np.ndarray | None:
        """Masks of a detector's objects, (N, H, W) bool; None if it predicts none."""
        instances = self.result.prediction.get('pred_instances')
        return (
            None if instances is None or 'masks' not in instances else np.asarray(instances.masks, dtype=bool)
        )

    @property
    def predicted(self) -> str | None:
        """Name of a classifier's best class; None for other models."""
        if 'pred_score' not in self.result.prediction:
            return None
        return class_name(self.classes, int(self._order[0]))

    @property
    def _order(self) -> np.ndarray:
        return self.result.prediction.pred_score.argsort(descending=True, stable=True).numpy()

    def draw(self) -> Image.Image:
        """Draw the image with its prediction, and the maps of its texts: of more than 9 the strongest."""
        texts = range(len(self.texts))
        drawn = list(texts) if len(texts) <= DRAWN_TEXTS else strongest_texts(self.result, DRAWN_TEXTS)
        return Image.fromarray(draw_result(self.result, self.classes, drawn))

    def __repr__(self) -> str:
        parts = [self.name if self.frame is None else f'{self.name}, frame {self.frame}']
        record = result_record(self.result, self.classes)
        if record.get('classes'):
            parts.append(f'predicted {record["classes"][0]["class"]} {record["classes"][0]["score"]:.0%}')
        if 'objects' in record:
            counts = Counter(found['class'] for found in record['objects'] if found['score'] >= MIN_SCORE)
            found = _listed([f'{count} {name}' for name, count in counts.most_common()])
            parts.append(f'{counts.total()} objects' + (f' ({found})' if found else ''))
        if record.get('areas'):
            parts.append(
                'areas: ' + _listed([f'{area["class"]} {area["share"]:.0%}' for area in record['areas']])
            )
        if self.texts:
            strongest = [self.texts[index] for index in strongest_texts(self.result, len(self.texts))]
            shown = self.texts if len(self.texts) <= PRINTED else strongest
            parts.append('texts: ' + _listed([f'{text} {record["texts"][text]:.0%}' for text in shown]))
        return f'ImageAnswer({"; ".join(parts)})'


class ImageAnswers(list[ImageAnswer], Drawable):
    """List of the answers about several images."""

    def draw(self) -> Image.Image:
        """Draw the answers below one another, at most 20."""
        pictures = [answer.draw() for answer in self[:DRAWN_IMAGES]]
        width = max((picture.width for picture in pictures), default=1)
        sheet = Image.new('RGB', (width, max(1, sum(picture.height for picture in pictures))), 'white')
        top = 0
        for picture in pictures:
            sheet.paste(picture, (0, top))
            top += picture.height
        return sheet

    def __repr__(self) -> str:
        lines = [f'ImageAnswers, {len(self)} images', *(f'  {answer!r}' for answer in self[:PRINTED])]
        return '\n'.join([*lines, *(['  …'] if len(self) > PRINTED else [])])


def _listed(items: Sequence[str]) -> str:
    return ', '.join(items[:PRINTED]) + (', …' if len(items) > PRINTED else '')
