"""From a verdict to what is deployed: admission, check, promotion."""
