"""Maintenance: what processes do beside the work, so that it goes on."""
