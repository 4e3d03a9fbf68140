#!/bin/sh
# Run once by InfluxDB's image, after its set-up: the bucket of raw spans, which the collector cannot make.
# Each span is a series there, hence a bucket of its own that keeps days, not years.
set -eu
influx bucket create --name "$TRACES_BUCKET" --retention "$TRACES_RETENTION" --org "$DOCKER_INFLUXDB_INIT_ORG"
