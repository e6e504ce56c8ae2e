"""The command line, and the job that wires everything together."""
