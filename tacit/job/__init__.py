"""The main job: load, train under the ledger's eyes, compare, report."""
