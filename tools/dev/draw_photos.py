"""Draw what a teacher says of three photos, for the README.

LFI_TEACHER_ROOT=... python tools/dev/draw_photos.py docs/images/photos.png

The photos ship with scikit-image: a cat and a coffee cup (CC0, by Stefan van der Walt and Rachel Michetti),
and a rocket (SpaceX, public domain).
"""

from __future__ import annotations

import sys

import lfi
from skimage import data

QUESTIONS = {
    'chelsea': ['a cat', 'a dog', 'grass'],
    'coffee': ['a cup', 'a spoon', 'a horse'],
    'rocket': ['a rocket', 'a tower', 'a boat'],
}


def main() -> None:
    """Ask the teacher, and write the picture."""
    from lfi.apis.image_answers import ImageAnswers

    answers = (
        lfi.ask(getattr(data, name)(), texts, teacher='lit-lite0', input_size=320)
        for name, texts in QUESTIONS.items()
    )
    picture = ImageAnswers(answers).draw()
    picture.resize((picture.width // 2, picture.height // 2)).save(sys.argv[1], optimize=True)


if __name__ == '__main__':
    main()
