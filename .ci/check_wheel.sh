#!/usr/bin/env bash
# Build the wheel and try it where a user would: in bare environments, outside the clone.
#
#   .ci/check_wheel.sh [PYTHON [WHEEL]]         WHEEL: one that is built already
#
# It is installed as README.md says under "Install", word for word, with the wheel in the clone's place.
#
# | environment | must hold |
# |---|---|
# | without extras | `tailtrace.instrument` imports; no server part came along; `tailtrace` names the extra to install |
# | with `[server]` | `tailtrace import --json` counts every line once: lines = stored + duplicate + refused; `--month` makes a page, `--pdf` names its extra |
# | the same | the page that `make web` built is there, with all that it loads |
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
samples=$PWD/tests/samples
readme=$PWD/README.md
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "wheel: $*" >&2
    exit 1
}

# install ENVIRONMENT WHAT: run README's line that installs it.
install() {
    local line
    line=$(sed -n '/^## Install$/,/^## /p' "$readme" | sed -n "s/^\(pip install \('$2'\|$2\)\) .*/\1/p")
    [[ -n $line ]] || fail "README.md, Install: no line is \`pip install $2\`"
    PATH=$PWD/$1/bin:$PATH PIP_QUIET=1 bash -euc "${line//CLONE/$wheel}"
}

"$python" -m venv "$work/bare"
if [[ -n ${2:-} ]]; then
    wheel=$(realpath "$2")
else
    rm -rf dist build
    "$work/bare/bin/pip" wheel --quiet --no-deps --wheel-dir dist .
    wheel=$(echo "$PWD"/dist/tailtrace-*.whl)
fi
[[ -f $wheel ]] || fail "no wheel in dist/, or more than one"

cd "$work"
echo "wheel: $(basename "$wheel") without extras"
install bare CLONE
bare/bin/python - <<'PYTHON'
from importlib.util import find_spec

import tailtrace

if not callable(tailtrace.instrument):
    raise SystemExit("wheel: tailtrace.instrument is not callable")
if found := [name for name in ("uvicorn", "typer", "rich", "pydantic_settings", "xxhash") if find_spec(name)]:
    raise SystemExit(f"wheel: an app that only wants tracing gets {', '.join(found)} too")
PYTHON
status=0
said=$(bare/bin/tailtrace --help 2>&1) || status=$?
[[ $status != 0 && $said == *"tailtrace[server]"* && $said != *Traceback* ]] ||
    fail "without extras, \`tailtrace\` must fail and name tailtrace[server]; exit status $status, it said: $said"

echo "wheel: $(basename "$wheel") with [server]"
"$python" -m venv "$work/server"
install server 'CLONE\[server\]'
export TAILTRACE_STORE="sqlite:$work/check.db"
for run in first second; do
    server/bin/tailtrace import --json --max-rejected 50 "$samples"/*.log >"$run.json" </dev/null
done
server/bin/python - first.json second.json <<'PYTHON'
import json
import sys
from pathlib import Path

first, second = (json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:])
for counts in (first, second):
    if counts["lines"] != counts["stored"] + counts["duplicate"] + counts["refused"]:
        raise SystemExit(f"wheel: lines are lost: {counts}")
    if counts["refused"] != sum(counts["refused_by_reason"].values()):
        raise SystemExit(f"wheel: refusals without a reason: {counts}")
if not first["stored"]:
    raise SystemExit(f"wheel: the samples stored nothing: {first}")
if second["stored"] or second["lines"] != first["lines"]:
    raise SystemExit(f"wheel: a second import must change nothing: {second}")
print("wheel: import", json.dumps(first))
PYTHON
# The page, where it can be built. (A wheel without it still gives the answers, and says what is missing.)
if command -v npm >/dev/null; then
    server/bin/python - <<'PYTHON'
from pathlib import Path

import tailtrace_api

static = Path(tailtrace_api.__file__).with_name("static")
page = static / "index.html"
if not page.is_file():
    raise SystemExit("wheel: the page is not in it: `make web` before the wheel is built")
names = [part.partition('"')[0] for part in page.read_text(encoding="utf-8").split('"/static/')[1:]]
names += [f"js/components/{name}.js" for name in ("analytics-widget", "card-views")]
if missing := [name for name in names for end in ("", ".gz") if not (static / f"{name}{end}").is_file()]:
    raise SystemExit(f"wheel: the page loads what is not in it: {', '.join(missing)}")
print("wheel: the page and", len(names), "files of it")
PYTHON
fi
server/bin/tailtrace report --json </dev/null >report.json
server/bin/python -m json.tool report.json >/dev/null
server/bin/tailtrace report --month 2025-10 --html month.html </dev/null
grep -q "Content-Security-Policy" month.html || fail "the monthly report is no page"
status=0
said=$(server/bin/tailtrace report --month 2025-10 --pdf month.pdf 2>&1 </dev/null) || status=$?
[[ $status == 1 && $said == *"tailtrace[pdf]"* && $said != *Traceback* ]] ||
    fail "without the extra, --pdf must fail and name tailtrace[pdf]; exit status $status, it said: $said"
echo "wheel: good"
