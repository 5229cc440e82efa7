"""Makes `toy_product` importable as the tests' neighbour."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
