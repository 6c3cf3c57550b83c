"""A run as one page for the browser, and single results as figures for a paper."""
