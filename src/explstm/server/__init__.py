"""The service and its page: upload a series, see its future, in a browser."""
