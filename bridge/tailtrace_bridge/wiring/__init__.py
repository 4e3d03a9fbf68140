"""The composition root: parts made from settings, connected, started."""
