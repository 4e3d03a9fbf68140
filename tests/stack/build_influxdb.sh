#!/usr/bin/env bash
# InfluxDB out of the Go and Rust registries, for the tests: FOLDER/influxd. 3 minutes, once.
#
#   tests/stack/build_influxdb.sh FOLDER        2.7 (`make influxdb` calls it)
#   tests/stack/build_influxdb.sh FOLDER 1      1.13 (`make influxdb1`)
#
# Needs Go, Rust, a C compiler and pkg-config. What is not obvious:
#
# | fact | so |
# |---|---|
# | the query language, Flux, is a Rust library that influxd links to | it is built first, and told of through pkg-config |
# | Go's module cache is read-only, and cargo writes beside its sources | Flux is built in a copy |
# | Flux pins an old Rust that need not be installed, and denies warnings, which newer ones have more of | the installed Rust, lints capped |
# | without `assets` among the tags there is no web page | none is needed; the HTTP API is whole |
set -euo pipefail

# With the Flux that its go.mod names.
if [[ ${2:-2} == 1 ]]; then
    MODULE=github.com/influxdata/influxdb VERSION=v1.13.2 FLUX=v0.200.0
else
    MODULE=github.com/influxdata/influxdb/v2 VERSION=v2.7.12 FLUX=v0.196.1
fi

mkdir -p "${1:?usage: $0 FOLDER [1]}"
folder=$(realpath "$1")

for program in go cargo pkg-config cc; do
    command -v "$program" >/dev/null || { echo "$0: no $program: install Go, Rust, pkg-config and gcc" >&2; exit 1; }
done

# Where the Go proxy's copy of a module is, once fetched. From `/`, where no go.mod has a say.
module() { (cd / && go mod download -json "$1") | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'; }

flux=$folder/flux
library=$flux/libflux/target/release/libflux.a
if [[ ! -e $library ]]; then
    rm -rf "$flux"
    cp -r "$(module github.com/influxdata/flux@$FLUX)" "$flux"
    chmod -R u+w "$flux"
    (cd "$flux/libflux" && RUSTUP_TOOLCHAIN=stable RUSTFLAGS='--cap-lints warn' cargo build --locked --release -p flux)
fi
cat >"$flux/flux.pc" <<PC
Name: Flux
Description: libflux
Version: ${FLUX#v}
Libs: $library -ldl -lm
Cflags: -I$flux/libflux/include
PC

# A copy: 1.13 writes to its go.sum.
rm -rf "$folder/source"
cp -r "$(module $MODULE@$VERSION)" "$folder/source"
chmod -R u+w "$folder/source"
cd "$folder/source"
# Built beside its place and then moved: a build cut short leaves no half influxd.
PKG_CONFIG_PATH=$flux CGO_ENABLED=1 go build -tags sqlite_foreign_keys,sqlite_json \
    -ldflags "-s -w -X main.version=$VERSION" -o "$folder/influxd.new" ./cmd/influxd
mv "$folder/influxd.new" "$folder/influxd"
# 0.5 GB that only a second build would use.
cd /
rm -rf "$flux" "$folder/source"
