"""Texts: every word that the pages say, in one place for each subject."""
