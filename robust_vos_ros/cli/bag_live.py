"""`robust-vos bag record` and `play`, which need a ROS 2 installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.bag import bag_app
from robust_vos_ros.cli.base import reports_errors


def check_ros() -> None:
    """Raise ConfigError without rclpy."""
    import importlib.util

    from robust_vos_ros.core.errors import ConfigError

    if importlib.util.find_spec('rclpy') is None:
        raise ConfigError(
            'this command needs ROS 2, but rclpy cannot be imported; source the setup.bash of a '
            'ROS 2 installation first'
        )


@bag_app.command()
@reports_errors
def record(
    out: Annotated[
        Path | None, typer.Option('--out', '-o', help='Folder to create [bag_<date>].')
    ] = None,
    image_topic: Annotated[
        str, typer.Option(help='Image topic of the node, without /compressed.')
    ] = '/image',
    transport: Annotated[str, typer.Option(help='Images to record: raw or compressed.')] = 'raw',
    namespace: Annotated[str, typer.Option(help='Namespace of the node.')] = '',
    camera: Annotated[
        str, typer.Option(help='Camera to record, if the node has several (parameter cameras).')
    ] = '',
    topic: Annotated[
        list[str] | None, typer.Option('--topic', help='A further topic; may be repeated.')
    ] = None,
    use_sim_time: Annotated[bool, typer.Option(help='Take the time from /clock.')] = False,
    duration: Annotated[float, typer.Option(min=0.0, help='Seconds; 0 = until Ctrl-C.')] = 0.0,
) -> None:
    """Record images and results of the node as MCAP; Ctrl-C ends it."""
    import datetime as dt

    check_ros()
    from robust_vos_ros.live.recorder import RecordOptions, record

    if transport not in {'raw', 'compressed'}:
        raise typer.BadParameter(f'expected raw or compressed, got {transport!r}')
    now = dt.datetime.now().astimezone()
    ending = f'_{camera}' if camera else ''
    folder = out or Path(f'bag_{now:%Y_%m_%d-%H_%M_%S}{ending}')
    result = record(
        RecordOptions(
            out=folder,
            image_topic=image_topic,
            compressed=transport == 'compressed',
            namespace=namespace,
            camera=camera,
            topics=tuple(topic or ()),
            use_sim_time=use_sim_time,
            duration_s=duration,
        )
    )
    typer.echo(f'recorded {result.num_messages} messages on {result.num_topics} topics: {folder}')
    if result.num_lost or result.num_dropped:
        typer.echo(
            f'{result.num_lost} messages were lost on the way to the recorder, '
            f'{result.num_dropped} were dropped because the disk was too slow'
        )
    for name, why in result.left_out.items():
        typer.echo(f'left out {name}: {why}')


@bag_app.command()
@reports_errors
def play(
    bag: Annotated[Path, typer.Argument(help='Bag: .mcap, .db3, .bag or a folder.')],
    rate: Annotated[
        float, typer.Option(min=0.01, help='Factor of the speed: 2 = twice as fast as recorded.')
    ] = 1.0,
    topics: Annotated[str, typer.Option(help='Topics, separated by commas [all].')] = '',
    loop: Annotated[bool, typer.Option(help='Start again at the end.')] = False,
    delay: Annotated[
        float, typer.Option(min=0.0, help='Seconds before the first message, for discovery.')
    ] = 1.0,
) -> None:
    """Publish the messages of a bag with their recorded headers."""
    check_ros()
    from robust_vos_ros.live.player import PlayOptions, play

    names = tuple(name.strip() for name in topics.split(',') if name.strip())
    result = play(PlayOptions(bag, rate=rate, topics=names, loop=loop, delay_s=delay))
    typer.echo(f'played {result.num_messages} messages on {result.num_topics} topics')
    if result.skipped:
        typer.echo(f'skipped, their types are not installed: {", ".join(result.skipped)}')
