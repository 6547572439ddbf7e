"""The options that the commands of `robust-vos evaluate` share, and their evaluation."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console
from rich.table import Table

from robust_vos_ros.cli.base import progress_bar

if TYPE_CHECKING:
    from robust_vos_ros.eval.records import Condition
    from robust_vos_ros.eval.results import Results
    from robust_vos_ros.eval.runners import Runner
    from robust_vos_ros.eval.tasks import Dataset

_TRACKERS, _RUN, _FILES = 'Trackers', 'Run', 'Files'


@dataclasses.dataclass(frozen=True)
class Run:
    """Trackers, run and files of an evaluation: one option per field."""

    model: Annotated[str, typer.Option(help='Model.', rich_help_panel=_TRACKERS)] = 'nano'
    checkpoint: Annotated[
        str,
        typer.Option(
            help="Weights of the model; default: the model's own.", rich_help_panel=_TRACKERS
        ),
    ] = ''
    variants: Annotated[
        str,
        typer.Option(
            help='Variants to compare with the first one, separated by commas: base is --model '
            'without adapter; moga, or another name, is a shipped adapter; NAME=FILE is an '
            'adapter, or weights of nano; NAME=MODEL:FILE is another model; uncalibrated is base '
            'without calibration; restored is base on denoised images.',
            rich_help_panel=_TRACKERS,
        ),
    ] = 'base'
    changes: Annotated[
        list[str] | None,
        typer.Option(
            '--set',
            help='NAME:tracking.KEY=VALUE changes a setting of a variant; a new NAME is base with '
            'this change; NAME:tracking=plain is tracking as in SAM 2. May be repeated.',
            rich_help_panel=_TRACKERS,
        ),
    ] = None
    prompt: Annotated[
        str,
        typer.Option(
            help='Form of the prompts: mask, box, clicks3 or click1; default: mask, for the '
            'protocol robustpvos clicks3.',
            rich_help_panel=_TRACKERS,
        ),
    ] = ''
    seed: Annotated[
        int,
        typer.Option(min=0, help='Seed of corruptions and clips.', rich_help_panel=_RUN),
    ] = 0
    device: Annotated[str, typer.Option(help='Torch device.', rich_help_panel=_RUN)] = 'auto'
    processes: Annotated[
        int,
        typer.Option(
            min=0, help='Processes of one thread each; 0 = one per core.', rich_help_panel=_RUN
        ),
    ] = 0
    ray: Annotated[
        str,
        typer.Option(
            help='Run on this Ray cluster: auto, HOST:PORT, or local.', rich_help_panel=_RUN
        ),
    ] = ''
    shard: Annotated[
        str,
        typer.Option(
            help='Run only part i of n, as i/n; `robust-vos evaluate merge` joins the results.',
            rich_help_panel=_RUN,
        ),
    ] = ''
    json_path: Annotated[
        Path, typer.Option('--json', help='File for the results.', rich_help_panel=_FILES)
    ] = Path('out/evaluate.json')
    cache: Annotated[
        Path,
        typer.Option(
            help='Folder of finished sequences, from which a run is resumed.',
            rich_help_panel=_FILES,
        ),
    ] = Path('out/evaluate_cache')

    def evaluate(self, dataset: Dataset, conditions: Sequence[Condition], protocol: str) -> None:
        """Run the tasks that are not in the cache, write the results and print their table.

        Raises:
            RobustVosError: A tracker, a sequence or an option cannot be used.
        """
        from robust_vos_ros.eval import benchmark, results
        from robust_vos_ros.eval.tasks import make_tasks
        from robust_vos_ros.eval.variants import make_variants

        variants = make_variants(
            self.variants,
            model=self.model,
            checkpoint=self.checkpoint,
            device=self.device,
            changes=self.changes or (),
        )
        prompt = benchmark.choose_prompt(self.prompt, protocol)
        about = results.describe(variants, dataset, conditions, protocol=protocol, prompt=prompt)
        tasks = make_tasks(variants, dataset, conditions, prompt)
        if self.shard:
            tasks = benchmark.take_shard(tasks, self.shard)
        with progress_bar('sequences', len(tasks)) as advance:
            records = benchmark.run_benchmark(tasks, self._runner(), self.cache, on_done=advance)
        save(self.json_path, results.Results(about=about, records=records))

    def _runner(self) -> Runner:
        from robust_vos_ros.eval import runners

        if self.ray:
            return runners.run_on_ray(self.ray)
        processes = self.processes or os.cpu_count() or 1
        return runners.run_here if processes == 1 else runners.run_in_processes(processes)


def takes_run(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each field of `Run` to a command, which gets them as `run`."""
    hints = get_type_hints(command, include_extras=True)
    shared_hints = get_type_hints(Run, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != 'run'
    ]
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY,
            default=field.default, annotation=shared_hints[field.name],
        )
        for field in dataclasses.fields(Run)
    ]  # fmt: skip

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        run = Run(**{parameter.name: values.pop(parameter.name) for parameter in shared})
        command(**values, run=run)

    signature = inspect.Signature([*own, *shared])
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return wrapper


def save(path: Path, found: Results) -> None:
    """Write results and print their table."""
    from robust_vos_ros.eval import columns, results
    from robust_vos_ros.files import write_json

    content = results.to_json(found)
    write_json(path, content, indent=1, allow_nan=False)
    titles, *rows = columns.table_rows(content)
    table = Table(title='95% intervals over sequences')
    for title in titles:
        table.add_column(title, justify='left' if not title else 'right')
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    sequences = len({record.sequence for record in found.records})
    typer.echo(f'{path}: {len(found.records)} runs over {sequences} sequences')
