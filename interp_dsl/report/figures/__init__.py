"""Figures as SVG: heat maps, ranked bars, curves. Every part has a class, so that a page can give
it the colours of its theme; the attributes alone are right on white paper."""
