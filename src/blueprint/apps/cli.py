"""The command line. Every command is a few lines over the library; heavy imports wait until one is called.

Exit codes: 0 everything asked for exists and holds; 1 it does not, with a message and a hint; 2 usage.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from blueprint.core.run import Given

_EPILOG = """\
examples:
  blueprint demo                                                    a made-up table, the whole job
  blueprint run mycapture --scene out/table --simulator mujoco      the whole job on your table
  blueprint run mycapture --scene out/table --simulator mujoco --until simscene
  blueprint why out/table physics                                   why a stage would run again

Run the same command again after a crash or a changed setting: only what is missing or touched is done.
"""
_DEMO_EPISODES = 8  # enough to show every object, few enough for two minutes on two cores


def main(argv: Sequence[str] | None = None) -> int:
    # One BLAS thread: results must not depend on the number of cores, and stages fork a process per core.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    from blueprint.apps.console import print_error
    from blueprint.core.errors import BlueprintError

    try:
        return arguments.command(arguments)
    except BlueprintError as error:
        if arguments.debug:
            raise
        print_error(error.message, error.hint)
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a folder that cannot be written, a full disk
        if arguments.debug:
            raise
        print_error(str(error), "check that the path exists, that you may write there and that the disk has room")
    except KeyboardInterrupt:
        print_error("stopped", "run the same command again: finished work is kept")
    return 1


def _interrupt(number: int, frame: object) -> NoReturn:
    """SIGTERM ends like ctrl-C does: children stopped, terminal restored."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="blueprint",
        description="Capture a real scene; get a simulator of it and certified robot training data.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--version", action="store_true", help="show the version")
    parser.set_defaults(command=lambda arguments: _version() if arguments.version else parser.print_help() or 2)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_running(commands)
    _add_reading(commands)
    _add_trust(commands)
    _add_robots(commands)
    return parser


def _add_robots(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    robots = commands.add_parser("robots", help="list robots, show, install or add one").add_subparsers(
        metavar="ACTION", dest="action", required=True
    )
    listed = _add(robots, "list", _robots, "robots there are, and whether they are installed")
    show = _add(robots, "show", _robots, "a robot's sheet: joints, limits and their sources")
    install = _add(robots, "install", _robots, "fetch a robot's description")
    add = _add(robots, "add", _robots, "an arm with a gripper of your own: inspected, measured, tried")
    for parser in (show, install):
        parser.add_argument("name")
    add.add_argument("file", type=Path, help="MJCF or URDF")
    for option, text in (("name", "short name"), ("title", "full name"), ("arm", "body at which the arm begins")):
        add.add_argument(f"--{option}", default="", help=text)
    for parser in (listed, show, install, add):
        parser.add_argument("--json", action="store_true", help="as JSON")


def _add_running(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = _add(commands, "demo", _demo, "the whole job on a procedural capture with sensor noise")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="scene directory [out/demo]")
    run = _add(commands, "run", _run, "from a capture to a certified dataset")
    run.add_argument("capture", type=Path, help="folder, zip or file: pictures, or a USD, GLB, URDF or MJCF scene")
    run.add_argument("--scene", type=Path, required=True, metavar="DIR", help="where all goes; run again to resume")
    run.add_argument("--simulator", metavar="NAME", help="what simulates and renders (mujoco); never chosen for you")
    run.add_argument("--fill-gaps", action="store_true", help="as many episodes again, as the report's gaps advise")
    for parser in (demo, run):
        parser.add_argument("--until", metavar="STAGE", help="stop after this stage")
        parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting")
        parser.add_argument("--seed", type=int, metavar="N", help="seed of every stage [0]")
        parser.add_argument(
            "--config", type=Path, metavar="FILE", help="settings [DIR/blueprint.toml, ./blueprint.toml]"
        )


def _add_reading(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from blueprint.verify import DEFAULT_POLICY, POLICIES

    edit = _add(commands, "edit", _edit, "correct what was found, on a local web page")
    edit.add_argument("--port", type=int, default=8642, help="of the page, on this machine only [8642]")
    serve = _add(commands, "serve", _serve, "offer reconstructors to other machines over HTTP")
    serve.add_argument("reconstructors", nargs="+", metavar="NAME", help="reconstructors to offer, e.g. rgbd")
    serve.add_argument("--folder", type=Path, required=True, help="where jobs live; they survive a restart")
    serve.add_argument("--terms", default="the operator's own machine", help="terms of use of the results")
    serve.add_argument("--non-commercial", action="store_true", help="the terms forbid commercial use")
    stream = _add(commands, "stream", _stream, "serve episodes to training processes while they are made")
    for parser, port, name in ((serve, 8790, "SERVICE"), (stream, 8791, "STREAM")):
        parser.add_argument("--host", default="127.0.0.1", help=f"beyond here only with BLUEPRINT_{name}_TOKEN set")
        parser.add_argument("--port", type=int, default=port)
    stream.add_argument("--policy", default=DEFAULT_POLICY, choices=list(POLICIES), help=f"[{DEFAULT_POLICY}]")
    status = _add(commands, "status", _status, "what is done and what is not")
    why = _add(commands, "why", _why, "why a stage would run again, why it ran last")
    check = _add(commands, "check", _check, "look at every hash and format of a scene, or at anybody's LeRobot dataset")
    replay = _add(commands, "replay", _replay, "run an episode again from its actions: equal states, a success again?")
    report = _add(commands, "report", _report, "path of the report")
    doctor = _add(commands, "doctor", _doctor, "what can run on this machine")
    hero = _add(commands, "hero", _hero, "a path-traced picture or clip of an episode, by Blender")
    hero.add_argument("--episode", type=int, metavar="N", help="[the first with states]")
    hero.add_argument("--frame", type=int, metavar="N", help="picture of this one [the middle], clip from here on [0]")
    for name, value in (("frames", 30), ("width", 960), ("height", 540)):
        hero.add_argument(f"--{name}", type=int, default=value, metavar="N", help=f"[{value}]")
    hero.add_argument("--samples", type=int, default=2, metavar="N", help="per pixel and axis: 1 quick, 4 fine [2]")
    hero.add_argument("--camera", metavar="NAME", help="of the workcell [one that has robot and objects in view]")
    hero.add_argument("--eye", type=float, nargs=3, metavar=("X", "Y", "Z"), help="where that one stands, roughly [m]")
    hero.add_argument("--out", type=Path, default=Path("hero.png"), metavar="FILE", help=".png or .mp4 [hero.png]")
    for parser in (edit, stream, status, why, check, replay, report, hero):
        parser.add_argument("scene", type=Path, metavar="DIR")
    replay.add_argument("episode", type=int, metavar="N", help="DIR may be a dataset, too")
    why.add_argument("stage", metavar="STAGE")
    for parser in (status, why):
        parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="what if?")
    for parser in (status, why, check, replay, report, doctor, hero):
        parser.add_argument("--json", action="store_true", help="as JSON")


def _add_trust(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from blueprint.formats.exports import EXPORTS
    from blueprint.verify import DEFAULT_POLICY, POLICIES

    verified = _add(commands, "verify", _verify, "is a dataset what its signed certificate says, and fit for release?")
    deliver = _add(commands, "deliver", _deliver, "hand a dataset over: verified, refused by policy, resumable")
    deliver.add_argument("--to", required=True, metavar="TARGET", help="folder, s3://..., gs://... or hf://...")
    deliver.add_argument("--webhook", metavar="URL", help="tell it (Standard Webhooks, BLUEPRINT_WEBHOOK_SECRET)")
    convert = _add(commands, "convert", _convert, "anybody's LeRobot dataset in another format, in a new folder")
    convert.add_argument("--to", required=True, choices=["v2.1", "v3.0", "groot", *EXPORTS])
    imported = _add(commands, "import-dataset", _import_dataset, "certify anybody's LeRobot dataset, for development")
    for parser in (verified, deliver, convert, imported):
        parser.add_argument("dataset", type=Path, metavar="DATASET", help="e.g. DIR/outputs/dataset")
        parser.add_argument("--json", action="store_true", help="as JSON")
        parser.add_argument("--key", type=Path, action="append", metavar="FILE", help="public key to trust [your own]")
    verified.add_argument("--episode", type=int, metavar="N", help="show what is certified of this one")
    for parser in (convert, imported):
        parser.add_argument("out", type=Path, metavar="OUT", help="a folder that does not exist")
    for name, text in (("sensor-source", "what made the pictures"), ("licence", "SPDX identifier, or words")):
        imported.add_argument(f"--{name}", required=True, metavar="TEXT", help=text)
    imported.add_argument("--origin", default="", metavar="TEXT", help="where it comes from")
    for parser in (verified, deliver):
        parser.add_argument("--policy", default=DEFAULT_POLICY, choices=list(POLICIES), help=f"[{DEFAULT_POLICY}]")
    keys = commands.add_parser("keys", help="make a signing key, show the public one").add_subparsers(
        metavar="ACTION", required=True
    )
    _add(keys, "new", _keys_new, "make a key pair FILE and FILE.pub").add_argument("file", type=Path, metavar="FILE")
    _add(keys, "show", _keys_show, "the public key that others need to verify your data")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    # SUPPRESS: else the subcommand's default would undo `blueprint --debug COMMAND`
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show an error's traceback")
    parser.set_defaults(command=command)
    return parser


def _version() -> int:
    from importlib import metadata

    print(f"blueprint {metadata.version('blueprint-pipeline')}")
    return 0


# ------------------------------------------------------------------ running


def _demo(arguments: argparse.Namespace) -> int:
    from blueprint.apps.console import on_terminal
    from blueprint.apps.demo import make_capture

    with on_terminal():
        arguments.capture = make_capture(arguments.out / "capture", arguments.seed or 0)
    arguments.scene, arguments.simulator = arguments.out, "mujoco"
    arguments.set = [f"episodes.count={_DEMO_EPISODES}", *arguments.set]
    return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    from blueprint.apps import gaps, settled
    from blueprint.apps.source import source_of
    from blueprint.core.store import Scene

    sets = list(arguments.set)
    if arguments.simulator:
        sets.append(f"run.simulator={arguments.simulator}")
    if arguments.seed is not None:
        sets.append(f"run.seed={arguments.seed}")
    given = source_of(arguments.capture)
    if getattr(arguments, "fill_gaps", False):
        sets += gaps.settings_of(arguments.scene, sets)
    same = settled.fingerprint(given.digest, sets, arguments.until, arguments.scene, arguments.config)
    before = settled.recall(Scene(arguments.scene), same)
    outputs = before[1] if before else _work(arguments, given, sets, same)
    if before:
        print(f"nothing to do: {', '.join(receipt.stage for receipt in before[0])} unchanged", file=sys.stderr)
    for path in outputs:
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return 0


def _work(arguments: argparse.Namespace, given: Given, sets: Sequence[str], same: str) -> list[Path]:
    from blueprint.apps import session
    from blueprint.apps.console import on_terminal

    with on_terminal():
        job = session.open_job(given, arguments.scene, sets=sets, config=arguments.config)
        request = session.request_of(job, sets, arguments.config)
        return session.run_and_publish(job, request, arguments.until, same)


def _edit(arguments: argparse.Namespace) -> int:
    from blueprint.apps import edit

    print(f"http://127.0.0.1:{arguments.port}/   (ctrl-C ends it; the edits stay in {arguments.scene}/edits.json)")
    edit.serve(arguments.scene, arguments.port)
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from blueprint.apps.serving.service import ServiceOptions, serve

    token = os.environ.get("BLUEPRINT_SERVICE_TOKEN", "")
    options = ServiceOptions(arguments.folder, token, terms=arguments.terms, commercial=not arguments.non_commercial)
    serve(arguments.reconstructors, arguments.host, arguments.port, options)
    return 0


def _stream(arguments: argparse.Namespace) -> int:
    from blueprint.apps.serving import stream

    print(f"http://{arguments.host}:{arguments.port}{stream.PREFIX}/stream   (ctrl-C ends it)", flush=True)
    stream.serve(arguments.scene, arguments.host, arguments.port, arguments.policy)
    return 0


# ------------------------------------------------------------------ reading


def _status(arguments: argparse.Namespace) -> int:
    from blueprint.apps import reading

    return _show(arguments, reading.status(arguments.scene, arguments.set), reading.status_text)


def _why(arguments: argparse.Namespace) -> int:
    from blueprint.apps import reading

    return _show(arguments, reading.why(arguments.scene, arguments.stage, arguments.set), reading.why_text)


def _check(arguments: argparse.Namespace) -> int:
    from blueprint.apps import check

    return _show(arguments, check.check(arguments.scene), check.text)


def _replay(arguments: argparse.Namespace) -> int:
    from blueprint.apps import replay

    return _show(arguments, replay.replay(arguments.scene, arguments.episode), replay.text)


def _report(arguments: argparse.Namespace) -> int:
    from blueprint.apps import reading

    return _show(arguments, reading.report(arguments.scene), lambda value: value["report"])


def _doctor(arguments: argparse.Namespace) -> int:
    from blueprint.apps import doctor

    return _show(arguments, doctor.examine(), doctor.text)


def _hero(arguments: argparse.Namespace) -> int:
    from blueprint.apps import hero
    from blueprint.apps.console import on_terminal

    with on_terminal():
        made = hero.draw(arguments, hero.RendererHero())
    return _show(arguments, made, lambda value: value["file"])


def _verify(arguments: argparse.Namespace) -> int:
    from blueprint.apps.release import signing

    value = signing.examined(arguments.dataset, arguments.key, arguments.policy, arguments.episode)
    return int(not value["verified"]) + _show(arguments, value, signing.text)


def _deliver(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from blueprint.apps.console import on_terminal
    from blueprint.apps.release import delivery, signing, webhook

    with on_terminal():
        keys = signing.trusted_keys(arguments.key)
        done = delivery.deliver(arguments.dataset, arguments.to, arguments.policy, keys, audit=delivery.audit_file())
        if arguments.webhook:
            webhook.tell(arguments.webhook, "dataset.delivered", asdict(done))
    return _show(arguments, asdict(done), delivery.text)


def _convert(arguments: argparse.Namespace) -> int:
    from blueprint.apps.console import on_terminal
    from blueprint.apps.release import convert

    with on_terminal():
        made = convert.convert_dataset(arguments.dataset, arguments.out, arguments.to, arguments.key)
    return _show(arguments, made, convert.text)


def _import_dataset(arguments: argparse.Namespace) -> int:
    from blueprint.apps.console import on_terminal
    from blueprint.apps.release import importing

    said = importing.Stated(arguments.sensor_source, arguments.licence, arguments.origin)
    with on_terminal():
        made = importing.import_dataset(arguments.dataset, arguments.out, said, arguments.key)
    return _show(arguments, made, importing.text)


def _keys_new(arguments: argparse.Namespace) -> int:
    from blueprint.backends.signer_file import create_key

    create_key(arguments.file)
    print(f"{arguments.file} (keep it secret)\n{arguments.file.with_suffix('.pub')} (give it away)")
    return 0


def _keys_show(arguments: argparse.Namespace) -> int:
    from blueprint.apps.release import signing

    print(signing.public_pem(signing.chosen_signer()), end="")
    return 0


def _robots(arguments: argparse.Namespace) -> int:
    from blueprint.apps import robots

    return _show(arguments, *robots.answer(arguments))


def _show(arguments: argparse.Namespace, value: dict[str, object], text: Callable[[dict], str]) -> int:
    """Print it. Returns the exit code: 1 if it says `ok: false`."""
    if arguments.json:
        import json

        print(json.dumps(value, indent=1))
    else:
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(text(value))
    return 0 if value.get("ok", True) else 1


if __name__ == "__main__":
    sys.exit(main())
