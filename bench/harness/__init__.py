"""What the benchmarks share."""

import sys
from pathlib import Path

# Installations are made as the tests make them.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
