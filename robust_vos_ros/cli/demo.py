"""`robust-vos demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, reports_errors


@app.command()
@reports_errors
def demo(
    video: Annotated[
        Path | None, typer.Option(help='Video to track in; default: a generated clip.')
    ] = None,
    box: Annotated[
        str, typer.Option(help='Box around an object in the first frame: x0,y0,x1,y1 in pixels.')
    ] = '',
    clicks: Annotated[
        str, typer.Option(help='Clicks on one more object: "x,y;x,y" in pixels.')
    ] = '',
    out: Annotated[Path, typer.Option(help='Folder for the results.')] = Path('out/demo'),
    model: Annotated[str, typer.Option(help='Model to run.')] = 'nano',
    rate: Annotated[float, typer.Option(help='Frames per second of the camera.')] = 15.0,
    max_frames: Annotated[int, typer.Option(help='Play at most so many frames.')] = 300,
    compressed: Annotated[bool, typer.Option(help='Send JPEG instead of raw images.')] = False,
    weather: Annotated[
        str, typer.Option(help='Corruption such as rain: runs without and with the adapter.')
    ] = 'none',
    severity: Annotated[float, typer.Option(min=0.0, max=5.0, help='Of the weather.')] = 4.0,
    adapter: Annotated[
        str, typer.Option(help='Adapter of the model: auto, none, a name or a file.')
    ] = 'auto',
    depth: Annotated[
        bool, typer.Option(help='Send the true depth of the generated clip, compare positions.')
    ] = False,
) -> None:
    """Run the node and a camera as two processes, track, and show what came out."""
    from robust_vos_ros.demo.options import DemoOptions
    from robust_vos_ros.demo.run import run_demo

    options = DemoOptions(
        video=video,
        box=box,
        clicks=clicks,
        out=out,
        model=model,
        rate_hz=rate,
        max_frames=max_frames,
        compressed=compressed,
        weather=weather,
        severity=severity,
        adapter=adapter,
        depth=depth,
    )
    raise typer.Exit(run_demo(options))
