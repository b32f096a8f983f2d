"""A payment company to play with: a real HTTP server that can be made slow, busy, declining or forgetful."""
