"""OTLP out: nginx's half of each trace, for any OpenTelemetry backend."""
