#!/usr/bin/env bash
# Checks the dashboards: in step with their generator, complete, parsable, naming metrics that exist.
set -euo pipefail
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1
python3 generate.py --check
python3 queries.py
