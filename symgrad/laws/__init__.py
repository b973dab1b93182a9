"""The laws, one family a file; `book` orders them into phases."""
