"""Local web page that shows predictions and interaction maps of a trained model."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

# Gradio reads this variable when it is imported.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'

import numpy as np
from mmengine.config import Config
from PIL import Image

from lfi.errors import UsageError

from .drawing import draw_result, strongest_texts
from .interaction_inferencer import InteractionInferencer
from .interaction_result import result_record
from .readers import TeacherReader
from .sources import FileSource, Load
from .teacher_answers import teacher_result

if TYPE_CHECKING:
    import gradio as gr

# Limits of a visitor's input.
MAX_UPLOAD = '20mb'
MAX_PIXELS = 32 * 2**20
MAX_TEXTS = 50
MAX_TEXT_LENGTH = 200
# The browser must contact no other server, although Gradio's page links to some.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)


class LocalOnly:
    """Middleware whose responses forbid the browser to load anything from other servers."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Serve a request."""

        async def send_with_policy(message: dict) -> None:
            if message['type'] == 'http.response.start':
                header = (b'content-security-policy', POLICY.encode())
                message = {**message, 'headers': [*message.get('headers', ()), header]}
            await send(message)

        await self.app(scope, receive, send_with_policy)


def parse_texts(lines: str) -> list[str] | None:
    """Split a visitor's lines into texts; None if there is no text.

    Raises:
        ValueError: If there are too many texts, or a text is too long or is no valid Unicode.
    """
    lines.encode()
    texts = [line.strip() for line in lines.splitlines() if line.strip()]
    if len(texts) > MAX_TEXTS:
        raise ValueError(f'{len(texts)} texts are too many: give at most {MAX_TEXTS}')
    longest = max(map(len, texts), default=0)
    if longest > MAX_TEXT_LENGTH:
        raise ValueError(f'a text of {longest} characters is too long: give at most {MAX_TEXT_LENGTH}')
    return texts or None


def load_upload(path: str, load: Load) -> np.ndarray:
    """Load an uploaded image, (H, W, 3) uint8 BGR, as `lfi infer` does.

    Args:
        path: Path of the file.
        load: Transform that loads an image.

    Raises:
        ValueError: If the image cannot be read or is too large. The message hides the temporary path.
    """
    try:
        ((_, loaded),) = FileSource(path).read(load, 1)
    except OSError as error:
        reason = str(error).removeprefix(f'{path}: this image').replace(path, 'the file')
        raise ValueError(f'This image{reason}') from error
    return loaded['img']


def draw_teacher_maps(cfg: Config, device: str | None, texts: Sequence[str], image: np.ndarray) -> np.ndarray:
    """Draw a teacher's maps of texts, (H, W, 3) uint8 RGB.

    Args:
        cfg: Config of the training.
        device: Device of the teacher; None for a GPU if there is one.
        texts: Texts whose maps are drawn.
        image: (H, W, 3) uint8 BGR.

    Raises:
        ImportError, OSError, RuntimeError, TypeError, ValueError: If the teacher cannot be built or asked.
    """
    return draw_result(teacher_result(TeacherReader(cfg, texts, device), image), (), range(len(texts)))


def build_page(inferencer: InteractionInferencer, cfg: Config, device: str | None) -> gr.Blocks:
    """Build the page, with a button that asks the model and, if the checkbox is ticked, the teacher too.

    Args:
        inferencer: Inferencer of the model.
        cfg: Config of the training.
        device: Device of the teacher; None for a GPU if there is one.
    """
    import gradio as gr

    def ask(path: str | None, lines: str | None, compare: bool) -> tuple[np.ndarray, dict, dict]:
        if path is None:
            raise gr.Error('Give an image first.')
        try:
            texts = parse_texts(lines or '')
            image = load_upload(path, inferencer.pipeline.load)
            outputs = inferencer(image, texts, return_vis=True)
            if outputs['skipped']:
                raise gr.Error('The test pipeline cannot take this image: it is too thin.')
            (result,) = outputs['predictions']
            drawn_texts = texts or [result.texts[index] for index in strongest_texts(result)]
            teacher_maps = draw_teacher_maps(cfg, device, drawn_texts, result.image) if compare else None
        except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
            # Gradio draws the message as HTML.
            raise gr.Error(html.escape(str(error), quote=False)) from error
        record = result_record(result, inferencer.classes)
        del record['image']
        teacher_update = gr.update(value=teacher_maps, visible=compare or 'hidden')
        return outputs['visualization'][0], teacher_update, record

    with gr.Blocks(title='LFI', analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.Markdown('# Where does the model see it?')
        with gr.Row():
            image = gr.Image(label='Image', sources=['upload', 'clipboard'], buttons=['fullscreen'])
            # Gradio's own loading fails without a message to the visitor. A subclass that overrides it would
            # make Gradio write a file beside this one.
            image.preprocess = lambda upload: upload.path if upload else None
            with gr.Column():
                lines = gr.Textbox(
                    label='Texts, one in each line',
                    info='Without texts: the 5 strongest classes of the training.',
                    lines=5,
                    max_length=MAX_TEXTS * (MAX_TEXT_LENGTH + 1),
                )
                compare = gr.Checkbox(
                    label='Ask the teacher too', info='Its weights are loaded for each question.'
                )
                button = gr.Button('Ask', variant='primary')
        # The default buttons include one that shares the picture.
        options = dict(format='png', interactive=False, buttons=['download', 'fullscreen'])
        picture = gr.Image(label='Prediction and maps', **options)
        teacher_picture = gr.Image(label="The teacher's maps", visible='hidden', **options)
        record = gr.JSON(label='Scores of the classes, presence of the texts')
        button.click(ask, [image, lines, compare], [picture, teacher_picture, record])
    return page


def serve(page: gr.Blocks, port: int | None) -> None:
    """Serve the page to this machine until interrupted, on the first free port from 7860 if `port` is None.

    Raises:
        UsageError: If the port is taken.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    # A small file can hold a huge image.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter('error', Image.DecompressionBombWarning)

    try:
        _, url, _ = page.launch(
            server_name='127.0.0.1',
            server_port=port,
            share=False,
            max_file_size=MAX_UPLOAD,
            footer_links=[],
            ssr_mode=False,
            # Gradio's default themes load fonts from the network.
            theme=gr.themes.Base(font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']),
            app_kwargs=dict(middleware=[Middleware(LocalOnly)]),
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        if port is None:
            raise
        raise UsageError(f'--port {port} is not free: choose another port') from error
    print(f'The page is at {url}', flush=True)
    page.block_thread()
