"""Label Studio: one system, and what its annotator, its backend and its doctor share."""
