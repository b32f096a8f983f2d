"""Handing over: the contract for a host's queue, and the ready-made executors."""
