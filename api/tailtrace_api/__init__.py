"""The answers: HTTP API, command line and demo, over what the bridge stored."""
