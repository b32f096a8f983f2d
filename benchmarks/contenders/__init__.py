"""What is compared: one module for each contender, which does one work in a process of its own.

    python -m benchmarks.contenders.NAME WORK --database URL [--redis URL] [--size N] [--threads N] [--processes N]

The last line of its output is one JSON object (see `answering`). The docstring of a module says how its contender was
set up, and goes into the report as it stands. Each measurement gets an empty database of its own; making tables,
starting workers and warming up come before the clock starts.
"""
