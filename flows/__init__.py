"""Prefect flows: what runs, when and with which parameters.

Importing this package says to Prefect and MLflow where to keep their records (`flows.settings`),
which they read once, when they are imported.
"""

from flows.settings import Settings
from flows.stack import connect

connect(Settings())
