"""Fallback fonts for texts with Chinese, Japanese or Korean characters."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text
from mmengine.logging import print_log

# Prefixes of font names with Chinese, Japanese or Korean glyphs, the widest coverage first.
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
    """Add a fallback font to each text of a figure that its font cannot draw, such as a Chinese text.

    If no installed font has the glyphs, log a warning once in a process.

    Args:
        figure: figure with all texts, not drawn yet.
    """
    for text in figure.findobj(Text):
        missing = _missing_glyphs(text.get_text(), text.get_fontfamily())
        if not missing:
            continue
        best = sorted(_installed_fonts(), key=lambda name: len(_missing_glyphs(missing, [name])))[:1]
        text.set_fontfamily([*text.get_fontfamily(), *best])
        if _missing_glyphs(missing, best):
            _warn(text.get_text())


def _missing_glyphs(characters: Iterable[str], families: Sequence[str]) -> set[str]:
    """Return the printable characters that no font of the families has."""
    missing = {character for character in characters if character.isprintable()}
    for family in families:
        font = get_font(findfont(FontProperties(family=[family])))
        missing = {character for character in missing if not font.get_char_index(ord(character))}
    return missing


@cache
def _installed_fonts() -> tuple[str, ...]:
    """Return the names of the installed fonts of `CJK`, in the order of `CJK`."""
    names = sorted({font.name for font in fontManager.ttflist})
    return tuple(name for prefix in CJK for name in names if name.startswith(prefix))


# Text of the warning, once logged.
_warned: list[str] = []


def _warn(text: str) -> None:
    if _warned:
        return
    _warned.append(text)
    # matplotlib warns about each missing glyph.
    warnings.filterwarnings('ignore', 'Glyph .+ missing from font', UserWarning)
    print_log(
        f'{text!r} is drawn with empty boxes: no installed font has its characters. For Chinese, Japanese or '
        'Korean install a font such as Noto Sans CJK (Debian and Ubuntu: apt install fonts-noto-cjk)',
        'current',
        logging.WARNING,
    )
