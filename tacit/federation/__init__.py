"""The loop, the worker on the clients' side, and the engines between them."""
