"""Search of settings: quality on validation data against footprint, by Optuna (Akiba et al. 2019).

Optuna proposes settings and stores trials. What is searched is declared beside each part
(:attr:`gtl.roles.Recorded.search_space`).
"""
