"""A config of someone else, checked before any of it is built.

OpenMMLab's registries import a type that they do not know by its path, `subprocess.Popen` as well as any
other; some of its types evaluate a text (`nms`), or read a file of pickles that a text names, in whatever
folder the process is. A list of what is forbidden has holes, so what is allowed is listed:

- types, and a student's task: `AllowedTypes`;
- arguments: none whose name is that of a file, or of what is fetched, has a text or is switched on;
- texts: names of allowed types, and the words that the config's own types know, from their signatures and
  code: the enumerations that they compare with, and no others. Names of models are asked of timm;
- numbers: none beyond what models have, so that no argument alone fills the memory.

Concepts and prompts of a teacher are free, since nothing evaluates them. A type of the user's own gets names
of any kind. What this lets through is still built within `bounded_build`, which opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from torch import nn

from lfi.utils.options import is_plain_text
from lfi.utils.repositories import HubError

from .allowed_types import AllowedTypes, is_known

ASKED = ('teacher', 'predict_by')
"""Parts that hold concepts and prompts."""
FREE = ('concepts', 'templates', 'background', 'question')
"""What of them nothing evaluates."""
TEACHER_NAMES = ('model', 'pretrained')
"""Arguments of a teacher that name what it is loaded from."""
TEACHER_ARGUMENTS = (*TEACHER_NAMES, *FREE[:-1], 'type', 'extractor', 'max_concepts', 'input_size')
"""Arguments of a teacher of LFI."""
OF_THE_USER = ('cache', 'weights_file', 'allow_random')
"""Arguments of a teacher that the user alone may say."""
INFINITY = 1e8
"""Largest number that is not whole: mmdet writes infinity so."""
MOST_HOLES = 10
"""Places of the concept in a prompt."""
MOST_TEMPLATES = 200
"""Prompts of a concept: CLIP's authors have 80."""
IDENTIFIERS = ('meta_keys', 'keys', 'algorithm_keys', 'reads')
"""Arguments that name what an image's results hold, and layers of the model."""
MOST = 2**17
"""Largest number of a model: of labels, of channels, of points."""
LARGEST_IMAGE = 2**13
"""Largest number of a pipeline, and of what a model calls a size: a side in pixels."""
MOST_VALUES = 2**17
"""Values of a config: the concepts and classes of the largest data sets."""
DEEPEST = 40
"""Dicts and lists within one another."""
LONGEST = 200
"""Characters of an argument's name, and of a value in messages."""
# Of torch and OpenCV, to which types hand on; of layers, their order and places; of `TeacherReading`.
_COMMON = """
none mean sum batchmean zeros zero ones border reflect reflection replicate circular constant edge symmetric
same valid nearest nearest-exact bilinear bicubic linear trilinear area box hamming lanczos
fan_in fan_out fan_avg normal uniform truncated_normal gaussian
sigmoid softmax tanh relu leaky_relu selu gelu gelu_new swish silu identity float16 float32 bfloat16
cv2 pillow turbojpeg tifffile color grayscale unchanged color_ignore_orientation rgb bgr
horizontal vertical diagonal
conv norm act caffe pytorch pre post pre_norm post_norm after_conv1 after_conv2 after_conv3
self_attn cross_attn ffn on_input on_lateral on_output multilabel cond_elewise LayerScale
0001 0010 0011 0100 0101 0110 0111 1000 1001 1010 1011 1100 1101 1110 1111
logits concept_softmax label image best-location
"""
COMMON_WORDS = frozenset(_COMMON.split())
"""Words that types know which are not the config's own."""
# Arguments that name files, addresses or what is fetched, whoever takes them.
_OF_FILES = re.compile(
    r'(.*_)?(paths?|files?|filenames?|filepaths?|file_names?|folders?|dirs?|directory|directories|roots?|'
    r'urls?|uris?|ckpts?|checkpoints?|caches?|vocabs?|vocabulary|vocab_\w+|tokenizers?|pkl|pickle|json|yaml|'
    r'npy|npz|lmdb|hub|repo|repo_id|revision|resume|resume_from|load_from)|'
    r'(.*_)?(pretrained|checkpoint|weights_file|backend_args|file_client_args|ann_file|hf|http)(_.*)?|'
    r'(data_)?prefix|data_root|pretraining|trust_remote_code|target|_target_|meta_file|args_file'
)
# Types may go through all places of an image, or all pairs of them.
_SIZE = re.compile(r'(.*_)?(sizes?|resolution|shape)')
# What images are made larger by.
_LARGEST = {re.compile(r'(.*_)?divisor'): 2**10, re.compile(r'(.*_)?scale_factor'): 2**5}
_NAME = re.compile(r'[\w.+-]*')
_IDENTIFIER = re.compile(r'[A-Za-z_]\w*(\.\w+)*')
# The name of a model, with its source before it: no path, and no second source within the first.
_TEACHER = re.compile(r'(mmpretrain:|transformers:(\w[\w.-]*/)?)?\w[\w.+-]*')
_TAG = re.compile(r'[\w-]*')
# What configs, pickles and weights are named.
_FILE = re.compile(r'.*\.(py|json|ya?ml|pkl|pickle|pth?|ckpt|bin|npy|npz|safetensors)', re.IGNORECASE)


class Part(NamedTuple):
    """A value in a config.

    Args:
        value: what it is.
        root: the name of the config, in messages.
        keys: names down to it, and numbers in lists.
        owner: the innermost type that it is an argument of, or None.
    """

    value: Any
    root: str
    keys: tuple[str | int, ...]
    owner: Any

    @property
    def key(self) -> str:
        """The argument's name, of a list's entry that of the list."""
        return next((key for key in reversed(self.keys) if isinstance(key, str) and key), '')

    @property
    def is_type(self) -> bool:
        """Whether it stands for a type: also the task of a student, which may be None."""
        of_student = str(self.owner).rpartition('.')[2] == 'Student' and self.value is not None
        return self.keys[-1:] == ('type',) or (self.keys[-1:] == ('task',) and of_student)

    @property
    def place(self) -> str:
        """Where it is, in messages; a config may have many values, so none keeps its own."""
        steps = (f'[{key}]' if isinstance(key, int) else f'.{key}' for key in self.keys)
        return f'{self.root}{"".join(steps)}'


def check_config(config: Any, scope: str, where: str, largest: int = MOST) -> None:
    """Check a part of a config before it is built; no code of it runs, and nothing that it names is imported.

    Args:
        config: plain data, with tuples.
        scope: the default scope.
        where: its name in messages.
        largest: number that may be in it.

    Raises:
        HubError: for a type, an argument, a text or a number that is not allowed, or a model that would bring
            its own code; the message has its place.
    """
    parts = list(islice(_parts(config, where), MOST_VALUES + 1))
    if len(parts) > MOST_VALUES:
        raise HubError(
            f'{where} has more than {MOST_VALUES:,} values, and was not read: no model has so many'
        )
    allowed = AllowedTypes(_scopes(parts, scope, where))
    words = set(COMMON_WORDS)
    for part in parts:
        if part.is_type:
            _check_type(part, allowed)
            words |= allowed.words(part.value)
    for part in parts:
        if part.keys[-1:] == (part.key,) and part.key in ASKED and part.value is not None:
            _check_asked(part.value, part.place, allowed)
        _check_argument(part)
        _check_number(part, largest)
        if isinstance(part.value, str) and not part.is_type and part.keys[-1:] != ('_scope_',):
            _check_text(part, allowed, words)


def _scopes(parts: list[Part], scope: str, where: str) -> set[str]:
    """The packages whose types a config names."""
    scopes = {scope, 'lfi', 'mmengine'}
    for part in parts:
        if part.keys[-1:] == ('_scope_',):
            scopes.add(str(part.value))
        elif part.is_type and '.' in str(part.value):
            scopes.add(str(part.value).partition('.')[0])
    for name in scopes:
        if name != 'mmengine' and not is_known(name):
            raise _refusal(
                where,
                name,
                'names a package that is not known, or not installed. If you trust it, import it before',
            )
    return scopes


def _parts(value: Any, where: str, keys: tuple[str | int, ...] = (), owner: Any = None) -> Iterator[Part]:
    if len(keys) > DEEPEST:
        raise HubError(f'{where} is nested too deep: {DEEPEST} dicts and lists within one another are read')
    yield Part(value, where, keys, owner)
    if isinstance(value, dict):
        owner = value.get('type', owner)
        for name, part in value.items():
            if len(name) > LONGEST:
                raise HubError(
                    f'{where} has an argument named {_shown(name)}: names have {LONGEST} characters at most'
                )
            yield from _parts(part, where, (*keys, name), owner)
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _parts(part, where, (*keys, i), owner)


def _check_type(part: Part, allowed: AllowedTypes) -> None:
    if part.value not in allowed:
        raise _refusal(
            part.place,
            part.value,
            'is no type of students that the registries of OpenMMLab and LFI know. If you trust it, import '
            'the module that registers it before',
        )


def _check_argument(part: Part) -> None:
    """Refuse what names a file, whoever would read it."""
    if _is_of_teacher(part) or _is_free(part):
        return
    if _OF_FILES.fullmatch(part.key) and (part.value is True or isinstance(part.value, str | dict)):
        raise _refusal(part.place, part.value, 'names a file, or what is fetched, and files are not read')


def _check_number(part: Part, largest: int) -> None:
    number = part.value
    if not isinstance(number, int | float):
        return
    of_images = 'data_preprocessor' in part.keys and part.key != 'num_classes'
    if of_images or _SIZE.fullmatch(part.key):
        largest = min(largest, LARGEST_IMAGE)
    largest = min([largest, *(most for name, most in _LARGEST.items() if name.fullmatch(part.key))])
    if isinstance(number, float) and largest > LARGEST_IMAGE:
        largest = int(INFINITY)
    # Pixels are divided by it.
    if part.key == 'std' and number <= 0 and (of_images or str(part.owner).endswith('Normalize')):
        raise _refusal(part.place, number, 'must be above 0')
    # NaN is not within either.
    if not abs(number) <= largest:
        raise _refusal(part.place, number, f'is beyond {largest:,}, the largest number that is read')


def _check_text(part: Part, allowed: AllowedTypes, words: set[str]) -> None:
    text = part.value
    if _is_free(part):
        _check_free(part)
        return
    if _is_of_teacher(part) or {text, text.lower()} & words or text in allowed:
        return
    if part.key in IDENTIFIERS and _IDENTIFIER.fullmatch(text):
        return
    if part.key == 'layer' and hasattr(nn, text):
        return
    if part.key == 'model_name' and _is_of_timm(text):
        return
    if not _NAME.fullmatch(text) or _FILE.fullmatch(text):
        raise _refusal(part.place, text, 'is not a name: files, addresses and expressions are not read')
    if not (allowed.is_own(part.owner) or _is_below_teacher(part)):
        raise _refusal(part.place, text, 'is not a word that the types of this config know')


def _is_of_timm(name: str) -> bool:
    try:
        from timm.models import is_model
    except ImportError:
        return False
    return bool(_NAME.fullmatch(name)) and is_model(name)


def _is_free(part: Part) -> bool:
    return _is_below_teacher(part) and any(key in FREE for key in part.keys)


def _is_below_teacher(part: Part) -> bool:
    return any(key in ASKED for key in part.keys)


def _is_of_teacher(part: Part) -> bool:
    """Whether it names what a teacher is loaded from, which is checked apart."""
    return part.keys[-2:-1] == ('teacher',) and part.keys[-1] in TEACHER_NAMES


def is_teacher_name(text: str) -> bool:
    """Whether a text is the name of a model, with its source before it: no path, and no file."""
    return bool(_TEACHER.fullmatch(text)) and not _FILE.fullmatch(text) and len(text) <= LONGEST


def _is_tag(text: str) -> bool:
    return bool(_TAG.fullmatch(text)) and len(text) <= LONGEST


def _check_free(part: Part) -> None:
    """Refuse a text that is longer than any that is asked about, or that would change the terminal."""
    text = part.value
    holes = text.count('{}') if 'templates' in part.keys else 0
    if not is_plain_text(text) or holes > MOST_HOLES:
        raise _refusal(
            part.place,
            text,
            f'has more than 1,000 characters, or some that cannot be printed, or {{}} more than {MOST_HOLES} '
            'times',
        )


def _check_asked(part: object, where: str, allowed: AllowedTypes) -> None:
    """Refuse a teacher that would read files of this machine, or import or build more than a model."""
    if not isinstance(part, dict):
        raise _refusal(where, part, 'must be a dict')
    concepts, templates = part.get('concepts', []), part.get('templates', [])
    if not (isinstance(concepts, list | tuple) and all(isinstance(name, str) for name in concepts)):
        raise _refusal(f'{where}.concepts', concepts, 'must be a list of names')
    if not isinstance(templates, str | list | tuple) or len(templates) > MOST_TEMPLATES:
        raise _refusal(
            f'{where}.templates', templates, f'must be the name of an ensemble, or {MOST_TEMPLATES} at most'
        )
    for name in TEACHER_NAMES:
        value = part.get(name)
        if value is None:
            continue
        is_name = is_teacher_name if name == 'model' else _is_tag
        if not (isinstance(value, str) and is_name(value)):
            raise _refusal(f'{where}.{name}', value, 'names a file, and files are not read')
    own = allowed.is_own(part.get('type'))
    for name in sorted(part.keys() - {*TEACHER_ARGUMENTS}):
        if part[name] not in (None, False) and (name in OF_THE_USER or not own):
            raise _refusal(f'{where}.{name}', part[name], "is no argument of a student's teacher")


def _refusal(where: str, value: object, why: str) -> HubError:
    return HubError(f'{where}={_shown(value)} was refused, and nothing of it was run: it {why}')


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= LONGEST else f'{shown[:LONGEST]}...'
