"""Check of an untrusted config before it is built.

OpenMMLab's registries import unknown types by their path, such as `subprocess.Popen`. Some types evaluate a
text (`nms`), or unpickle a file that a text names. A list of forbidden values would have holes, so this is a
list of allowed ones:

- types, and a student's task: those of `AllowedTypes`;
- arguments that name files or downloads: no text, no dict, and not True;
- texts: names of allowed types, and strings in the code of the config's types, since code compares options
  with these strings. Model names are those of timm;
- numbers: up to the largest that models use, so that no argument fills the memory.

Concepts and prompts of a teacher are free, since nothing evaluates them. The user's own types take any names.
The config is still built in `bounded_build`, which opens no file.
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

TEACHER_PARTS = ('teacher', 'predict_by')
"""Parts with concepts and prompts."""
FREE_TEXTS = ('concepts', 'templates', 'background', 'question')
"""Arguments of these parts that nothing evaluates."""
TEACHER_NAMES = ('model', 'pretrained')
"""Arguments of a teacher that name its model and weights."""
TEACHER_ARGUMENTS = (*TEACHER_NAMES, *FREE_TEXTS[:-1], 'type', 'extractor', 'max_concepts', 'input_size')
"""Arguments of a teacher of LFI."""
PREDICTION_ARGUMENTS = ('second', 'weight', 'temperature')
"""Further arguments of `predict_by`."""
USER_ARGUMENTS = ('cache', 'text_folder', 'weights_file', 'allow_random')
"""Arguments of a teacher that only the user may set."""
INFINITY = 1e8
"""Largest float: mmdet writes infinity as 1e8."""
MAX_HOLES = 10
"""Largest number of `{}` in a prompt."""
MAX_TEMPLATES = 200
"""Largest number of prompts: CLIP's authors use 80."""
IDENTIFIERS = ('meta_keys', 'keys', 'algorithm_keys', 'reads')
"""Arguments that name keys of an image's results, or layers of the model."""
MAX_NUMBER = 2**17
"""Largest number of a model: of labels, channels or points."""
MAX_IMAGE_SIDE = 2**13
"""Largest number of a pipeline and of a model's sizes, in pixels."""
MAX_VALUES = 2**17
"""Largest number of values in a config: the concepts and classes of the largest data sets."""
MAX_DEPTH = 40
"""Deepest nesting of dicts and lists."""
MAX_LENGTH = 200
"""Largest number of characters of an argument's name, and of a value in messages."""
# Words of torch and OpenCV, which types forward; of layers, their order and positions; of `TeacherReading`.
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
"""Words that are allowed whatever types the config has."""
# Names of arguments for files, URLs and downloads.
_FILE_ARGUMENT = re.compile(
    r'(.*_)?(paths?|files?|filenames?|filepaths?|file_names?|folders?|dirs?|directory|directories|roots?|'
    r'urls?|uris?|ckpts?|checkpoints?|caches?|vocabs?|vocabulary|vocab_\w+|tokenizers?|pkl|pickle|json|yaml|'
    r'npy|npz|lmdb|hub|repo|repo_id|revision|resume|resume_from|load_from)|'
    r'(.*_)?(pretrained|checkpoint|weights_file|backend_args|file_client_args|ann_file|hf|http)(_.*)?|'
    r'(data_)?prefix|data_root|pretraining|trust_remote_code|target|_target_|meta_file|args_file'
)
# Arguments for sizes: types may loop over all pixels of an image, or all pairs of pixels.
_SIZE = re.compile(r'(.*_)?(sizes?|resolution|shape)')
# Largest numbers of arguments that enlarge images.
_MAX_OF_ARGUMENT = {re.compile(r'(.*_)?divisor'): 2**10, re.compile(r'(.*_)?scale_factor'): 2**5}
_NAME = re.compile(r'[\w.+-]*')
_IDENTIFIER = re.compile(r'[A-Za-z_]\w*(\.\w+)*')
# Name of a model with an optional source, without a path.
_TEACHER = re.compile(r'(mmpretrain:|transformers:(\w[\w.-]*/)?)?\w[\w.+-]*')
_TAG = re.compile(r'[\w-]*')
# File names of configs, pickles and weights.
_FILE = re.compile(r'.*\.(py|json|ya?ml|pkl|pickle|pth?|ckpt|bin|npy|npz|safetensors)', re.IGNORECASE)


class Part(NamedTuple):
    """A value in a config.

    Args:
        value: the value.
        root: name of the config in messages.
        keys: keys of dicts and indices of lists on the path to the value.
        owner: innermost type that the value is an argument of, or None.
    """

    value: Any
    root: str
    keys: tuple[str | int, ...]
    owner: Any

    @property
    def key(self) -> str:
        """Name of the argument; for an entry of a list, the name of the list."""
        return next((key for key in reversed(self.keys) if isinstance(key, str) and key), '')

    @property
    def is_type(self) -> bool:
        """Whether the value names a type; the task of a student does, unless it is None."""
        has_task = str(self.owner).rpartition('.')[2] == 'Student' and self.value is not None
        return self.keys[-1:] == ('type',) or (self.keys[-1:] == ('task',) and has_task)

    @property
    def path(self) -> str:
        """Path to the value in messages, computed when needed: a config may have many values."""
        steps = (f'[{key}]' if isinstance(key, int) else f'.{key}' for key in self.keys)
        return f'{self.root}{"".join(steps)}'


def check_config(config: Any, scope: str, where: str, largest: int = MAX_NUMBER) -> None:
    """Check a part of a config before it is built, without running or importing anything that it names.

    Args:
        config: plain data, with tuples.
        scope: default scope.
        where: name of the part in messages.
        largest: largest allowed number. Defaults to 2**17.

    Raises:
        HubError: if a type, an argument, a text or a number is not allowed, or the config is too large.
    """
    parts = list(islice(_parts(config, where), MAX_VALUES + 1))
    if len(parts) > MAX_VALUES:
        raise HubError(f'{where} has more than {MAX_VALUES:,} values, and was not read')
    allowed = AllowedTypes(_scopes(parts, scope, where))
    words = set(COMMON_WORDS)
    for part in parts:
        if part.is_type:
            _check_type(part, allowed)
            words |= allowed.code_strings(part.value)
    for part in parts:
        if part.keys[-1:] == (part.key,) and part.key in TEACHER_PARTS and part.value is not None:
            _check_teacher(part.value, part.path, allowed)
        _check_argument(part)
        _check_number(part, largest)
        if isinstance(part.value, str) and not part.is_type and part.keys[-1:] != ('_scope_',):
            _check_text(part, allowed, words)


def _scopes(parts: list[Part], scope: str, where: str) -> set[str]:
    """Return the packages of a config's types; raise a HubError for an unknown one."""
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
                'names an unknown package, or one that is not installed. If you trust it, import it first',
            )
    return scopes


def _parts(value: Any, where: str, keys: tuple[str | int, ...] = (), owner: Any = None) -> Iterator[Part]:
    if len(keys) > MAX_DEPTH:
        raise HubError(f'{where} is nested too deep: at most {MAX_DEPTH} dicts and lists are allowed')
    yield Part(value, where, keys, owner)
    if isinstance(value, dict):
        owner = value.get('type', owner)
        for name, part in value.items():
            if len(name) > MAX_LENGTH:
                raise HubError(
                    f'{where} has an argument named {_short_repr(name)}: names have at most {MAX_LENGTH} '
                    'characters'
                )
            yield from _parts(part, where, (*keys, name), owner)
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _parts(part, where, (*keys, i), owner)


def _check_type(part: Part, allowed: AllowedTypes) -> None:
    if part.value not in allowed:
        raise _refusal(
            part.path,
            part.value,
            'is not a type for students in the registries of OpenMMLab and LFI. If you trust it, import the '
            'module that registers it first',
        )


def _check_argument(part: Part) -> None:
    """Refuse arguments for files and downloads, whatever type they belong to."""
    if _is_teacher_name(part) or _is_free(part):
        return
    if _FILE_ARGUMENT.fullmatch(part.key) and (part.value is True or isinstance(part.value, str | dict)):
        raise _refusal(part.path, part.value, 'names a file or a download, and neither is read')


def _check_number(part: Part, largest: int) -> None:
    number = part.value
    if not isinstance(number, int | float):
        return
    of_pixels = 'data_preprocessor' in part.keys and part.key != 'num_classes'
    if of_pixels or _SIZE.fullmatch(part.key):
        largest = min(largest, MAX_IMAGE_SIDE)
    limits = (limit for name, limit in _MAX_OF_ARGUMENT.items() if name.fullmatch(part.key))
    largest = min([largest, *limits])
    if isinstance(number, float) and largest > MAX_IMAGE_SIDE:
        largest = int(INFINITY)
    # Pixels are divided by the std.
    if part.key == 'std' and number <= 0 and (of_pixels or str(part.owner).endswith('Normalize')):
        raise _refusal(part.path, number, 'must be above 0')
    # The negation refuses NaN too.
    if not abs(number) <= largest:
        raise _refusal(part.path, number, f'is beyond {largest:,}, the largest number that is allowed')


def _check_text(part: Part, allowed: AllowedTypes, words: set[str]) -> None:
    text = part.value
    if _is_free(part):
        _check_free_text(part)
        return
    if _is_teacher_name(part) or {text, text.lower()} & words or text in allowed:
        return
    if part.key in IDENTIFIERS and _IDENTIFIER.fullmatch(text):
        return
    if part.key == 'layer' and hasattr(nn, text):
        return
    if part.key == 'model_name' and _is_timm_model(text):
        return
    if not _NAME.fullmatch(text) or _FILE.fullmatch(text):
        raise _refusal(part.path, text, 'is not a name: files, URLs and expressions are not read')
    if not (allowed.is_user_type(part.owner) or _is_in_teacher(part)):
        raise _refusal(part.path, text, "is not a word in the code of this config's types")


def _is_timm_model(name: str) -> bool:
    try:
        from timm.models import is_model
    except ImportError:
        return False
    return bool(_NAME.fullmatch(name)) and is_model(name)


def _is_free(part: Part) -> bool:
    return _is_in_teacher(part) and any(key in FREE_TEXTS for key in part.keys)


def _is_in_teacher(part: Part) -> bool:
    return any(key in TEACHER_PARTS for key in part.keys)


def _is_teacher_name(part: Part) -> bool:
    """Whether a value names a teacher's model or weights, which `_check_teacher` checks."""
    return part.keys[-2:-1] == ('teacher',) and part.keys[-1] in TEACHER_NAMES


def is_teacher_name(text: str) -> bool:
    """Whether a text is the name of a model, with an optional source, and no path or file."""
    return bool(_TEACHER.fullmatch(text)) and not _FILE.fullmatch(text) and len(text) <= MAX_LENGTH


def _is_tag(text: str) -> bool:
    return bool(_TAG.fullmatch(text)) and len(text) <= MAX_LENGTH


def _check_free_text(part: Part) -> None:
    """Refuse a concept or a prompt that is too long or has control characters or too many `{}`."""
    text = part.value
    holes = text.count('{}') if 'templates' in part.keys else 0
    if not is_plain_text(text) or holes > MAX_HOLES:
        raise _refusal(
            part.path,
            text,
            f'has more than 1,000 characters, unprintable ones, or more than {MAX_HOLES} {{}}',
        )


def _check_teacher(config: object, where: str, allowed: AllowedTypes) -> None:
    """Refuse a teacher that would read local files, or import or build more than a model."""
    if not isinstance(config, dict):
        raise _refusal(where, config, 'must be a dict')
    concepts, templates = config.get('concepts', []), config.get('templates', [])
    if not (isinstance(concepts, list | tuple) and all(isinstance(name, str) for name in concepts)):
        raise _refusal(f'{where}.concepts', concepts, 'must be a list of names')
    if not isinstance(templates, str | list | tuple) or len(templates) > MAX_TEMPLATES:
        raise _refusal(
            f'{where}.templates', templates, f'must name an ensemble, or be at most {MAX_TEMPLATES} prompts'
        )
    for name in TEACHER_NAMES:
        value = config.get(name)
        if value is None:
            continue
        is_name = is_teacher_name if name == 'model' else _is_tag
        if not (isinstance(value, str) and is_name(value)):
            raise _refusal(f'{where}.{name}', value, 'names a file, and files are not read')
    is_user_type = allowed.is_user_type(config.get('type'))
    arguments = {*TEACHER_ARGUMENTS}
    if where.endswith('predict_by'):
        arguments |= {*PREDICTION_ARGUMENTS}
        if config.get('second') is not None:
            _check_teacher(config['second'], f'{where}.second', allowed)
    for name in sorted(config.keys() - arguments):
        if config[name] not in (None, False) and (name in USER_ARGUMENTS or not is_user_type):
            raise _refusal(f'{where}.{name}', config[name], "is no argument of a student's teacher")


def _refusal(where: str, value: object, reason: str) -> HubError:
    return HubError(f'{where}={_short_repr(value)} was refused, and nothing of it was run: it {reason}')


def _short_repr(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_LENGTH else f'{text[:MAX_LENGTH]}...'
