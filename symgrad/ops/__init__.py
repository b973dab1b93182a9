"""Every operation, one family a file; `table` lists them all."""
