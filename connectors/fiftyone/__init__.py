"""FiftyOne: one system, and what its reviewer and its tests share; it is imported in processes of its own alone."""
