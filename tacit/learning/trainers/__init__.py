"""Ways to run a cohort's work on one node, all with the result of the sequential loop."""
