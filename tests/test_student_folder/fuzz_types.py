"""Build every registered type with texts at every argument, where files of these names lie.

`python fuzz_types.py SHARE REPORT` writes a report as JSON: of a share of the types, in an order that is the
same each time. The working directory must be an empty one.
"""

import inspect
import json
import os
import pickle
import random
import sys
import time
import warnings
from collections import Counter, defaultdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

import lfi  # noqa: F401
from lfi.student_folder.allowed_types import AllowedTypes, is_known
from lfi.student_folder.bounded_build import Bounds, ForbiddenActionError, bounded_build
from lfi.student_folder.config_sanitizer import check_config
from lfi.utils.repositories import HubError
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope, Registry

SCOPES = ('mmengine', 'mmpretrain', 'mmdet', 'mmseg')
SENTINEL = 'LFI_FUZZ_RAN'
# No type knows them; some were read as pickles.
UNKNOWN = ('pkl', 'weights', 'evil.py', 'answers.pkl')
SECONDS = 10
"""Of the building of a type, and of all of its further buildings."""
BOUNDS = Bounds(size=2**32, parts=20_000, seconds=SECONDS)
# What a type is given for an argument that it must have, by parts of the argument's name.
GUESSES = {
    'in_channels': 16,
    'channels': 16,
    'num_classes': 4,
    'embed_dims': 16,
    'num_heads': 2,
    'img_size': 32,
    'scale': (32, 32),
    'size': 32,
    'kernel': 3,
    'prob': 0.5,
    'depth': 50,
    'model_name': 'resnet18',
    'loss_type': 'l1_loss',
    'transforms': [],
    'alpha': 1.0,
    'cfg': {},
    'backbone': dict(type='mmdet.ResNet', depth=18),
}


class Sentinel:
    def __reduce__(self):
        return exec, (f'import os; os.environ[{SENTINEL!r}] = "unpickled"',)


def plant(name):
    """Put files of a name into the working directory: a pickle that runs code, and a module that does."""
    for path, content in (
        (Path(name), pickle.dumps(Sentinel())),
        (Path(f'{name}.py'), f'import os; os.environ[{SENTINEL!r}] = "imported {name}"'.encode()),
    ):
        if len(path.parts) == 1 and not path.exists():
            path.write_bytes(content)
            # Older than the file, so that any reading is noted, that of C too.
            os.utime(path, (0, path.stat().st_mtime))


def registered():
    """Each type of the registries, with its registry and name."""
    for scope in filter(find_spec, SCOPES):
        for attribute, registry in vars(import_module(f'{scope}.registry')).items():
            if isinstance(registry, Registry) and registry.scope == scope:
                registry.import_from_location()
                for name, kind in sorted(registry.module_dict.items()):
                    yield f'{scope}.{attribute}.{name}', scope, registry, name, kind


def examples():
    """Configs of types, by name, from those that mmpretrain, mmdet and mmseg come with."""
    found = defaultdict(list)
    for scope in filter(find_spec, SCOPES[1:]):
        root = Path(find_spec(scope).origin).parent / '.mim/configs'
        for file in sorted(root.glob('*/*.py')):
            try:
                config = Config.fromfile(file).to_dict()
            # Some name files that are not installed.
            except Exception:
                continue
            collect(config, scope, found)
    return found


def collect(value, scope, found):
    if isinstance(value, dict):
        kind = value.get('type')
        known = found[f'{scope}.{kind}']
        if isinstance(kind, str) and len(known) < 3 and value not in known:
            known.append(value)
        for part in value.values():
            collect(part, scope, found)
    elif isinstance(value, list | tuple):
        for part in value:
            collect(part, scope, found)


def without_files(value):
    if isinstance(value, dict):
        return {
            key: without_files(part)
            for key, part in value.items()
            if key not in ('init_cfg', 'pretrained', 'checkpoint')
        }
    return type(value)(map(without_files, value)) if isinstance(value, list | tuple) else value


def arguments(kind):
    """The arguments of a type and of those that it inherits from, and whether each is needed."""
    found = {}
    for part in reversed(getattr(kind, '__mro__', [kind])):
        try:
            signature = inspect.signature(vars(part).get('__init__', part) if inspect.isclass(part) else part)
        except (TypeError, ValueError):
            continue
        if part is not kind and part.__module__.partition('.')[0] in ('torch', 'builtins', 'abc'):
            continue
        for name, argument in signature.parameters.items():
            if name != 'self' and argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
                found[name] = argument.default is argument.empty
    return found


def base_configs(scope, name, kind, known):
    """Configs that a type may be built of: those that its package comes with, nothing, or a guess."""
    needed = [argument for argument, must in arguments(kind).items() if must]
    yield from (without_files(example) for example in known.get(f'{scope}.{name}', ()))
    yield {'type': name}
    for other in (8, [16, 32], [{}]):
        yield {'type': name} | {argument: guess(argument, other) for argument in needed}


def guess(argument, other):
    return next((value for part, value in GUESSES.items() if part in argument), other)


def attempt(config, scope, registry):
    """What becomes of a config: 'built', 'refused', or the error that it ends in."""
    try:
        check_config(config, scope, 'config')
        with DefaultScope.overwrite_default_scope(scope), bounded_build(BOUNDS):
            registry.build(ConfigDict(config))
    except (HubError, ForbiddenActionError):
        return 'refused'
    except Exception as error:
        return f'{type(error).__name__}: {error}'[:150]
    return 'built'


def fuzz(scope, registry, name, kind, known, words):
    """The best outcome of a type: as it is, and with a text at each argument in turn."""
    outcomes, base = [], None
    for config in base_configs(scope, name, kind, known):
        outcomes.append(attempt(config, scope, registry))
        base = config if base is None or outcomes[-1] == 'built' else base
        if outcomes[-1] == 'built':
            break
    texts, end = random.Random(crc32(name.encode())), time.process_time() + SECONDS
    for argument in arguments(kind):
        for text in (*UNKNOWN, texts.choice(words)):
            if text in UNKNOWN or time.process_time() < end:
                outcomes.append(attempt({**base, argument: text}, scope, registry))
    for text in UNKNOWN:
        outcomes.append(attempt({**base, **dict.fromkeys(arguments(kind), text)}, scope, registry))
    return outcomes


def main(share, report_file):
    warnings.simplefilter('ignore')
    sys.path.insert(0, '')
    sys.setrecursionlimit(3000)
    known = examples() if share == 1 else {}
    types = list(registered())
    random.Random(0).shuffle(types)
    types = types[: max(1, round(share * len(types)))]
    # The guard's hook comes first: what reaches this one was opened.
    with bounded_build(BOUNDS):
        pass
    here, opened, attempts, results = str(Path.cwd()), [], 0, {}

    def look(event, args):
        if event == 'open' and isinstance(args[0], str) and building:
            path = os.path.realpath(args[0])
            if path.startswith(here):
                opened.append(path)

    building = False
    sys.addaudithook(look)
    for place, scope, registry, name, kind in types:
        allowed = AllowedTypes({scope, 'mmengine', *filter(is_known, SCOPES)})
        words = sorted(filter(None, allowed.code_strings(f'{scope}.{name}')))[:200] or ['mean']
        for word in (*UNKNOWN, *words):
            plant(word)
        building = True
        outcomes = fuzz(scope, registry, name, kind, known, words)
        building = False
        attempts += len(outcomes)
        errors = [outcome for outcome in outcomes if outcome not in ('built', 'refused')]
        results[place] = (
            'built' if 'built' in outcomes else f'not buildable: {errors[0]}' if errors else 'refused'
        )
    # `plant` writes and does not read.
    read = [path.name for path in Path().iterdir() if path.is_file() and path.stat().st_atime > 0]
    report = dict(
        types=len(results),
        outcomes=Counter(result.partition(':')[0] for result in results.values()),
        configs=attempts,
        planted=len(list(Path().iterdir())),
        opened=sorted({*opened}),
        read=sorted(read),
        ran=os.environ.get(SENTINEL),
        not_buildable={place: result for place, result in results.items() if result.startswith('not')},
    )
    Path(report_file).write_text(json.dumps(report, indent=1))


if __name__ == '__main__':
    main(float(sys.argv[1]), sys.argv[2])
