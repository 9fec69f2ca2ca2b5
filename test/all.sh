#!/bin/bash
# npm test: installs what is missing, then the gate and the end-to-end tests on real Docker; "N passed, N failed" last.
set -u
cd "$(dirname "$0")/.."
fail() { echo "$*"; echo "0 passed, 1 failed"; exit 1; }
if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
  npm ci --no-audit --no-fund || fail "npm ci failed"
fi
bash manifests/demo/docker.sh ensure || fail "no Docker engine to be had"
npm run -s build || fail "the type check failed"
npm run -s lint || fail "the linter found something"
exec node dist/test/run.js --all
