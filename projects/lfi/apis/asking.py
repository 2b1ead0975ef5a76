"""Questions to a teacher, from Python."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.registry import DefaultScope

from .image_answers import ImageAnswer, ImageAnswers
from .image_inputs import Images, image_inputs
from .python_messages import python_messages
from .teacher_answers import build_reader, teacher_results


@python_messages
def ask(
    images: Images,
    texts: str | Sequence[str],
    teacher: str = 'clip-b16',
    *,
    templates: Sequence[str] | None = None,
    input_size: int | None = None,
    device: str | None = None,
) -> ImageAnswer | ImageAnswers:
    """Ask a teacher whether images show texts, and where, as `lfi ask` does; nothing is trained.

    The teacher's weights are downloaded on first use.

    Args:
        images: path or address of an image, an array (H, W, 3) uint8 in RGB order, or a PIL image; or a list
            of these, a folder, or a video.
        texts: texts to ask about.
        teacher: name of a teacher in LFI's configs, such as 'lit-lite0'; MODEL:TAG of `lfi teachers`; or a
            folder with a model of open_clip. Defaults to 'clip-b16'.
        templates: prompts with {} for the text. Defaults to None: the teacher's own.
        input_size: side in pixels that images are resized to; larger is finer and slower. Defaults to None:
            the teacher's own.
        device: device of the teacher. Defaults to None: a GPU if there is one.

    Returns:
        An `ImageAnswer` for one image, else a list of them.

    Raises:
        UsageError: if an image cannot be read, or the teacher is not found or cannot be built.

    Example:
        >>> lfi.ask('photo.jpg', ['dog', 'grass']).show()
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    inputs = image_inputs(images)
    skipped: list[str] = []
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        reader = build_reader(teacher, texts, templates, input_size, device)
        results = teacher_results(reader, inputs.sources, 1, skipped)
        answers = ImageAnswers(ImageAnswer(result) for result in results)
    inputs.check_read(skipped)
    return answers[0] if inputs.single else answers
