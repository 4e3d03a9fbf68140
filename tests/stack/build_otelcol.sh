#!/usr/bin/env bash
# The OpenTelemetry collector of the tests, out of the Go module proxy: FOLDER/otelcol. 3 minutes, once.
#
#   tests/stack/build_otelcol.sh FOLDER         (`make collector` calls it)
#
# All of it is 0.160.0, as in docker-compose.yml, but the exporter `influxdb`: the newest of it that the proxy serves is
# 0.150.0. There `confighttp.ClientConfig` is embedded, and that of 0.160.0 brings an `Unmarshal` along which would read
# the exporter's own settings (organization, bucket, queue) as none at all, without a word. So its copy gets what
# 0.160.0's other exporters have in that place, a field with a name; nothing else in it is touched.
set -euo pipefail

EXPORTER=github.com/open-telemetry/opentelemetry-collector-contrib/exporter/influxdbexporter@v0.150.0
BUILDER=go.opentelemetry.io/collector/cmd/builder@v0.160.0

mkdir -p "${1:?usage: $0 FOLDER}"
folder=$(realpath "$1")
recipe=$(realpath "$(dirname "$0")")/otelcol-builder.yaml

command -v go >/dev/null || { echo "$0: no go: install Go 1.26 or later (https://go.dev/dl)" >&2; exit 1; }

# From `/`, where no go.mod has a say.
source=$(cd / && go mod download -json $EXPORTER | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
[[ -n $source ]] || { echo "$0: the Go module proxy does not serve $EXPORTER" >&2; exit 1; }
cd "$folder"
rm -rf influxdbexporter build
cp -r "$source" influxdbexporter
chmod -R u+w influxdbexporter
sed -i 's/^\tconfighttp\.ClientConfig \+`mapstructure:",squash"`/\tClientConfig confighttp.ClientConfig `mapstructure:",squash"`/' \
    influxdbexporter/config.go
grep -q $'^\tClientConfig confighttp' influxdbexporter/config.go || { echo "$0: config.go is not as it was" >&2; exit 1; }
sed -i 's/\bconfig\.\(Endpoint\|Headers\)\b/config.ClientConfig.\1/g' influxdbexporter/writer.go
go run $BUILDER --config "$recipe"
mv build/otelcol otelcol
rm -rf build influxdbexporter
