"""The object store as the trainer needs it: an interface, and S3 behind it."""
