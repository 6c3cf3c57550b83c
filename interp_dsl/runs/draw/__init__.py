"""Pictures of circuits: layout, SVG, terminal, formats of other programs."""
