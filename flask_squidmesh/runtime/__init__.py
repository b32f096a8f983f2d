"""Doing: start, perform, control, dispatch, recover."""
