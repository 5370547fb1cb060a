"""Forecasts of the values of a graph's nodes."""
