"""Built-in plans, as TOML files: `tacit run movielens-100k` reads one of these."""
