"""The service: forecasts over HTTP, and the page that shows them; needs the extra ``serve``."""
