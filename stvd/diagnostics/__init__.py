"""What a product says about rain: years, extremes, realism, skill, and figures of them.

`diagnose` computes everything at once and `write` puts it into a folder; the modules serve alone.
"""

from stvd.diagnostics.diagnosis import Diagnosis
from stvd.diagnostics.files import Files, write
from stvd.diagnostics.report import diagnose

__all__ = ["Diagnosis", "Files", "diagnose", "write"]
