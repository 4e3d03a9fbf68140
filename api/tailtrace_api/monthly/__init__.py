"""The monthly report: two or three pages made to be read by those who never open a dashboard."""
