"""`robust-vos demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, reports_errors
from robust_vos_ros.cli.options import Adapter, Model, Severity


@app.command()
@reports_errors
def demo(
    video: Annotated[
        Path | None, typer.Option(help='Video file; default: a generated clip.')
    ] = None,
    box: Annotated[
        str, typer.Option(help='Box around an object in the first frame: x0,y0,x1,y1 in pixels.')
    ] = '',
    clicks: Annotated[
        str, typer.Option(help='Clicks on a second object: "x,y;x,y" in pixels.')
    ] = '',
    out: Annotated[Path, typer.Option(help='Folder for the results.')] = Path('out/demo'),
    model: Model = 'nano',
    rate: Annotated[float, typer.Option(help='Frames per second of the camera.')] = 15.0,
    max_frames: Annotated[int, typer.Option(help='Most frames of the clip.')] = 300,
    compressed: Annotated[bool, typer.Option(help='Send JPEG instead of raw images.')] = False,
    weather: Annotated[
        str, typer.Option(help='Corruption such as rain: run without and with the adapter.')
    ] = 'none',
    severity: Severity = 4.0,
    adapter: Adapter = 'auto',
    depth: Annotated[
        bool, typer.Option(help='Send the depth of the generated clip, and compare positions.')
    ] = False,
) -> None:
    """Run the node and a camera as two processes, and report how objects are tracked."""
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
