"""Keeping: tables, SQL and migrations."""
