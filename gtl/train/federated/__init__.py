"""Federated training: data stay with their clients, and adapters and heads travel (Flower)."""
