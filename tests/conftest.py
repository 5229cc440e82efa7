"""Puts this folder on the import path: tests share `toys`, `toy_episodes` and `toy_whole`."""

import os
import tempfile
from pathlib import Path

# As the command line does: OpenMP's threads do not survive a fork, and results must not depend on the number of cores.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is first imported, by whichever test comes first

# a test must neither find nor leave anything in the user's cache; xdist's workers share this one
os.environ.setdefault("BLUEPRINT_CACHE", tempfile.mkdtemp(prefix="blueprint-test-cache-"))

from blueprint.backends.signer_file import create_key  # noqa: E402 - after the variables above
from toy_signed import signed, signer  # noqa: E402, F401 - fixtures

# nor sign with the user's key: each process makes one of its own
_KEYS = tempfile.TemporaryDirectory(prefix="blueprint-test-keys-")
create_key(Path(_KEYS.name, "signing.pem"))
os.environ["BLUEPRINT_SIGNING_KEY"] = str(Path(_KEYS.name, "signing.pem"))
