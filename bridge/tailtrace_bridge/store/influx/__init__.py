"""The InfluxDB store: what is written where stands in `lines`, when rollups are valid in `rollups`."""
