"""Encoders that come with gtl: a file of weights and a card each.

They are read by :mod:`gtl.train.shipped`.
"""
