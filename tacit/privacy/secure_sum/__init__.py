"""Secure sums: the server learns the sum of the clients' vectors mod 2^32, and no vector of any one of them."""
