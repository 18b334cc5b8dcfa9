"""Run folders: what a run leaves in one, and what can be learned from many. Imports no torch."""
