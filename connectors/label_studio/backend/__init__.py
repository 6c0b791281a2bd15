"""The server that Label Studio asks: it pre-annotates, answers clicks, and starts the next round.

app             routes, guards, threads          services   what the house lends it, and its limits
bodies          what Label Studio sends          metrics    what it counts
clicks          the rules of clicks              memory     what it remembers of them
regions         what is there to be edited       warming    the next tasks, ahead of the clicks
preannotation   many tasks at once               jobs       rounds that it starts
pictures        whose pixels a task means        fetching   addresses that may be asked, and how
"""
