"""Property tests measure no time: on a busy machine a single slow example proves nothing."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
