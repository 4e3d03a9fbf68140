#!/usr/bin/env bash
# sdist and wheel of what git has here, into dist/: the page is in both, and both are tried where a user would.
#
#   .ci/make_release.sh [PYTHON]        (`make release` calls it)
#
# | step | must hold |
# |---|---|
# | a copy of the files that git knows | nothing else gets in; the page is built anew, by npm |
# | sdist, then the wheel out of the sdist | so the sdist is whole, and needs no npm |
# | what is in the wheel | the version of pyproject.toml, which CHANGELOG.md has a heading for |
# | check_wheel.sh | bare environments, an app's and a server's |
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${1:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "release: $*" >&2
    exit 1
}

[[ -z $(git status --porcelain) ]] || fail "there are changes that are not committed: git status"
command -v npm >/dev/null || fail "no npm: a release carries the page; install Node.js 20 or later"
git ls-files -z | (cd "$root" && xargs -0 cp --parents -t "$work")
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
grep -q "^## \[$version\]" CHANGELOG.md || fail "CHANGELOG.md has no heading [$version]"

"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet build
rm -rf dist
# `build` makes the wheel out of the sdist.
(cd "$work" && TAILTRACE_BUILD_PAGE=require venv/bin/python -m build --outdir "$root/dist" . >"$work/log" 2>&1) ||
    { tail -20 "$work/log" >&2; fail "it could not be built"; }
for name in "tailtrace-$version.tar.gz" "tailtrace-$version-py3-none-any.whl"; do
    [[ -f dist/$name ]] || fail "no dist/$name"
done
packed=$(tar -tzf "dist/tailtrace-$version.tar.gz")
grep -q '/api/tailtrace_api/static/index.html$' <<<"$packed" || fail "the sdist lacks the page"
if grep -q 'node_modules' <<<"$packed"; then fail "the sdist has node_modules"; fi
.ci/check_wheel.sh "$python" "dist/tailtrace-$version-py3-none-any.whl"
ls -l dist
