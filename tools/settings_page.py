"""Write docs/settings.md from the Config classes, so that the page cannot go stale: python tools/settings_page.py"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from blueprint.core.artifact import Model
from blueprint.core.settings import ENVIRONMENT, RunSettings
from blueprint.pipeline import STAGES

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

HEAD = """\
# Settings

Made from the code by `python tools/settings_page.py`; a test holds it current.

Settings come from, later wins: the defaults below, `blueprint.toml` (of the scene, or of the working directory, or
`--config FILE`), environment variables, `--set section.key=value`. Unknown names are errors. A changed setting reruns
the stages that depend on it and no others.

```toml
[run]
simulator = "mujoco"

[episodes]
seed = 3
```
"""


def page() -> str:
    """The whole page as Markdown."""
    variables = "\n".join(f"| `{name}` | `{setting}` |" for name, setting in sorted(ENVIRONMENT.items()))
    parts = [HEAD, f"| environment variable | setting |\n|---|---|\n{variables}\n", section("run", RunSettings)]
    parts += [section(stage.name, stage.config[1]) for stage in STAGES if stage.config]
    return "\n".join(parts)


def section(name: str, config: type[Model]) -> str:
    """One section: what its class says, and a row per setting."""
    text = inspect.cleandoc(config.__doc__ or "")
    rows = [row(key, field) for key, field in config.model_fields.items()]
    table = "\n".join(["| setting | default | type |", "|---|---|---|", *rows])
    return f"## [{name}]\n\n{text}\n\n{table}\n"


def row(key: str, field: Any) -> str:
    kind = re.sub(r"typing\.|<class '|'>|(?:\w+\.)+(?=[A-Z])", "", str(field.annotation))
    bounds = [
        f"{sign} {getattr(rule, name):g}" for rule in field.metadata for name, sign in SIGNS if hasattr(rule, name)
    ]
    return f"| `{key}` | `{field.default!r}` | {' '.join([kind.replace('|', 'or'), *bounds])} |"


SIGNS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))

if __name__ == "__main__":
    PAGE.write_text(page())
