"""Does a log hold its figures: every line, soon, for many, at any size? ``make bench-logs``"""
