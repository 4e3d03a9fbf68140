"""InfluxDB's HTTP API: line protocol, InfluxQL, deletes."""
