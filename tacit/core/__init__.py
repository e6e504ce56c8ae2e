"""Values and protocols that everybody speaks; imports nothing of ours."""
