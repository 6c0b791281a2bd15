"""What servers of ours share: who may come in, how much work is taken, and how it is refused."""
