"""The modules that the workers of other executors than `database` name on their command line."""
