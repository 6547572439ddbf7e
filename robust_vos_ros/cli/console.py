"""`robust-vos console`, which needs no ROS installation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robust_vos_ros.cli.base import app, progress_bar, reports_errors
from robust_vos_ros.cli.options import Adapter, Checkpoint, Device, Model, Threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_vos_ros.console.settings import PageSettings
    from robust_vos_ros.console.source import Source


@app.command()
@reports_errors
def console(
    bag: Annotated[Path, typer.Argument(help='Bag: .mcap, .db3, .bag or a folder.')],
    prompts: Annotated[
        Path | None,
        typer.Option(help='Prompt file to make or change; without it, prompts are not saved.'),
    ] = None,
    topic: Annotated[str, typer.Option(help='Image topic; default: the only one.')] = '',
    namespace: Annotated[str, typer.Option(help='Namespace of the results.')] = '/robust_vos',
    config: Annotated[
        Path | None, typer.Option(help='YAML file with host, port, token and so on.')
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help='TCP port [8080]; 0 = any free one.')
    ] = None,
    model: Model = 'nano',
    checkpoint: Checkpoint = '',
    adapter: Adapter = 'auto',
    device: Device = 'auto',
    threads: Threads = 0,
) -> None:
    """Show a bag in the browser, and make prompts for `robust-vos bag process`."""
    from robust_vos_ros.bags.prompt_book import PromptBook
    from robust_vos_ros.bags.reader import BagReader, bag_name
    from robust_vos_ros.bags.results import ResultTopics
    from robust_vos_ros.bags.seeking import SeekableBag
    from robust_vos_ros.console.bag_source import BagSource
    from robust_vos_ros.console.preview import Previewer
    from robust_vos_ros.console.settings import PageSettings
    from robust_vos_ros.core.settings import ModelSettings, load_yaml, parse_settings

    values = {} if config is None else load_yaml(config)
    page = parse_settings(PageSettings, values | ({} if port is None else {'port': port}))
    network = {'name': model, 'checkpoint': checkpoint, 'adapter': adapter, 'device': device}
    settings = parse_settings(ModelSettings, {**network, 'num_threads': threads})
    with BagReader(bag) as reader:
        results = ResultTopics(namespace)
        with progress_bar(f'reading {bag.name}', None) as advance:
            frames = SeekableBag(reader, topic, results, on_message=advance)
        book = None
        if prompts is not None:
            count = len(frames.stamps_ns)
            book = PromptBook(prompts, num_frames=count, frame_of=frames.frame_of)
        _serve(
            lambda: BagSource(
                bag_name(bag), frames, page, book=book, previewer=Previewer(settings)
            ),
            page,
        )


def _serve(make_source: Callable[[], Source], page: PageSettings) -> None:
    """Serve until SIGINT or SIGTERM."""
    import asyncio
    import logging
    import signal

    from robust_vos_ros.console.serving import serve

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        log = logging.getLogger('robust_vos_console')
        await serve(make_source, page, log, announce=typer.echo, stop=stop)

    asyncio.run(run())
