"""Alerts: rules of the settings, judged in a thread beside the bridge, told through apprise."""
