"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Layout = Annotated[str, typer.Option(help='Layout of the data set, such as folders or davis2016.')]
Split = Annotated[
    str, typer.Option(help='Split, such as val; default: all, if the layout allows it.')
]
Model = Annotated[str, typer.Option(help='Model, see `robust-vos weights list`.')]
Checkpoint = Annotated[str, typer.Option(help="Weights of the model; default: the model's own.")]
Adapter = Annotated[str, typer.Option(help='Adapter of the model: auto, none, a name or a file.')]
Device = Annotated[str, typer.Option(help='Torch device: auto, cpu or cuda:N.')]
Threads = Annotated[int, typer.Option(min=0, help='CPU threads of torch; 0 = all.')]
Severity = Annotated[
    float, typer.Option(min=0.0, max=5.0, help='Severity of the corruption, 0 to 5.')
]
SeverityProfile = Annotated[
    str, typer.Option(help='Severity over time: constant, ramp, burst or fourier.')
]
