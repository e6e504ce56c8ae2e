"""Where rows come from, how they are split, and who owns which of them."""
