"""The InfluxDB store: what is written where stands in `lines`, when sums are valid in `rollups`."""
