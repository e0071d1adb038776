#!/bin/sh
# Installs what the independent readers need, beside them: a Python with cryptography and zstandard, fzstd for Node, aircompressor for Java.
set -eu
cd "$(dirname "$0")"
[ -x venv/bin/python ] || python3 -m venv venv
venv/bin/python -m pip install --quiet cryptography==48.0.0 zstandard==0.25.0
npm install --silent --no-audit --no-fund --no-package-lock
[ -f lib/aircompressor-2.0.3.jar ] ||
	mvn --quiet --batch-mode dependency:copy -Dartifact=io.airlift:aircompressor:2.0.3 -DoutputDirectory="$PWD/lib"
