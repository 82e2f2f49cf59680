"""The command line: what this machine can measure, and what a command, a run or a lab costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenkit.cli.child import run_command
from greenkit.cli.printing import json_text, power, print_table, seconds, table_of

if TYPE_CHECKING:
    from greenkit.foundations import Grid, Reading
    from greenkit.metering import EnergyCurve

PROBE_S = 1.0

app = typer.Typer(
    help="Meter, estimate and compare the energy of language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

GridCode = Annotated[
    str | None, typer.Option("--grid", metavar="COUNTRY", help="Country of the grid, e.g. FRA.")
]
Pue = Annotated[float, typer.Option(help="Facility energy / IT energy; 1 leaves it out.")]


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show what this machine can measure, why not more, and how to allow it."""
    from greenkit.course.device import device_facts
    from greenkit.metering import EnergyMeter

    with _explained():
        machine = device_facts()
        with EnergyMeter(sync=False) as energy, energy.window("probe") as probe:
            time.sleep(PROBE_S)
        readings = {reading.sensor: reading for reading in probe.readings}
    sensors = [_facts(curve, readings.get(curve.info.name)) for curve in energy.curves]
    if as_json:
        typer.echo(json_text({"machine": machine, "sensors": sensors, "reasons": energy.reasons}))
        return
    table = table_of("sensor", "provenance", "refreshed", "resolves", "interval", "now")
    for facts in sensors:
        name, refreshed, resolves = facts["name"], facts["refreshed_s"], facts["resolution_s"]
        now = power(readings[name]) if name in readings else "no value yet"
        kind, interval = facts["provenance"], facts["interval"]
        table.add_row(name, kind, seconds(refreshed), seconds(resolves), interval, now)
    print_table(table)
    for facts in sensors:
        details = filter(None, (facts[key] for key in ("device", "sees", "method", "note")))
        typer.echo(f"{facts['name']}: {'; '.join(details)}")
    if energy.reasons:
        typer.echo("\nWhy not more:")
    for reason in energy.reasons:
        typer.echo(f"- {reason}")
    versions = [f"{name} {version or 'missing'}" for name, version in machine["versions"].items()]
    typer.echo(f"\nPython {machine['python']} on {machine['system']}; {', '.join(versions)}")


def _facts(curve: EnergyCurve, reading: Reading | None) -> dict[str, Any]:
    """What a sensor says of itself, and what a second of reading it showed."""
    info = curve.info
    gain = f"±{2 * info.gain:.0%}, shared by all windows" if info.gain else "not stated"
    return {
        "name": info.name,
        "device": info.device,
        "sees": info.domain.value,
        "provenance": info.provenance.value,
        "method": info.method,
        "note": info.note,
        "interval": f"×/÷ {info.factor:g} (95 %)" if info.factor > 1 else gain,
        "refreshed_s": curve.tick_s,
        "resolution_s": curve.resolution_s,
        "power_w": reading.power_w if reading else None,
    }


@app.command()
def fetch(
    what: Annotated[str, typer.Option(metavar="default|NAME", help="What to fetch.")] = "default",
) -> None:
    """Fetch, verify and prepare the default model and text, or one asset by name."""
    from greenkit import inputs

    if what not in ("default", *inputs.ASSETS):
        known = ", ".join(inputs.ASSETS)
        raise typer.BadParameter(f"there is no asset {what!r}; there are: default, {known}")
    with _explained():
        ready = inputs.fetch_default() if what == "default" else {what: inputs.fetch(what)}
    for name, path in ready.items():
        typer.echo(f"{name} is ready: {path}")


@app.command(context_settings={"allow_interspersed_args": False}, options_metavar="[OPTIONS] --")
def meter(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", show_default=False)],
    grid: GridCode = None,
    pue: Pue = 1.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the readings here, too.")
    ] = None,
) -> None:
    """Run a command and print its energy to stderr; its exit code is passed on.

    The energy is that of the time until the command ends: what it leaves running is not counted.
    """
    place = _grid(grid)
    if not pue >= 1:
        raise typer.BadParameter(f"PUE is facility energy / IT energy, at least 1; got {pue:g}")
    if place is None and pue != 1:
        raise typer.BadParameter("--pue enters the carbon only: name a --grid, too")
    if json_file is not None and (json_file.is_dir() or not json_file.resolve().parent.is_dir()):
        raise typer.BadParameter(f"--json: {json_file} is a folder, or lies in none that exists")
    from greenkit.metering import EnergyMeter

    with _explained():
        name = Path(command[0]).name
        with EnergyMeter(sync=False) as energy, energy.window(name) as window:
            code, left = run_command(command)
        readings = window.readings
        typer.echo(f"\n{name}: {window.duration_s:.3g} s, exit code {code}", err=True)
        _print_readings(readings, place, pue)
        if left:
            names = ", ".join(dict.fromkeys(left))
            count = "1 process" if len(left) == 1 else f"{len(left)} processes"
            rest = f"still running, and no longer counted: {count} that it started ({names})"
            typer.echo(rest, err=True)
        if json_file is not None:
            record = {
                "command": command,
                "exit_code": code,
                "left_running": left,
                "duration_s": window.duration_s,
                "grid": str(place) if place else None,
                "pue": pue,
                "readings": [_as_record(reading, place, pue) for reading in readings],
                "reasons": energy.reasons,
            }
            json_file.write_text(json_text(record) + "\n", encoding="utf-8")
    raise typer.Exit(code)


def _print_readings(readings: Sequence[Reading], place: Grid | None, pue: float) -> None:
    table = table_of("energy", "mean power", *(["carbon"] if place else []), "source")
    for reading in readings:
        carbon = [reading.carbon(place, pue=pue).text] if place else []
        table.add_row(reading.text, power(reading), *carbon, reading.label)
    if readings:
        print_table(table, err=True)
    if place:
        typer.echo(f"at {place}, PUE {pue:g}; embodied carbon not included", err=True)
    for reading in readings:
        if not reading.resolved:
            longer = f"{reading.sensor} needs a run of {seconds(reading.resolution_s)} or more"
            typer.echo(f"{longer} to give a value with ±", err=True)
    if all(reading.provenance != "measured" for reading in readings):
        typer.echo("not measured on this machine: `greenkit doctor` says why", err=True)


def _as_record(reading: Reading, place: Grid | None, pue: float) -> dict[str, Any]:
    if place is None:
        return reading.to_dict()
    carbon = reading.carbon(place, pue=pue)
    grams = {"value": carbon.value, "low": carbon.low, "high": carbon.high}
    return {**reading.to_dict(), "carbon_g": grams}


@app.command()
def estimate(
    chips: Annotated[float | None, typer.Option(help="Training: number of chips.")] = None,
    hours: Annotated[float | None, typer.Option(help="Training: hours of the run.")] = None,
    power_w: Annotated[
        float | None, typer.Option(help="Training: mean watts per chip, host included.")
    ] = None,
    tokens: Annotated[float | None, typer.Option(help="Serving: number of tokens.")] = None,
    joules_per_token: Annotated[float | None, typer.Option(help="Serving: J/token.")] = None,
    pue: Pue = 1.0,
    grid: GridCode = None,
) -> None:
    """Compute the footprint of a training run, or of serving, from planned or published figures."""
    from greenkit.foundations import footprint

    place = _grid(grid)
    no_run, no_serving = (chips, hours, power_w) == (None,) * 3, tokens is joules_per_token is None
    try:
        if no_serving and chips is not None and hours is not None and power_w is not None:
            energy = footprint.training_energy(chips=chips, hours=hours, power_w=power_w, pue=pue)
        elif no_run and tokens is not None and joules_per_token is not None:
            energy = footprint.serving_energy(
                tokens=tokens, joules_per_token=joules_per_token, pue=pue
            )
        else:
            raise ValueError(
                "give --chips, --hours and --power-w for training, or --tokens and "
                "--joules-per-token for serving"
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"energy: {energy}")
    if place is None:
        typer.echo("carbon: not computed; name a grid, e.g. --grid FRA (there is no default)")
    else:
        carbon = footprint.operational_carbon(energy, place)
        formula = f"{carbon.provenance} (computed: energy × {place}), embodied carbon not included"
        typer.echo(f"carbon: {carbon.text}, {formula}")


@app.command()
def record(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", show_default=False)],
    full: Annotated[bool, typer.Option("--full", help="Run every variant of the lab.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the reference runs.")] = None,
) -> None:
    """Run a lab's cells without Jupyter and write this device's reference run."""
    with _explained():
        from greenkit.authoring.record import record as record_lab

        typer.echo(f"wrote {record_lab(notebook, full=full, out=out)}")


def _grid(code: str | None) -> Grid | None:
    from greenkit.foundations import grid

    try:
        return None if code is None else grid(code)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def _explained() -> Iterator[None]:
    """Print what the package refuses, or cannot do, as one sentence; exit with 1."""
    try:
        yield
    except _refusals() as error:
        typer.echo(f"greenkit: {error}", err=True)
        raise typer.Exit(1) from None


def _refusals() -> tuple[type[Exception], ...]:
    from greenkit.inputs.assets import AssetError
    from greenkit.metering import NotMeasuredError, SensorError

    return AssetError, NotMeasuredError, SensorError, ValueError, ImportError, OSError
