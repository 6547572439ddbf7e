"""`robust-vos render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, progress_bar, reports_errors
from robust_vos_ros.cli.options import Layout, Split

_CACHE_FRAMES = 2000


@app.command()
@reports_errors
def render(
    out: Annotated[Path, typer.Argument(metavar='OUT', help='Folder of the new data set.')],
    clips: Annotated[int, typer.Option(min=1, help='Number of clips.')] = 200,
    frames: Annotated[int, typer.Option(min=2, help='Frames per clip.')] = 24,
    size: Annotated[int, typer.Option(min=64, help='Side of the images in pixels.')] = 384,
    seed: Annotated[int, typer.Option(min=0, help='Seed of the clips.')] = 0,
    footage: Annotated[
        Path | None,
        typer.Option(help='Data set with objects and backgrounds; default: drawn ones.'),
    ] = None,
    layout: Layout = 'folders',
    split: Split = '',
) -> None:
    """Render clips of several objects with exact masks, as a data set."""
    import numpy as np

    from robust_vos_ros.data.clips import ClipMaker, ClipSettings
    from robust_vos_ros.data.export import write_clip
    from robust_vos_ros.data.sources import Sources, SourceSettings

    found = []
    if footage is not None:
        found = [SourceSettings(root=str(footage), layout=layout, split=split)]
    sources = Sources.open(found, held_out=0.0, cache_frames=_CACHE_FRAMES)
    maker = ClipMaker(ClipSettings(), size, sources)
    with progress_bar('clips', clips) as advance:
        for number in range(clips):
            rng = np.random.default_rng((seed, number))
            write_clip(out, f'{number:05d}', maker.make('synthetic', rng, frames))
            advance()
    typer.echo(f'{clips} clips in {out}')
