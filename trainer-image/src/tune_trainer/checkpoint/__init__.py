"""Checkpoints in the store: snapshot, upload, commit, restore."""
