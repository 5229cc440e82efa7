# A native module whose generated types are incomplete.
from typing import Any

def __getattr__(name: str) -> Any: ...
