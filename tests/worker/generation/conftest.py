"""Tests here load diffusers, which comes after the module that makes its import of torchvision possible."""

import scoring.backend  # noqa: F401
