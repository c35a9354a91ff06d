"""Backup and restore of everything in MongoDB, from which all other stores are rebuilt.

A backup is one file: one consistent moment of every collection, compressed, checksummed, and encrypted if a recipient is
given. A restore stages the collections beside the live ones and then swaps them; processes notice by the new incarnation.
"""
