#!/bin/sh
# Fail, naming it, if something is missing that a deployment needs.
set -eu
stvd --help > /dev/null
weed version > /dev/null
python - <<'PYTHON'
import importlib.util
import sys

needed = """asyncpg boto3 flask_wtf flows.serve icechunk mlflow prefect prefect_kubernetes psycopg2
    s3fs tasks.partition torch""".split()
missing = [name for name in needed if importlib.util.find_spec(name) is None]
sys.exit(f"missing: {', '.join(missing)}" if missing else 0)
PYTHON
python -m pip check
