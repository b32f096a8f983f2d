"""A payment company to play with: a real HTTP server, slow, busy or forgetful at will, that calls back."""
