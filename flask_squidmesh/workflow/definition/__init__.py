"""The rules that turn a workflow class into its definition."""
