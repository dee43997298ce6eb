"""Finds the modules of the chart's tests, which know the chart and how to run it as processes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chart"))
