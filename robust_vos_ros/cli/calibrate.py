"""`robust-vos calibrate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from robust_vos_ros.cli.base import app, progress_bar, reports_errors
from robust_vos_ros.cli.options import Adapter, Checkpoint, Layout, Model, Split

Exclude = Annotated[str, typer.Option(help='Text file in DATASET with sequences to leave out.')]
Clips = Annotated[
    int,
    typer.Option(
        min=0, help='Long rendered clips; with a data set every second one has objects of it.'
    ),
]
Frames = Annotated[int, typer.Option(min=2, help='Frames of each long clip.')]
Conditions = Annotated[
    int,
    typer.Option(min=1, max=9, help='Times each sequence is used: once clean, then corrupted.'),
]
Contact = Annotated[
    int,
    typer.Option(min=0, help='Clips of small objects of the data set on large ones, 120 frames.'),
]
EmbeddingClips = Annotated[
    int, typer.Option(min=0, help='Further rendered clips, for the projection of embeddings.')
]
Rounds = Annotated[
    int,
    typer.Option(min=1, max=9, help='Rounds of tracking, each with the fit of the one before.'),
]
Processes = Annotated[int, typer.Option(min=1, help='Processes of one thread each.')]
Seed = Annotated[
    int, typer.Option(min=0, help='Seed of clips and corruptions; not one of a benchmark.')
]
Start = Annotated[
    Path | None,
    typer.Option(
        help='Calibration file of which all but the confidence is kept; one round. Default: fit '
        'everything.'
    ),
]
Out = Annotated[Path, typer.Option(help='Calibration file to write; put it beside the weights.')]


@app.command()
@reports_errors
def calibrate(
    dataset: Annotated[
        Path | None, typer.Argument(help='Folder of a data set; default: only drawn objects.')
    ] = None,
    layout: Layout = 'folders',
    split: Split = '',
    exclude: Exclude = '',
    model: Model = 'nano',
    checkpoint: Checkpoint = '',
    adapter: Adapter = 'auto',
    clips: Clips = 24,
    frames: Frames = 400,
    conditions: Conditions = 3,
    contact: Contact = 24,
    embedding_clips: EmbeddingClips = 40,
    rounds: Rounds = 3,
    processes: Processes = 1,
    seed: Seed = 1000,
    start: Start = None,
    out: Out = Path('out/calibration.json'),
) -> None:
    """Fit the confidence of a model to how often its masks are correct, clean and corrupted."""
    from robust_vos_ros.core.confidence.calibration import read_file
    from robust_vos_ros.core.settings import ModelSettings, parse_settings
    from robust_vos_ros.eval import calibrating
    from robust_vos_ros.eval.calibration_clips import make_clips, make_rendered
    from robust_vos_ros.eval.datasets import FolderSet

    values = {'name': model, 'checkpoint': checkpoint, 'adapter': adapter, 'calibration': 'none'}
    settings = parse_settings(ModelSettings, values)
    data = None
    if dataset is not None:
        data = FolderSet(root=dataset.resolve(), layout=layout, split=split, exclude=exclude)
    sources = make_clips(
        data,
        conditions=conditions,
        num_clips=clips,
        num_frames=frames,
        seed=seed,
        num_contact=contact,
    )
    names = ', '.join(sorted({source.kind for source in sources}))
    told = f'{len(sources)} clips ({names}), seed {seed}'
    if start is not None:
        kept = read_file(start)
        file = calibrating.fit_confidence(
            settings, kept, sources,
            data=f'confidence: {told}; all else ({kept.date}): {kept.data}',
            processes=processes,
            progress=_show,
        )  # fmt: skip
    else:
        numbers = range(clips, clips + embedding_clips)
        more = make_rendered(data, numbers, num_frames=frames, seed=seed)
        file = calibrating.calibrate(
            settings, sources, more,
            rounds=rounds,
            data=f'{told}, {len(more)} for embeddings',
            processes=processes,
            progress=_show,
        )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(file.model_dump_json(indent=1) + '\n', encoding='utf-8')
    typer.echo(f'{out}: fitted to {file.samples} masks')


def _show(title: str, total: int, items: Iterator[Any]) -> Iterator[Any]:
    with progress_bar(title, total) as advance:
        for item in items:
            yield item
            advance()
