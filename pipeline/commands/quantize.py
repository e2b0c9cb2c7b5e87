"""`qnn quantize`: a trained ONNX network in 2 to 8 bits, each layer with its proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipeline.commands.writing.folders import new_folder
from pipeline.commands.writing.places import refuse_file, refuse_folder
from qnn.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from qnn.quantization import Quantized

# In a log instead of a bar: a line each time that so much more is done.
_APART = 0.1

Method = Literal["kbest", "gptq", "adaquant", "descent", "rtn", "rtn_range"]


def quantize(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL.onnx", help="The trained float network.", show_default=False),
    ],
    calibration: Annotated[
        Path,
        typer.Option(
            metavar="ROWS",
            help="Unlabelled rows of its inputs: .csv, .parquet or .npy.",
            show_default=False,
        ),
    ],
    budget: Annotated[
        float, typer.Option(help="Mean stored bits a weight; 3-bit codes are stored in 4.")
    ] = 3.0,
    bits: Annotated[
        str, typer.Option(help="Widths that a neuron may get; 0: silent ones are left out.")
    ] = "2,3,4,8",
    method: Annotated[Method, typer.Option(help="How the codes are found.")] = "kbest",
    certify: Annotated[
        Literal["none", "bound", "scale", "joint"],
        typer.Option(help="What is proven of each neuron, from nothing to all codes and steps."),
    ] = "scale",
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: NAME.quantized.onnx, here).")
    ] = None,
    certificates: Annotated[
        Path | None, typer.Option(help="New folder for the layers' certificates (default: none).")
    ] = None,
    group: Annotated[
        Literal["neuron", "layer"], typer.Option(help="What gets a width of its own.")
    ] = "neuron",
    activation_bits: Annotated[int, typer.Option(help="Bits of layers' inputs: 8 or 4.")] = 8,
    tune: Annotated[
        Literal["bias", "statistics", "both", "none"],
        typer.Option(help="What is fitted after the codes."),
    ] = "bias",
    damp: Annotated[
        str, typer.Option(help="Damping, a share of the mean variance; or auto.")
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of the rows held out and drawn.")] = 0,
) -> None:
    """Quantize a trained network within a budget, and prove how good each layer is."""
    from rich.console import Console
    from threadpoolctl import threadpool_limits

    from pipeline.datasets.numbers import read_rows
    from qnn.quantization.graph.reading import read_model
    from qnn.quantization.options import shaped_rows
    from qnn.quantization.runtime import check_in_runtime, require_onnxruntime

    target = out or Path(f"{model.stem}.quantized.onnx")
    refuse_file(target, {"the float network": model, "the calibration rows' file": calibration})
    if certificates is not None and certify == "none":
        raise InputError("--certificates: nothing is proven with --certify none")
    refuse_folder(certificates, target)
    options: dict[str, Any] = {
        "budget": budget,
        "bits": _widths(bits),
        "method": method,
        "certify": certify,
        "group": group,
        "activation_bits": activation_bits,
        "tune": tune,
        "damp": _damping(damp),
        "seed": seed,
    }
    graph = read_model(model)
    require_onnxruntime()
    rows = shaped_rows(read_rows(calibration), graph.shape)
    # Neurons are worked on side by side: BLAS's own threads would only wait for one another.
    with threadpool_limits(1, user_api="blas"):
        made = _quantized(model, rows, options, Console(stderr=True))
        off = check_in_runtime(made, rows)
        print(made.report())
        print(f"onnxruntime runs it; farthest from our arithmetic: {off:.1e} of the largest output")
        _write(made, target, certificates)


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--bits: must be whole numbers from 2 to 8, or 0, with commas between (got {text!r})"
        ) from None


def _damping(text: str) -> float | str:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise InputError(f"--damp: must be auto or a number from 0 (got {text!r})") from None


def _quantized(model: Any, rows: Any, options: dict[str, Any], console: Console) -> Quantized:
    """The quantized network, the layer at work and a bar on the console; else lines."""
    from rich.progress import Progress

    from qnn.quantization import quantize as quantize_model

    said = [("", 0.0)]

    def write(what: str, share: float) -> None:
        if what != said[-1][0] or share >= said[-1][1] + _APART:
            said.append((what, share))
            console.print(f"{share:4.0%} {what}", highlight=False, soft_wrap=True)

    if not console.is_terminal:
        return quantize_model(model, rows, progress=write, **options)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)

        def say(what: str, share: float) -> None:
            progress.update(task, description=what, completed=share)

        return quantize_model(model, rows, progress=say, **options)


def _write(made: Quantized, target: Path, certificates: Path | None) -> None:
    """The model and its certificates, each proven from its file first; both or neither."""
    from qnn.certificates.layers import verify_layer_file

    with new_folder(certificates) as place:
        if place is not None:
            for path in made.save_certificates(place):
                verify_layer_file(path)
        made.save(target)
    if certificates is not None:
        print(f"{len(made.certificates)} certificates, each proven, in {certificates}")
    print(target)
