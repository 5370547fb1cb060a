"""Readers of data files, one a format."""
