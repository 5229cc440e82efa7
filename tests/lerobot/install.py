"""Make the environment of the real lerobot beside the project's own: python install.py VENV LOCK

Everything is installed without dependencies from the pinned list, because lerobot 0.4.4's own pins would pull a CUDA
torch (gigabytes). So torch must come from an index that serves CPU builds; when pip's settings know none, say so and
stop before anything large is downloaded.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import venv
from pathlib import Path

HINT = """no CPU build of {torch} for Python {python} on {system}: pip would install {found}
  hint: give pip an index with CPU builds of torch (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS), then run this again"""


def main(folder: Path, lock: Path) -> int:
    pins = lock.read_text()
    torch = re.search(r"^torch==\S+", pins, re.MULTILINE)
    assert torch, f"{lock} does not pin torch"
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    found = found_version(pip, torch[0])
    if platform.system() == "Linux" and not found.endswith("+cpu"):
        system = f"{platform.system()} {platform.machine()}"
        print(HINT.format(torch=torch[0], python=platform.python_version(), system=system, found=found))
        return 1
    subprocess.run([*pip, "install", "--no-deps", "-r", str(lock)], check=True)
    (folder / ".ready").touch()
    return 0


def found_version(pip: list[str], requirement: str) -> str:
    """What pip would install, or why it would not."""
    command = [*pip, "install", "--dry-run", "--no-deps", "--ignore-installed", "--report", "-", requirement]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode:
        return "nothing (" + " ".join(asked.stderr.split())[-300:] + ")"
    return json.loads(asked.stdout)["install"][0]["metadata"]["version"]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
