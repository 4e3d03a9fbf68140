#!/usr/bin/env bash
# A server out of the Go module proxy, for the tests: FOLDER/NAME for each PACKAGE. Minutes, once.
#
#   tests/stack/build_go.sh MODULE@VERSION FOLDER PACKAGE... [-- FLAGS OF go build...]
#
# `go install MODULE@VERSION` refuses a module whose go.mod has `replace`, and one whose list of versions is not served.
# So the module is downloaded by its exact version and built in a copy: the module cache is read-only.
set -euo pipefail

module=${1:?usage: $0 MODULE@VERSION FOLDER PACKAGE... [-- FLAGS]}
mkdir -p "${2:?usage: $0 MODULE@VERSION FOLDER PACKAGE... [-- FLAGS]}"
folder=$(realpath "$2")
shift 2
packages=()
while (($#)) && [[ $1 != -- ]]; do packages+=("$1"); shift; done
shift || true

command -v go >/dev/null || { echo "$0: no go: install Go 1.26 or later (https://go.dev/dl)" >&2; exit 1; }

# From `/`, where no go.mod has a say.
source=$(cd / && go mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
[[ -n $source ]] || { echo "$0: the Go module proxy does not serve $module" >&2; exit 1; }
rm -rf "$folder/source"
cp -r "$source" "$folder/source"
chmod -R u+w "$folder/source"
cd "$folder/source"
for package in "${packages[@]}"; do
    # Built beside its place and then moved: a build cut short leaves no half a server.
    go build -buildvcs=false -ldflags '-s -w' "$@" -o "$folder/new" "$package"
    mv "$folder/new" "$folder/$(basename "$package")"
done
rm -rf "$folder/source"
