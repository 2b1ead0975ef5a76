"""The parser of the commands, and the arguments that they share; nothing heavy is imported."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mmengine.config import DictAction

from lfi.config_files import find_config
from lfi.errors import nearest
from lfi.utils.options import names_folder, value_of


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are one line, which names what is nearest to an unknown option.

    Args:
        **settings: of argparse's parser. Descriptions keep their lines.
    """

    def __init__(self, **settings: Any) -> None:
        self.options: list[str] = []
        self.checks: list[Callable[[argparse.Namespace], str | None]] = []
        self.variants: dict[Any, Callable[[ArgumentParser], None]] = {}
        settings.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(**settings)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an argument as argparse does."""
        action = super().add_argument(*names, **settings)
        if settings.get('help') != argparse.SUPPRESS:
            self.options += action.option_strings
        return action

    def add_check(self, check: Callable[[argparse.Namespace], str | None]) -> None:
        """Add a check of arguments that depend on one another; it gives a message, or None."""
        self.checks.append(check)

    def add_variants(
        self, option: str, variants: Mapping[Any, Callable[[ArgumentParser], None]], **settings: Any
    ) -> None:
        """Add an option whose value decides which arguments follow.

        Args:
            option: the option.
            variants: what adds the arguments, by the option's value.
            **settings: of the option.
        """
        # It takes the option's abbreviations, as the parser itself does.
        self.chooser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
        for parser in (self, self.chooser):
            parser.add_argument(option, **settings)
        self.variants = dict(variants)

    def add_chosen_variant(self, words: Sequence[str] | None) -> None:
        """Add the arguments that follow from the option of `add_variants` on a command line."""
        try:
            chosen, _ = self.chooser.parse_known_args(words)
        except argparse.ArgumentError:
            # The error is the parser's own, when it reads the line.
            chosen = self.chooser.parse_args([])
        (value,) = vars(chosen).values()
        variants, self.variants = self.variants, {}
        variants[value](self)

    # Of argparse's overloads, the one that is used.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse a command line, or that of a sub-command; an unknown argument ends the process."""
        if self.variants:
            self.add_chosen_variant(args)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            near = ' '.join(nearest(word, self.options) for word in unknown if word.startswith('-')).strip()
            self.error(f'unrecognized arguments: {" ".join(unknown)}{near and f"; {near}"}')
        for message in filter(None, (check(found) for check in self.checks)):
            self.error(message)
        return found, []

    def error(self, message: str) -> NoReturn:
        """End the process with a line, and the exit status 2."""
        self.exit(2, f'{self.prog}: error: {message} (all arguments: {self.prog} --help)\n')


class CfgOptions(DictAction):
    """``--cfg-options KEY=VALUE ...``; a pair without ``=`` is an error of one line.

    Values are read as mmengine reads them, which makes lists of commas and brackets, and numbers where it
    can; but a text keeps its spaces, and one in quotes inside brackets its commas and brackets too. A folder,
    as in ``data_root=FOLDER``, stays as it was typed.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the pairs to the namespace."""
        found = {}
        for pair in values or ():
            key, equals, text = pair.partition('=')
            try:
                found[key] = text if names_folder(key, text) else value_of(text)
            except (ValueError, RecursionError):
                equals = ''
            if not equals:
                parser.error(f'{option_string} takes KEY=VALUE pairs, got {" ".join(values or ())}')
        self.keep(namespace, found, values or ())

    def keep(self, namespace: argparse.Namespace, found: dict[str, Any], typed: Sequence[str]) -> None:
        """Add what the pairs hold, or the pairs, to the namespace."""
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **found})


def config_file(name: str) -> str:
    """The path of a config, the `type` of an argument that names one; see `find_config`.

    Raises:
        ArgumentTypeError: if there is none.
    """
    try:
        return find_config(name)
    except FileNotFoundError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """A whole number above 0, the `type` of an argument that is one.

    Raises:
        ArgumentTypeError: if it is none.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'must be a whole number above 0, got {text!r}')
    return int(text)


def whole(text: str) -> int:
    """A whole number of 0 or more, the `type` of an argument that is one.

    Raises:
        ArgumentTypeError: if it is none.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'must be a whole number of 0 or more, got {text!r}')
    return int(text)


def not_negative(text: str) -> float:
    """A number of 0 or more, the `type` of an argument that is one.

    Raises:
        ArgumentTypeError: if it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f'must be a number of 0 or more, got {text!r}')
    return number


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``CONFIG`` and ``--cfg-options``."""
    parser.add_argument('config', type=config_file, help="config file, or the name of one of LFI's")
    add_cfg_options(parser)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add ``CHECKPOINT``."""
    parser.add_argument('checkpoint', help='checkpoint: a .pth or .safetensors file; a path or URL')


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        '--device', help='device of the model, such as cpu or cuda:1 (default: a GPU if there is one)'
    )


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the images that a model is asked about."""
    parser.add_argument('inputs', nargs='+', help='images, folders of images, videos')
    parser.add_argument(
        '--frame-stride',
        type=positive,
        default=1,
        metavar='N',
        help='of a video, every N-th frame (%(default)s)',
    )


def add_templates(parser: argparse.ArgumentParser) -> None:
    """Add ``--templates``."""
    parser.add_argument(
        '--templates',
        nargs='+',
        metavar='PROMPT',
        help="prompts for the texts, with {} for the text (default: the teacher's own)",
    )


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptions,
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. train_cfg.max_epochs=3 model.backbone.out_indices="[3,7]"',
    )


def add_graph_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what of a student becomes a graph, and the images that it is tried on."""
    parser.add_argument(
        '--part',
        choices=['classifier', 'detector', 'segmentor', 'backbone'],
        help='what the model predicts, or tokens or feature maps (default: what it predicts)',
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=positive,
        metavar=('H', 'W'),
        help="of the images in pixels (default: the backbone's img_size)",
    )
    parser.add_argument(
        '--images', type=Path, metavar='FOLDER', help='images to compare on (default: drawn ones of Shapes)'
    )


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher``, of what may run as several processes."""
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes; dist_*.sh and slurm_*.sh set it (default: none)',
    )
    # Older launchers give the rank as an argument; torchrun gives it in the environment.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what training and testing have in common, beside what they run."""
    parser.add_argument('--work-dir', help='folder for logs and results (default: work_dirs/<config name>)')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    add_launcher_arguments(parser)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a training, beside what is trained."""
    add_run_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from a checkpoint; without a name, from the last complete one in the work dir',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate during training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over auto_scale_lr.base_batch_size',
    )
