"""Measurements that need a large database or a quiet machine; run by hand."""
