"""A person played from known truth; whatever it does is called simulated, and never a person's work."""
