"""Fonts that have the glyphs of a figure's texts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text
from mmengine.logging import print_log

# How the names of fonts begin that have Chinese, Japanese or Korean glyphs, the widest first.
CJK = (
    'Noto Sans CJK',
    'Source Han Sans',
    'WenQuanYi',
    'Arial Unicode MS',
    'Droid Sans Fallback',
    'PingFang',
    'Hiragino',
    'Heiti',
    'Apple SD Gothic',
    'Microsoft YaHei',
    'Microsoft JhengHei',
    'SimHei',
    'SimSun',
    'Yu Gothic',
    'Meiryo',
    'MS Gothic',
    'IPA',
    'Malgun Gothic',
    'Nanum',
    'Noto Sans SC',
    'Noto Sans TC',
    'Noto Sans JP',
    'Noto Sans KR',
    'Noto Serif CJK',
    'Source Han Serif',
    'AR PL',
)


def set_fonts(figure: Figure) -> None:
    """Give texts of a figure a further font, where their own lacks glyphs, such as Chinese ones.

    Where no installed font has them, a line of the log says so, once in a process.

    Args:
        figure: with all its texts, before it is drawn.
    """
    for text in figure.findobj(Text):
        missing = _missing(text.get_text(), text.get_fontfamily())
        if not missing:
            continue
        best = sorted(_installed(), key=lambda name: len(_missing(missing, [name])))[:1]
        text.set_fontfamily([*text.get_fontfamily(), *best])
        if _missing(missing, best):
            _warn(text.get_text())


def _missing(characters: Iterable[str], families: Sequence[str]) -> set[str]:
    """Those of some characters that no font of some families has."""
    missing = {character for character in characters if character.isprintable()}
    for family in families:
        font = get_font(findfont(FontProperties(family=[family])))
        missing = {character for character in missing if not font.get_char_index(ord(character))}
    return missing


@cache
def _installed() -> tuple[str, ...]:
    """The names of the installed fonts of `CJK`, in its order."""
    names = sorted({font.name for font in fontManager.ttflist})
    return tuple(name for begin in CJK for name in names if name.startswith(begin))


# The text of the warning that was given.
_warned: list[str] = []


def _warn(text: str) -> None:
    if _warned:
        return
    _warned.append(text)
    # matplotlib would warn of each glyph.
    warnings.filterwarnings('ignore', 'Glyph .+ missing from font', UserWarning)
    print_log(
        f'{text!r} is drawn with empty boxes: no installed font has its characters. For Chinese, Japanese or '
        'Korean install one such as Noto Sans CJK (Debian and Ubuntu: apt install fonts-noto-cjk)',
        'current',
        logging.WARNING,
    )
