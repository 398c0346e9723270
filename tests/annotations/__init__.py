"""Tests of the annotations room."""
