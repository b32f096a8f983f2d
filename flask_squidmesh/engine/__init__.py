"""Deciding: facts in, changes out. No database, no Flask."""
