"""Answering: list, inspect, explain, graph."""
