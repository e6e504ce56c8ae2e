"""How requests reach nodes and clients. Engines carry messages and know nothing of learning."""
