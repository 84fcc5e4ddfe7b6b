"""What all tests share."""

from hypothesis import settings

settings.register_profile("stvd", deadline=None, max_examples=50)
settings.load_profile("stvd")
