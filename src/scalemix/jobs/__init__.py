"""What the commands do, without a terminal: read data, fit in a folder, compare, shrink, and write the reports."""
