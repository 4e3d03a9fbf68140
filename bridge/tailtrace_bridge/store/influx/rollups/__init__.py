"""The rollups kept beside the rows: written, read back, remembered."""
