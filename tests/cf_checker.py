"""What the offline CF-1.11 checker of IOOS says about a file."""

import json
from pathlib import Path

from compliance_checker.runner import CheckSuite, ComplianceChecker

# It takes an ensemble axis for one in space, and wants it among the dimensions of a mean over it.
WRONG = ("not in the recommended order", "name component realization does not match")


def cf_complaints(path: Path) -> list[str]:
    """Its messages, but for its views on ensembles."""
    CheckSuite.load_all_available_checkers()
    report = path.with_suffix(".json")
    ComplianceChecker.run_checker(
        str(path), ["cf:1.11"], 0, "strict", output_filename=str(report), output_format="json"
    )
    (result,) = json.loads(report.read_text()).values()
    found = result["high_priorities"] + result["medium_priorities"] + result["low_priorities"]
    failed = [check for check in found if check["value"][0] < check["value"][1]]
    messages = [message for check in failed for message in check["msgs"]]
    return [m for m in messages if not any(wrong in m for wrong in WRONG)]
