"""Quiz files of the field's formats: recognized, read into drafts, checked; and written.

`registry` lists the formats, each a module with the same names (see `registry.Format`). `draft` is the form between a format
and the contract, `assembly` turns it into a definition with a report for each item. Must never change a text in silence,
follow a reference to another file or address, or raise anything but FormatError for the content of a file.
"""
