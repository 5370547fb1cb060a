"""Encoders turn a Graph into one vector per node; readouts turn those into one per graph."""
